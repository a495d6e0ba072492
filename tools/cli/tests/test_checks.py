"""What the doctor looks at, against outside parties that are well, wrong, or away."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from pydantic import SecretStr

from cli.checks.accounts import account_checks, judged
from cli.checks.environment import kind_of_environment, starts
from cli.checks.kafka import judged as judged_topics
from cli.checks.kafka import kafka_checks
from cli.checks.model import answers_as_model
from cli.checks.mongo import mongo_checks
from cli.checks.providers import (
    Keys,
    Providers,
    all_keys_of,
    compared,
    is_subscribed,
    keys_of,
    knows_model,
    knows_page,
)
from cli.checks.services import readiness, unknown_accounts
from cli.checks.webhook import Webhook, accepts, reachable_from_outside, refuses, verifies, webhook_checks
from cli.diagnosis import Doubtful, NotLooked, Wrong, examine_all
from cli.doctor import Answered, merchants_check
from common.accounts import AccountState, Standing
from common.graph_accounts import GraphAccounts
from common.health import Unhealthy
from common.kafka.topics import TOPICS
from common.merchants import Account, Merchant
from common.sealing import Sealer
from common.settings import KafkaSettings, MetaAppSettings
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings
from devkit.signing import sign

NOWHERE = "http://127.0.0.1:1"
ACCOUNT = "17841400000000001"
VERIFY_TOKEN = "verify-me"
TOKEN = "good-token"


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=5, trust_env=False) as one:
        yield one


# The environment


def test_a_service_that_would_start_is_well(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JAWAB_ENV", "development")
    assert starts("cleanup") == "it would start"


def test_a_service_that_would_not_start_names_every_variable(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JWT_SECRET", "too short to be one")
    with pytest.raises(Wrong) as caught:
        starts("delivery")
    assert "ENCRYPTION_KEY is not set" in caught.value.reason
    assert "JWT_SECRET must have at least 32 characters" in caught.value.reason
    assert "too short" not in caught.value.reason


def test_development_values_in_production_are_wrong(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JAWAB_ENV", "production")
    environment.setenv("OPENAI_API_KEY", "jawab-development-openai-key")
    with pytest.raises(Wrong, match="OPENAI_API_KEY still has its development value"):
        starts("ai")


def test_a_service_that_is_not_installed_is_named(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(Wrong, match="the service nowhere is not installed"):
        starts("nowhere")


def test_unset_means_production() -> None:
    assert kind_of_environment({}).startswith("production")


def test_published_values_behind_a_public_address_are_doubtful() -> None:
    values = {"JAWAB_ENV": "development", "META_APP_SECRET": "own,mon_secret_webhook_instagram"}
    assert kind_of_environment({**values, "PUBLIC_URL": "http://localhost:8000"}).startswith("development: 1 values")
    with pytest.raises(Doubtful, match="META_APP_SECRET"):
        kind_of_environment({**values, "PUBLIC_URL": "https://shop.example"})


# Kafka and MongoDB


def cluster(**changes: int) -> list[dict[str, Any]]:
    return [
        {
            "topic": topic.name,
            "partitions": [
                {"replicas": [1], "leader": changes.get("leader", 1)}
                for _ in range(changes.get(topic.name, topic.partitions))
            ],
        }
        for topic in TOPICS
        if changes.get(topic.name) != 0
    ]


def test_topics_as_declared_are_well() -> None:
    assert judged_topics(cluster(), production=False) == f"all {len(TOPICS)} there as declared"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({TOPICS[0].name: 0}, f"1 missing: {TOPICS[0].name}"),
        ({TOPICS[0].name: 3}, f"{TOPICS[0].name} has 3 partitions, declared are {TOPICS[0].partitions}"),
        ({"leader": -1}, "partitions without a leader"),
    ],
)
def test_topics_that_are_not_as_declared_are_wrong(changes: dict[str, int], said: str) -> None:
    with pytest.raises(Wrong, match=said):
        judged_topics(cluster(**changes), production=False)


def test_one_replica_is_doubtful_in_production() -> None:
    with pytest.raises(Doubtful, match="losing a broker loses"):
        judged_topics(cluster(), production=True)


async def test_a_missing_kafka_fails_its_line_and_the_topics_are_not_looked_at(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    reachable, topics = await examine_all(kafka_checks(KafkaSettings(), production=False), limit=15)
    assert reachable.state == "wrong"
    assert "127.0.0.1:1 cannot be reached" in reachable.said
    assert (topics.state, topics.said) == ("not_looked", "Kafka is away")


async def test_without_valid_variables_the_stores_are_not_looked_at() -> None:
    findings = await examine_all([*kafka_checks(None, production=False), *mongo_checks(None, there=False)], limit=5)
    assert {finding.state for finding in findings} == {"not_looked"}


# The webhook


class Ingest:
    """Answers the webhook's two calls; what is wrong with it can be chosen."""

    def __init__(self, *, token: str = VERIFY_TOKEN, secrets: tuple[str, ...] = ("new", "old"), **wrong: bool) -> None:
        self.token = token
        self.secrets = secrets
        self.wrong = wrong

    def __call__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if self.wrong.get("kafka_away") and method == "POST":
            return 503, b""
        if method == "GET":
            query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
            if query["hub.verify_token"] != self.token and not self.wrong.get("trusting"):
                return 403, b""
            return 200, b"challenge" if self.wrong.get("parrot") else query["hub.challenge"].encode()
        signature = headers["x-hub-signature-256"]
        fits = self.wrong.get("trusting") or signature in {sign(body, secret) for secret in self.secrets}
        return (200, b"") if fits else (401, b"")


def webhook(client: httpx2.AsyncClient, url: str) -> Webhook:
    app = MetaAppSettings(verify_token="verify-me", meta_app_secrets="new,old")  # type: ignore[arg-type]
    return Webhook(client, url, app)


async def test_a_webhook_that_is_well_passes_all_three(client: httpx2.AsyncClient, serving: Any) -> None:
    with serving(Ingest()) as url:
        it = webhook(client, url)
        assert "the challenge comes back" in await verifies(it, url)
        assert await accepts(it) == "accepted with each of 2 secret(s)"
        assert await refuses(it) == "a forged body is refused with 401"


async def test_another_verify_token_is_found(client: httpx2.AsyncClient, serving: Any) -> None:
    with serving(Ingest(token="another")) as url:
        with pytest.raises(Wrong, match="answered 403 to the handshake") as caught:
            await verifies(webhook(client, url), url)
        assert "IG_VERIFY_TOKEN" in caught.value.fix


async def test_whoever_answers_anything_is_not_ingest(client: httpx2.AsyncClient, serving: Any) -> None:
    with serving(Ingest(trusting=True)) as url:
        with pytest.raises(Wrong, match="a wrong verify token passes too"):
            await verifies(webhook(client, url), url)
        with pytest.raises(Wrong, match="a forged body was answered 200"):
            await refuses(webhook(client, url))
    with serving(Ingest(parrot=True)) as url, pytest.raises(Wrong, match="did not give the challenge back"):
        await verifies(webhook(client, url), url)


async def test_a_secret_that_ingest_does_not_know_is_found_by_its_number(
    client: httpx2.AsyncClient, serving: Any
) -> None:
    unknown = "signed with secret 2 of 2 was answered 401"
    with serving(Ingest(secrets=("new",))) as url, pytest.raises(Wrong, match=unknown):
        await accepts(webhook(client, url))
    with serving(Ingest(kafka_away=True)) as url:
        with pytest.raises(Wrong) as caught:
            await accepts(webhook(client, url))
        assert "Kafka is away" in caught.value.fix


async def test_a_public_address_must_be_https(client: httpx2.AsyncClient) -> None:
    it = webhook(client, NOWHERE)
    with pytest.raises(Doubtful, match="https addresses"):
        await reachable_from_outside(it, "http://shop.example", production=False)
    with pytest.raises(Wrong, match="https addresses"):
        await reachable_from_outside(it, "https://localhost", production=True)
    with pytest.raises(NotLooked):
        await reachable_from_outside(it, None, production=True)


async def test_a_missing_ingest_fails_its_own_lines_only(client: httpx2.AsyncClient) -> None:
    findings = await examine_all(webhook_checks(Webhook(client, NOWHERE, None), None, production=True), limit=5)
    assert [finding.state for finding in findings] == ["not_looked", "not_looked", "wrong", "not_looked"]
    assert f"nobody answered at {NOWHERE}" in findings[2].said


# The services


def ready(status: int, **body: Any) -> Callable[..., tuple[int, bytes]]:
    return lambda *_: (status, json.dumps(body).encode())


async def test_a_ready_service_is_well(client: httpx2.AsyncClient, serving: Any) -> None:
    with serving(ready(200, service="ai")) as url:
        assert await readiness(client, "ai", url) == f"ready at {url}"


async def test_an_unready_service_is_quoted_with_its_own_fix(client: httpx2.AsyncClient, serving: Any) -> None:
    checks = {
        "kafka": {"status": "failing", "reason": "topics are missing", "fix": "run `jawab topics apply`"},
        "mongodb": {"status": "ok"},
    }
    with serving(ready(503, service="ai", checks=checks)) as url:
        with pytest.raises(Wrong, match="not ready: kafka: topics are missing") as caught:
            await readiness(client, "ai", url)
        assert caught.value.fix == "run `jawab topics apply`"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ready(200, service="delivery"), "is the service delivery"),
        (lambda *_: (404, b"not found"), "answered 404"),
        (lambda *_: (503, b"[]"), "does not say why"),
    ],
)
async def test_something_else_at_that_address_is_said(
    client: httpx2.AsyncClient, serving: Any, answer: Any, said: str
) -> None:
    with serving(answer) as url, pytest.raises(Wrong, match=said):
        await readiness(client, "ai", url)


async def test_a_missing_service_says_how_to_start_it(client: httpx2.AsyncClient) -> None:
    with pytest.raises(Wrong) as caught:
        await readiness(client, "ingest", NOWHERE)
    assert "python -m ingest" in caught.value.fix
    assert "--url" in caught.value.fix


# The outside APIs


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    settings = SandboxSettings(port=0, account_id=ACCOUNT, access_token=SecretStr("good-token"))
    with running_sandbox(settings) as url:
        yield url


def keys(token: str | None = TOKEN, key: str | None = "1:key", *, broken: bool = False) -> Keys:
    return Keys("dar", ACCOUNT, ("manychat", "graph"), token, key, broken)


def graph(client: httpx2.AsyncClient, sandbox: str) -> GraphAccounts:
    return GraphAccounts(client, f"{sandbox}/graph/v25.0", timeout=5)


async def test_good_keys_are_well(client: httpx2.AsyncClient, sandbox: str) -> None:
    providers = Providers(openai_api_key=SecretStr("key"), openai_url=f"{sandbox}/v1")
    assert await knows_model(client, providers) == "the key works, gpt-4o-mini is there"
    assert await knows_page(client, f"{sandbox}/manychat", keys()) == "the key works"
    assert (await is_subscribed(graph(client, sandbox), keys())).startswith("the token works, subscribed to 11 fields")


async def test_a_bad_token_is_wrong_and_not_repeated(client: httpx2.AsyncClient, sandbox: str) -> None:
    with pytest.raises(Wrong, match="token refused: the token is not accepted") as caught:
        await is_subscribed(graph(client, sandbox), keys("stale-token"))
    assert "stale-token" not in caught.value.reason + caught.value.fix
    assert "jawab merchants connect dar" in caught.value.fix


async def test_a_lost_subscription_says_how_to_get_it_back(client: httpx2.AsyncClient, serving: Any) -> None:
    with serving(ready(200, data=[{"subscribed_fields": ["comments"]}])) as url:
        with pytest.raises(Wrong, match="does not get messages of this account") as caught:
            await is_subscribed(GraphAccounts(client, url, timeout=5), keys())
        assert caught.value.fix == "jawab merchants connect dar"


async def test_another_apps_subscription_is_not_ours(client: httpx2.AsyncClient, serving: Any) -> None:
    theirs = {"id": "99", "subscribed_fields": ["comments", "messages"]}
    with serving(ready(200, data=[theirs])) as url:
        asked = GraphAccounts(client, url, timeout=5)
        assert "subscribed to 2" in await is_subscribed(asked, keys(), "99")
        with pytest.raises(Wrong, match="does not get comments and messages"):
            await is_subscribed(asked, keys(), "11")


async def test_a_platform_that_is_away_says_nothing_about_the_token(client: httpx2.AsyncClient) -> None:
    with pytest.raises(Wrong, match="did not answer"):
        await is_subscribed(GraphAccounts(client, NOWHERE, timeout=5), keys())


async def test_a_model_that_is_not_listed_is_doubtful(client: httpx2.AsyncClient, sandbox: str) -> None:
    providers = Providers(openai_api_key=SecretStr("key"), openai_url=f"{sandbox}/v1", openai_model="gpt-none")
    with pytest.raises(Doubtful, match="gpt-none is not among"):
        await knows_model(client, providers)


async def test_refused_keys_and_broken_providers_are_told_apart(client: httpx2.AsyncClient, serving: Any) -> None:
    def providers(url: str) -> Providers:
        return Providers(openai_api_key=SecretStr("key"), openai_url=url)

    with serving(ready(401)) as url:
        with pytest.raises(Wrong, match="the key is refused"):
            await knows_model(client, providers(url))
        with pytest.raises(Wrong, match="the key is refused"):
            await knows_page(client, url, keys())
    with serving(ready(500)) as url, pytest.raises(Wrong) as caught:
        await knows_model(client, providers(url))
    assert "out of order" in caught.value.fix
    with pytest.raises(Wrong, match="cannot be reached"):
        await knows_model(client, providers(NOWHERE))


def asking(url: str, model: str = "m") -> Providers:
    return Providers(openai_api_key=SecretStr("sk-secret"), openai_url=f"{url}/v1", openai_model=model)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5-mini", "my-deployment"])
async def test_a_model_that_answers_is_well(sandbox: str, model: str) -> None:
    assert (await answers_as_model(asking(sandbox, model), patience=10)).startswith(f"{model} answered in ")


@pytest.mark.parametrize(
    ("status", "error", "reason", "fix"),
    [
        (400, {"message": "no such deployment"}, "bad_request): no such deployment", "OPENAI_MODEL"),
        (404, {"code": "model_not_found", "message": "m"}, "bad_request", "OPENAI_MODEL"),
        (401, {"message": "sk-secret is not a key"}, "bad_key", "OPENAI_API_KEY"),
        (429, {"code": "insufficient_quota"}, "quota", "add credit"),
        (500, {}, "unavailable", "OPENAI_BASE_URL"),
        (200, {"code": 502}, "unavailable", "OPENAI_BASE_URL"),
        (200, {}, "not_valid", "keeps to JSON"),
    ],
)
async def test_a_model_that_gives_no_answer_is_wrong_and_says_what_to_change(
    serving: Any, status: int, error: dict[str, Any], reason: str, fix: str
) -> None:
    with serving(ready(status, error=error)) as url, pytest.raises(Wrong) as caught:
        await answers_as_model(asking(url), patience=10)
    assert reason in caught.value.reason
    assert fix in caught.value.fix
    assert "sk-secret" not in caught.value.reason + caught.value.fix


async def test_a_model_that_is_out_of_breath_is_doubtful_and_one_without_a_key_not_looked_at(serving: Any) -> None:
    with serving(ready(429, error={})) as url, pytest.raises(Doubtful, match="rate_limited"):
        await answers_as_model(asking(url), patience=3)
    with pytest.raises(NotLooked, match="OPENAI_API_KEY"):
        await answers_as_model(Providers(), patience=3)


async def test_a_missing_key_is_doubtful_and_one_that_cannot_be_opened_wrong(client: httpx2.AsyncClient) -> None:
    with pytest.raises(Doubtful, match="dar has no ManyChat key") as caught:
        await knows_page(client, NOWHERE, keys(key=None))
    assert caught.value.fix.startswith("jawab merchants connect dar --manychat-key prompt, or MANYCHAT_API_KEY for the")
    with pytest.raises(Wrong, match="another ENCRYPTION_KEY"):
        await is_subscribed(GraphAccounts(client, NOWHERE, timeout=5), keys(token=None, broken=True))


def test_keys_are_opened_with_the_key_that_sealed_them() -> None:
    sealer, other = Sealer(["k" * 32]), Sealer(["o" * 32])
    merchant = Merchant(
        id="dar", name="Dar", account_id=ACCOUNT, access_token=sealer.seal("token", ACCOUNT, "access_token")
    )
    assert keys_of(merchant, sealer).access_token == "token"
    assert keys_of(merchant, other).broken
    assert not keys_of(merchant, None).broken


def test_each_account_of_a_merchant_has_its_own_keys_and_its_own_line() -> None:
    sealer = Sealer(["k" * 32])
    other = Account(account_id="222", manychat_api_key=sealer.seal("2:key", "222", "manychat_api_key"))
    merchant = Merchant(
        id="dar",
        name="Dar",
        account_id=ACCOUNT,
        access_token=sealer.seal("token", ACCOUNT, "access_token"),
        other_accounts=(other,),
    )
    main, second = all_keys_of(merchant, sealer)
    assert (main.name, main.access_token, main.manychat_key) == ("dar", "token", None)
    assert (second.name, second.access_token, second.manychat_key) == ("dar 222", None, "2:key")
    assert second.connect == "jawab merchants connect dar --account 222"


# The accounts


def judge(standing: Standing, *, ends_in: timedelta | None = None) -> str:
    return judged(standing, None if ends_in is None else LOOKED_AT + ends_in, LOOKED_AT, "jawab merchants connect dar")


LOOKED_AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_an_account_that_works_says_how_long_its_token_lasts() -> None:
    assert judge(Standing("1")) == "active (never checked: jawab merchants connect dar)"
    assert judge(Standing("1", since=LOOKED_AT)) == "active"
    assert judge(Standing("1"), ends_in=timedelta(days=30)) == "active, its token lasts until 2026-12-21"
    over = Standing("1", "restricted", until=LOOKED_AT)
    assert judge(over) == "active"


@pytest.mark.parametrize("state", ["needs_reconnection", "restricted", "disconnected"])
def test_an_account_that_does_not_work_says_since_when_why_and_what_to_do(state: AccountState) -> None:
    standing = Standing("1", state, "some_reason", since=LOOKED_AT - timedelta(hours=1))
    with pytest.raises(Wrong, match="since 2026-11-21 11:00 UTC: some_reason") as caught:
        judge(standing)
    assert caught.value.fix == "jawab merchants connect dar"


def test_what_the_operator_switched_off_is_only_said() -> None:
    with pytest.raises(Doubtful, match="disconnected"):
        judge(Standing("1", "disconnected", "disconnected_by_operator"))


@pytest.mark.parametrize(
    ("ends_in", "kind", "said"),
    [(timedelta(days=9), Doubtful, "its token ends in 9 days"), (timedelta(0), Wrong, "its token ended on 2026-11-21")],
)
def test_a_token_that_ends_is_told_in_time(ends_in: timedelta, kind: type[Unhealthy], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        judge(Standing("1"), ends_in=ends_in)
    assert caught.value.fix == "jawab merchants connect dar --token prompt"


def test_a_token_whose_end_nobody_knows_is_doubtful_once_the_account_is_connected() -> None:
    connected = Standing("1", since=LOOKED_AT)
    with pytest.raises(Doubtful, match="nobody knows when its token ends") as caught:
        judged(connected, None, LOOKED_AT, "jawab merchants connect dar", has_token=True)
    assert "jawab merchants connect dar --token prompt" in (caught.value.fix or "")
    assert judged(connected, None, LOOKED_AT, "x") == "active"


async def test_the_environments_own_token_is_not_called_doubtful() -> None:
    merchant = Merchant(id="dar", name="Dar", account_id=ACCOUNT, access_token="sealed")
    known = {ACCOUNT: Standing(ACCOUNT, since=LOOKED_AT)}
    (stored,) = await examine_all(account_checks([merchant], known), limit=5)
    (own,) = await examine_all(account_checks([merchant], known, own=merchant), limit=5)
    assert (stored.state, own.state) == ("doubtful", "ok")


async def test_every_account_has_a_line_and_without_the_database_it_says_so() -> None:
    merchant = Merchant(id="dar", name="Dar", account_id=ACCOUNT, other_accounts=(Account(account_id="222"),))
    checks = account_checks([merchant], {"222": Standing("222", "disconnected")})
    findings = await examine_all(checks, limit=5)
    assert [(one.name, one.state) for one in findings] == [(f"account {ACCOUNT}", "ok"), ("account 222", "wrong")]
    assert findings[1].fix == "jawab merchants connect dar --account 222"
    assert {one.state for one in await examine_all(account_checks([merchant], None), limit=5)} == {"not_looked"}


@pytest.mark.parametrize("seconds", [-29, 0, 29])
def test_a_clock_that_agrees_is_well(seconds: int) -> None:
    now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    assert compared("Sat, 21 Nov 2026 12:00:00 GMT", now + timedelta(seconds=seconds)) == "agrees with the platform's"


def test_a_clock_that_differs_is_wrong_and_says_which_way() -> None:
    now = datetime(2026, 11, 21, 12, 3, tzinfo=UTC)
    with pytest.raises(Wrong, match="3 min ahead"):
        compared("Sat, 21 Nov 2026 12:00:00 GMT", now)
    with pytest.raises(Wrong, match="3 min behind"):
        compared("Sat, 21 Nov 2026 12:06:00 GMT", now)
    for unsaid in (None, "", "soon"):
        with pytest.raises(Doubtful):
            compared(unsaid, now)


# The merchants


async def test_somebody_must_be_answered() -> None:
    merchant = Merchant(id="dar", name="Dar", account_id=ACCOUNT)

    async def state(answered: Answered, *one: Keys, sealed: bool = True) -> str:
        (finding,) = await examine_all([merchants_check(answered, one, sealed=sealed)], limit=5)
        return f"{finding.state}: {finding.said}"

    assert await state(Answered([merchant])) == "ok: 1 answered"
    assert (await state(Answered())).startswith("wrong: there is none")
    assert (await state(Answered([merchant], ["zay is not valid: …"]))).startswith("wrong: zay is not valid")
    assert (await state(Answered([merchant], complete=False))).startswith("not_looked: MongoDB is away")
    assert (await state(Answered([merchant]), keys(broken=True))).startswith("wrong: keys sealed with another")
    assert (await state(Answered([merchant]), sealed=False)).startswith("not_looked: ENCRYPTION_KEY")


DROPPED = (
    'ai_event_seconds_count{event="MessageReceived",merchant="unknown",outcome="unknown_account",platform="instagram"}'
)


async def test_events_of_accounts_that_nobody_added_are_doubtful(client: httpx2.AsyncClient, serving: Any) -> None:
    with serving(lambda *_: (200, f"# HELP x\n{DROPPED} 7.0\n".encode())) as url:
        with pytest.raises(Doubtful, match="7 events of accounts") as caught:
            await unknown_accounts(client, url)
        assert "jawab merchants connect" in caught.value.fix


@pytest.mark.parametrize("figures", ["", f"{DROPPED} 0.0", DROPPED.replace("unknown_account", "answered") + " 5.0"])
async def test_without_such_events_the_accounts_are_well(
    client: httpx2.AsyncClient, serving: Any, figures: str
) -> None:
    with serving(lambda *_: (200, figures.encode())) as url:
        assert await unknown_accounts(client, url) == "every event was of an account that a merchant has"


async def test_where_ais_metrics_cannot_be_read_that_is_said(client: httpx2.AsyncClient, serving: Any) -> None:
    with pytest.raises(NotLooked):
        await unknown_accounts(client, NOWHERE)
    with serving(lambda *_: (404, b"")) as url, pytest.raises(NotLooked, match="404"):
        await unknown_accounts(client, url)
