"""Every row of both error tables, ordered of the sandbox and met by the running service: what it does, counts and says.

All rows are met at once, each by an account of its own: what one account meets must not touch another. Only what stops
the whole app is met afterwards. For each row: was the message sent again, was the account stopped, did its bucket wait,
was it counted, would its alert see it, and what does the merchant read.
"""

import asyncio
import itertools
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
import yaml
from aiokafka import AIOKafkaConsumer
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from common.events import ANY_EVENT
from common.events.ids import conversation_id
from common.events.outcomes import OUTCOMES
from common.events.replies import DirectMessage, PrivateReply, Reply, ReplyGenerated
from common.kafka.broker import kafka_broker, publish
from common.merchants import Merchant
from common.mongo import ACCOUNTS, MERCHANTS, Database, database, mongo_client
from common.remedies import completed
from common.sealing import Sealer
from delivery.app import create_app
from delivery.errors_page import ALERTS
from delivery.platforms import graph_errors, manychat_errors
from delivery.platforms.graph_errors import Meaning, name_of
from delivery.platforms.sending import DAY_OLD
from delivery.platforms.usage import Usage, pace
from delivery.settings import Settings
from devkit.sandbox.client import SandboxClient
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings
from devkit.simulator import Simulator

pytestmark = [pytest.mark.kafka, pytest.mark.mongo]

CANARY = "EAAcanary0of0the0platform"
SEALING_KEY = "k" * 32
PAUSE = 2.0
LONGEST = 50.0
STOPPED = {
    "reconnect": "needs_reconnection",
    "restrict": "restricted",
    "hold": "restricted",
}
numbers = itertools.count(1)


@dataclass(frozen=True)
class Case:
    """One row: what is ordered of the sandbox, and what the tables say about it."""

    name: str
    api: str
    orders: tuple[dict[str, Any], ...]
    action: str
    label: str
    meaning: Meaning
    private: bool = False
    arrived: bool = False
    """Whether the first call takes effect although an error is answered."""

    def __str__(self) -> str:
        return self.name


def ordered(api: str, **fault: Any) -> dict[str, Any]:
    return {
        "api": api,
        "kind": "sendContent" if api == "manychat" else "message",
        "times": 1,
        "message": CANARY,
        **fault,
    }


def graph_case(key: tuple[int, int | None], meaning: Meaning, **more: Any) -> Case:
    name, private = name_of(*key), meaning.action == "done"
    fault = ordered("graph", behaviour="graph_error", code=key[0], **more)
    if key[1] is not None:
        fault["subcode"] = key[1]
    if meaning.action in {"pause_account", "pause_app"}:
        fault["retry_after"] = PAUSE
    if meaning.action == "sent_or_unknown":
        fault["effect"] = True
    if meaning.action == "once_more":
        fault["times"] = 2
    if private:
        fault["kind"] = "private_reply"
    return Case(name, "graph", (fault,), meaning.action, name, meaning, private, arrived=bool(fault.get("effect")))


def graph_cases() -> list[Case]:
    g = graph_errors
    lost = ordered("graph", behaviour="drop", effect=False, kind="private_reply")
    used = ordered("graph", behaviour="graph_error", code=100, subcode=2534025, kind="private_reply")
    html = "<html>Bad gateway</html>"
    suspected = g.suspected(g.PERMISSION)
    suspended = graph_case((10, 4711), suspected)
    return [
        *(graph_case(key, meaning) for key, meaning in g.KNOWN.items()),
        *(replace(graph_case((code, None), g.PERMISSION), label="200-299") for code in (201, 299)),
        replace(
            graph_case((100, None), g.WRONG_PROOF, message=f"{CANARY}: Invalid appsecret_proof provided"),
            name=f"100/{g.PROOF}",
            label=f"100/{g.PROOF}",
        ),
        replace(graph_case((4, 4711), g.ACCOUNT_LIMIT), label="4/other"),
        Case("10/4711", "graph", suspended.orders, "suspend", "10/other", suspected),
        Case("done before", "graph", (lost, used), "done before", "100/2534025", g.KNOWN[100, 2534025], private=True),
        Case(
            "HTTP 429",
            "graph",
            (ordered("graph", behaviour="answer", status=429, body="", headers={"Retry-After": f"{PAUSE:g}"}),),
            "pause_account",
            "http_429",
            g.ACCOUNT_LIMIT,
        ),
        Case(
            "HTTP 401",
            "graph",
            (ordered("graph", behaviour="answer", status=401, body=html),),
            "refuse",
            "http_401",
            g.BY_STATUS[401],
        ),
        Case(
            "HTTP 403",
            "graph",
            (ordered("graph", behaviour="answer", status=403, body=html),),
            "refuse",
            "http_403",
            g.BY_STATUS[403],
        ),
        Case(
            "HTTP 404",
            "graph",
            (ordered("graph", behaviour="answer", status=404, body=html),),
            "refuse",
            "http_404",
            g.BY_STATUS[404],
        ),
        Case(
            "HTTP 408",
            "graph",
            (ordered("graph", behaviour="answer", status=408, body=html),),
            "unknown",
            "http_408",
            g.UNCLEAR,
        ),
        Case(
            "HTTP 502",
            "graph",
            (ordered("graph", behaviour="answer", status=502, body=html),),
            "unknown",
            "http_5xx",
            g.UNCLEAR,
        ),
        Case(
            "HTTP 200 without an id",
            "graph",
            (ordered("graph", behaviour="answer", status=200, body="{}"),),
            "unknown",
            "http_2xx",
            g.UNCLEAR,
        ),
        Case(
            "a huge answer",
            "graph",
            (ordered("graph", behaviour="answer", status=500, body="x" * 1_500_000),),
            "unknown",
            "http_5xx",
            g.UNCLEAR,
        ),
        Case(
            "an unknown code",
            "graph",
            (ordered("graph", behaviour="graph_error", code=4711),),
            "refuse",
            "other",
            g.REFUSED,
        ),
        Case("timeout", "graph", (ordered("graph", behaviour="hang", seconds=5.0),), "unknown", "no_answer", g.UNCLEAR),
        Case(
            "reset, not sent",
            "graph",
            (ordered("graph", behaviour="drop", effect=False),),
            "unknown",
            "no_answer",
            g.UNCLEAR,
        ),
        Case(
            "reset, sent",
            "graph",
            (ordered("graph", behaviour="drop"),),
            "unknown",
            "no_answer",
            g.UNCLEAR,
            arrived=True,
        ),
    ]


def invalid(said: str) -> str:
    """Return ManyChat's answer to what it does not take: words, and no code."""
    return json.dumps({"status": "error", "message": "Validation error", "details": {"messages": [{"message": said}]}})


def manychat_cases() -> list[Case]:
    m = manychat_errors
    unknown_subscriber, too_long = invalid("Subscriber does not exist"), invalid("The text is too long")
    answers: list[tuple[str, int, str, str, str, Meaning]] = [
        ("in words", 400, unknown_subscriber, "elsewhere", "no_subscriber", m.NOT_SUBSCRIBED),
        ("validation", 400, too_long, "refuse", "validation", m.REFUSED),
        ("an unknown code", 400, '{"status":"error","message":"x","code":9999}', "refuse", "other", m.REFUSED),
        ("HTTP 401", 401, "", "refuse_key", "http_401", m.KEY),
        ("HTTP 403", 403, "", "refuse_key", "http_403", m.KEY),
        ("HTTP 404", 404, "", "refuse", "http_404", m.NO_METHOD),
        ("HTTP 408", 408, "", "unknown", "http_408", m.UNCLEAR),
        ("HTTP 500", 500, "<html>", "unknown", "http_5xx", m.UNCLEAR),
        ("HTTP 200 without a status", 200, "{}", "unknown", "http_2xx", m.UNCLEAR),
    ]
    return [
        *(
            Case(
                f"ManyChat {code}",
                "manychat",
                (ordered("manychat", behaviour="manychat_error", code=code),),
                meaning.action,
                str(code),
                meaning,
            )
            for code, meaning in m.KNOWN.items()
        ),
        *(
            Case(
                f"ManyChat {name}",
                "manychat",
                (ordered("manychat", behaviour="answer", status=status, body=body),),
                action,
                label,
                meaning,
            )
            for name, status, body, action, label, meaning in answers
        ),
        Case(
            "ManyChat HTTP 429",
            "manychat",
            (ordered("manychat", behaviour="rate_limited", retry_after=PAUSE),),
            "pause_call",
            "http_429",
            m.LIMIT,
        ),
        Case(
            "ManyChat reset",
            "manychat",
            (ordered("manychat", behaviour="drop", effect=False),),
            "unknown",
            "no_answer",
            m.UNCLEAR,
        ),
    ]


def usage_case(action: str, **share: float) -> Case:
    """Return the case of answers that work and whose headers say how much of the account's share is used."""
    advertising = {"type": "ads_management", "call_count": 100, "estimated_time_to_regain_access": 1440}
    usage = json.dumps({"5": [{"type": "instagram", "call_count": 3, **share}, advertising]})
    order = ordered("graph", behaviour="headers", headers={"X-Business-Use-Case-Usage": usage}) | {"times": None}
    return Case(action, "graph", (order,), action, "", graph_errors.ACCOUNT_LIMIT)


CASES = [*graph_cases(), *manychat_cases()]
FULL, NEARLY_FULL = (
    usage_case("full", total_time=100, estimated_time_to_regain_access=PAUSE / 60),
    usage_case("nearly full", total_cputime=86),
)
EVERYBODY = [*CASES, FULL, NEARLY_FULL]
APART = [case for case in CASES if case.action == "pause_app"]
AT_ONCE = [case for case in EVERYBODY if case.action != "pause_app"]


@dataclass
class Met:
    """What came of one row: two replies of its account, to two people, the second after the first met the error."""

    first: list[Any] = field(default_factory=list)
    second: list[Any] = field(default_factory=list)
    sends: list[dict[str, Any]] = field(default_factory=list)
    notices: list[dict[str, Any]] = field(default_factory=list)
    standing: dict[str, Any] | None = None

    @property
    def effects(self) -> list[dict[str, Any]]:
        return [one for one in self.sends if one["effect"]]


@dataclass
class Evidence:
    """What all rows left behind."""

    met: dict[str, Met]
    most: dict[tuple[str, frozenset[tuple[str, str]]], float]
    """The greatest value that each sample of the service's metrics was seen with."""
    everything_told: str


def account_of(case: Case) -> str:
    return f"1784190000{EVERYBODY.index(case):07d}"


def contact_of(case: Case, second: bool) -> str:
    return f"1{int(second)}55500000{EVERYBODY.index(case):06d}"


def merchant_of(case: Case, sandbox_url: str, sealer: Sealer) -> Merchant:
    number, account = EVERYBODY.index(case), account_of(case)
    by_manychat = case.api == "manychat"
    return Merchant(
        id=f"shop{number}",
        name=f"Shop {number}",
        account_id=account,
        access_token=sealer.seal(f"token{number}", account, "access_token"),
        manychat_api_key=sealer.seal(f"77{number}:key", account, "manychat_api_key") if by_manychat else None,
        manychat_igsid_field=5 if by_manychat else None,
        routes=("manychat", "graph") if by_manychat else ("graph",),
        operator_webhook=f"{sandbox_url}/operator/notifications",
    )


class Rig:
    """A running delivery service with a merchant for every row, its sandbox, and what it published."""

    def __init__(self, broker: Any, http: httpx2.AsyncClient, sandbox: SandboxClient, sandbox_url: str) -> None:
        self.broker = broker
        self.http = http
        self.sandbox = sandbox
        self.sandbox_url = sandbox_url
        self.outcomes: dict[str, list[Any]] = defaultdict(list)
        self.most: dict[tuple[str, frozenset[tuple[str, str]]], float] = defaultdict(float)

    async def send(self, case: Case, *, second: bool) -> str:
        """Ask for a reply of the row's account to its first or second person, and return its id."""
        account, contact, number = account_of(case), contact_of(case, second), next(numbers)
        conversation = conversation_id(account, contact)
        action: Any = DirectMessage(text=f"Answer {number}")
        about = f"{account}:msg:in.{number}"
        if case.private:
            comment = f"c{number}"
            await self.sandbox.tell_comment(comment, contact, account=account, text="How much?")
            action, about = PrivateReply(comment_id=comment, text=f"Answer {number}"), f"{account}:cm:{comment}"
        else:
            await self.sandbox.webhook(Simulator(contact, account).text(contact, "Hi"), deliver=False)
        reply = Reply(
            reply_id=f"rep_{number}",
            decision_id=f"dec_{number}",
            merchant_id=f"shop{EVERYBODY.index(case)}",
            account_id=account,
            contact_id=contact,
            origin="model",
            action=action,
            in_reply_to=about,
            customer_acted_at=datetime.now(UTC),
            received_at_ms=int(datetime.now(UTC).timestamp() * 1000),
        )
        event = ReplyGenerated(
            id=f"evt_{number}",
            source="/test",
            subject=conversation,
            time=datetime.now(UTC),
            partitionkey=conversation,
            data=reply,
        )
        await publish(self.broker, [event], timeout=10)
        return reply.reply_id

    async def end_of(self, reply_id: str) -> list[Any]:
        """Return a reply's outcomes, once it came to its end."""
        async with asyncio.timeout(LONGEST):
            while not any(one.type != "com.jawab.reply.outcomeunknown.v1" for one in self.outcomes[reply_id]):
                await asyncio.sleep(0.05)
        return self.outcomes[reply_id]

    async def meet(self, case: Case) -> Met:
        """Let the row's account meet its error, then send to somebody else from the same account."""
        if case.api == "manychat":
            await self.sandbox.tell_account(account_of(case), page_id=f"77{EVERYBODY.index(case)}")
        for order in case.orders:
            await self.sandbox.add_fault(account=account_of(case), **order)
        if case is NEARLY_FULL:
            await self.end_of(await self.send(case, second=False))
        first = await self.send(case, second=False)
        waits = case.action.startswith("pause")
        if waits:
            await self.was_met(case)
        else:
            await self.end_of(first)
        second = await self.send(case, second=True)
        return Met(await self.end_of(first), await self.end_of(second))

    async def was_met(self, case: Case) -> None:
        """Wait until the sandbox answered the row's first call with the error."""
        async with asyncio.timeout(LONGEST):
            while not await self.calls_of(case):
                await asyncio.sleep(0.05)

    async def calls_of(self, case: Case) -> list[dict[str, Any]]:
        found = []
        for second in (False, True):
            told = await self.sandbox.journal(contact=contact_of(case, second))
            found += [one for one in told["entries"] if one["kind"] in {"message", "private_reply", "sendContent"}]
        return sorted(found, key=lambda one: one["number"])

    async def look_back(self, met: dict[str, Met], db: Database) -> None:
        """Read what is left of each row: its calls, its notices, the account's standing."""
        rows = {account_of(case): met[case.name] for case in EVERYBODY}
        for case in EVERYBODY:
            met[case.name].sends = await self.calls_of(case)
        async for entry in self.sandbox.whole_journal(api="operator", bodies=True):
            body = entry["request"] or {}
            rows[body["account_id"]].notices.append(body)
        async for document in db[ACCOUNTS].find():
            rows[document["_id"]].standing = document

    async def look(self) -> None:
        """Read the metrics again and again, as Prometheus does, and keep the most of each."""
        while True:
            text = (await self.http.get("/metrics")).text
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    key = (sample.name, frozenset(sample.labels.items()))
                    self.most[key] = max(self.most[key], sample.value)
            await asyncio.sleep(0.25)


async def meet_all(kafka: str, mongo_url: str, sandbox_url: str) -> Evidence:
    settings = Settings(
        environment="development",
        bootstrap_servers=kafka,
        mongodb_url=SecretStr(mongo_url),
        encryption_keys=(SecretStr(SEALING_KEY),),
        jwt_secrets=(SecretStr("a secret of the right length for HS256"),),
        manychat_url=f"{sandbox_url}/manychat",
        graph_url=f"{sandbox_url}/graph/v25.0",
        call_timeout=3.0,
        settle=0.4,
        unknown_deadline=8.0,
    )
    mongo = mongo_client(settings, service="test")
    db = database(mongo)
    sealer = Sealer([SEALING_KEY])
    await db[MERCHANTS].insert_many([merchant_of(case, sandbox_url, sealer).to_document() for case in EVERYBODY])
    app = create_app(settings)
    broker = kafka_broker(settings, client_id="test")
    consumer = AIOKafkaConsumer(
        OUTCOMES, bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False
    )
    async with (
        app.lifespan(),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://delivery") as http,
        httpx2.AsyncClient(trust_env=False, limits=httpx2.Limits(max_connections=20), timeout=30) as outside,
    ):
        async with asyncio.timeout(30):
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
        await broker.start()
        await consumer.start()
        rig = Rig(broker, http, SandboxClient(sandbox_url, outside), sandbox_url)

        async def collect() -> None:
            while True:
                outcome = ANY_EVENT.validate_json((await consumer.getone()).value)
                rig.outcomes[outcome.data.reply_id].append(outcome)

        regularly = [asyncio.create_task(collect()), asyncio.create_task(rig.look())]
        try:
            together = await asyncio.gather(*(rig.meet(case) for case in AT_ONCE))
            met = {case.name: one for case, one in zip(AT_ONCE, together, strict=True)}
            for case in APART:
                met[case.name] = await rig.meet(case)
            await rig.look_back(met, db)
            await asyncio.sleep(0.3)  # one last look at the metrics
            told = [one.model_dump_json() for outcomes in rig.outcomes.values() for one in outcomes]
            metrics = (await http.get("/metrics")).text
        finally:
            for task in regularly:
                task.cancel()
            await asyncio.gather(*regularly, return_exceptions=True)
            await consumer.stop()
            await broker.stop()
            await mongo.close()
    return Evidence(met, rig.most, "\n".join([*told, metrics]))


@pytest.fixture(scope="module")
def evidence(kafka, mongo):
    with running_sandbox(SandboxSettings(port=0, igsid_field_id="5", echoes=False)) as url:
        return asyncio.run(meet_all(kafka.bootstrap, mongo.url.replace("/jawab?", "/errors?"), url))


@pytest.fixture(scope="module")
def alerts(project_root):
    rules = yaml.safe_load((project_root / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    return {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}


def kinds(outcomes: list[Any]) -> list[str]:
    return [one.type.split(".")[-2] for one in outcomes]


def reads(outcome: Any, case: Case) -> None:
    """Check what the merchant reads: the reason, our sentence, and the number behind it."""
    assert outcome.data.reason == case.meaning.reason
    if case.meaning.said.startswith(DAY_OLD):  # the customer wrote a moment ago
        assert "although the customer wrote at" in outcome.data.detail
    else:
        assert outcome.data.detail.startswith(case.meaning.said)
    assert re.search(r"\((Graph API|ManyChat) (error|answered) ", outcome.data.detail)


def waited(met: Met) -> float:
    """Return the seconds between the refused call and the next one of the account."""
    refused = next(one for one in met.sends if not one["effect"])
    after = [one for one in met.sends if one["number"] > refused["number"]]
    return after[0]["received"] - refused["answered"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_row_is_acted_upon(evidence, case):
    met = evidence.met[case.name]
    match case.action:
        case "refuse" | "refuse_and_alert" | "other_app" | "ignore" | "done" | "suspend":
            assert (kinds(met.first), kinds(met.second)) == (["failed"], ["delivered"])
            assert (len(met.sends), len(met.effects)) == (2, 1)
            reads(met.first[0], case)
        case "once_more":
            assert (kinds(met.first), kinds(met.second)) == (["failed"], ["delivered"])
            assert (len(met.sends), len(met.effects)) == (3, 1)
            reads(met.first[0], case)
        case "reconnect" | "restrict" | "hold":
            assert (kinds(met.first), kinds(met.second)) == (["failed"], ["suppressed"])
            assert (len(met.sends), len(met.effects)) == (1, 0)
            reads(met.first[0], case)
            assert met.second[0].data.reason == STOPPED[case.action]
            assert met.second[0].data.detail == met.first[0].data.detail
        case "pause_account" | "pause_app" | "pause_call":
            assert (kinds(met.first), kinds(met.second)) == (["delivered"], ["delivered"])
            assert len(met.effects) == 2
            assert waited(met) >= PAUSE - 0.05
        case "elsewhere":
            assert (kinds(met.first), kinds(met.second)) == (["delivered"], ["delivered"])
            assert [one["api"] for one in met.effects] == ["graph", "manychat"]
            assert (met.first[0].data.route, met.second[0].data.route) == ("graph", "manychat")
        case "refuse_key":
            assert [(one["api"], one["effect"]) for one in met.sends] == [
                ("manychat", False),
                ("graph", True),
                ("graph", True),
            ]
        case "unknown" | "sent_or_unknown":
            assert (kinds(met.first), kinds(met.second)) == (["outcomeunknown", "delivered"], ["delivered"])
            assert met.first[0].data.evidence.startswith(case.meaning.said)
            assert len(met.effects) == 2
            assert len(met.sends) == (2 if case.arrived else 3)
        case "done before":
            assert kinds(met.first) == ["outcomeunknown", "delivered"]
            assert kinds(met.second) == ["delivered"]
            assert len(met.sends) == 3
        case _:
            raise AssertionError(f"no expectation for {case.action}")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_account_is_stopped_where_the_row_says_so_and_nowhere_else(evidence, case):
    standing = evidence.met[case.name].standing
    if case.action not in STOPPED:
        assert standing is None
        return
    assert standing is not None
    assert (standing["state"], standing["reason"]) == (STOPPED[case.action], case.meaning.reason)
    assert standing["detail"].startswith(case.meaning.said)
    assert (standing["until"] is not None) == (case.action == "hold")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_people_are_told_once_where_an_account_is_concerned(evidence, case):
    notices = evidence.met[case.name].notices
    concerned = case.action in {*STOPPED, "refuse_key", "refuse_and_alert"}
    assert [one["reason"] for one in notices] == ([case.meaning.reason] if concerned else [])
    said = completed(case.meaning.said, merchant_id=f"shop{EVERYBODY.index(case)}", account_id=account_of(case))
    assert all(one["text"].startswith(said) for one in notices)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_row_is_counted(evidence, case):
    action = "done" if case.action == "done before" else case.action
    labels = frozenset({"api": case.api, "code": case.label, "action": action}.items())
    assert evidence.most["delivery_errors_total", labels] >= 1


def seen(evidence: Evidence, sample: str, **labels: str) -> float:
    return evidence.most[sample, frozenset(labels.items())]


SELECTOR = re.compile(r"\b([a-z_]+)(?:\{([^}]*)\})?(?:\[\w+\])?(?=[)\s]|$)")


def seen_by(expression: str, evidence: Evidence, **wanted: str) -> bool:
    """Tell whether some series the alert asks for, with these labels, was above zero."""
    found = []
    for name, matchers in SELECTOR.findall(expression):
        asked = dict(re.findall(r'(\w+)=~?"([^"]*)"', matchers))
        for (sample, labels), value in evidence.most.items():
            own = dict(labels)
            if (
                sample == name
                and value > 0
                and all(re.fullmatch(pattern, own.get(label, "")) for label, pattern in asked.items())
                and all(own.get(label) == value_ for label, value_ in wanted.items())
            ):
                found.append(own)
    return bool(found)


@pytest.mark.parametrize("case", [case for case in CASES if case.action in ALERTS], ids=str)
def test_the_rows_alert_sees_it(evidence, alerts, case):
    alert = ALERTS[case.action]
    wanted = {}
    if alert == "JawabAccountStopped":
        wanted = {"reason": case.meaning.reason}
    elif alert == "JawabSendingPaused":
        wanted = {"api": case.api, "scope": case.action.removeprefix("pause_")}
    elif alert == "JawabAccountMisconfigured":
        wanted = {"code": case.label}
    elif alert == "JawabOutsideApiLeftAlone":
        return  # it takes five in a row: tests of the breaker
    assert seen_by(alerts[alert], evidence, **wanted)


def test_an_account_that_used_all_makes_no_call_for_the_time_that_is_named(evidence):
    first, second = evidence.met[FULL.name].sends
    assert second["received"] - first["answered"] >= PAUSE - 0.05
    assert seen(evidence, "delivery_paused_buckets", api="graph", scope="account") >= 1


def test_an_account_that_used_nearly_all_makes_its_calls_further_apart(evidence):
    _, second, third = evidence.met[NEARLY_FULL.name].sends
    assert third["received"] - second["received"] >= pace(Usage(86)).gap - 0.3
    assert seen(evidence, "delivery_slowed_buckets", api="graph", scope="account") >= 1


def test_nothing_that_the_platform_said_is_told_to_anybody(evidence):
    assert CANARY not in evidence.everything_told


def test_no_row_of_the_tables_is_left_out(evidence):
    met = {case.label for case in CASES if case.api == "graph"} & {name_of(*key) for key in graph_errors.KNOWN}
    assert met == {name_of(*key) for key in graph_errors.KNOWN}
    assert {case.label for case in CASES if case.api == "manychat"} >= {str(code) for code in manychat_errors.KNOWN}
    assert evidence.met.keys() >= {case.name for case in CASES}
