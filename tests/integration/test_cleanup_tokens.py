"""Renewing tokens on the MongoDB wire: what is due is renewed in its place, what is refused is noted."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from cleanup.renewal import Renewal, Renewed, is_due
from cleanup.settings import TokenSettings
from common.accounts import MongoStandings, Standing
from common.clock import ManualClock
from common.graph_accounts import GraphAccounts, GraphAway, GraphRefused, LastingToken
from common.merchants import Account, Merchant
from common.mongo import MERCHANTS, Database, database, mongo_client
from common.sealing import Sealer
from common.settings import MongoSettings
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.mongo

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = "k" * 32
SEALER = Sealer([KEY])
DAY = timedelta(days=1)


class Platform:
    """Renews every token but those it is told to treat otherwise."""

    def __init__(self, **instead: Exception) -> None:
        self.asked: list[str] = []
        self.instead = instead

    async def renewed(self, token: str) -> LastingToken:
        self.asked.append(token)
        if token in self.instead:
            raise self.instead[token]
        return LastingToken(f"new-{token}", 60 * 86400.0)


def account(id_: str, *, ends_in: timedelta | None = 5 * DAY, age: timedelta = 55 * DAY, **more: Any) -> Account:
    known = {
        "access_token": SEALER.seal(f"token{id_}", id_, "access_token"),
        "token_expires_at": None if ends_in is None else NOW + ends_in,
        "token_issued_at": NOW - age,
        **more,
    }
    return Account(account_id=id_, **known)


def merchant(id_: str, main: Account, *others: Account) -> Merchant:
    return Merchant(id=id_, name=id_, **main.model_dump(), other_accounts=others)


@pytest.fixture
async def db(mongo_url: str) -> AsyncIterator[Database]:
    async with mongo_client(MongoSettings(mongodb_url=SecretStr(mongo_url)), service="test") as client:
        yield database(client)


def renewal(db: Database, platform: Platform, sealer: Sealer = SEALER) -> Renewal:
    return Renewal(db, MongoStandings(db, keep=0), platform, sealer=sealer, clock=ManualClock(NOW))


async def stored(db: Database, id_: str) -> Merchant:
    document = await db[MERCHANTS].find_one({"_id": id_})
    assert document is not None
    return Merchant.from_document(document)


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, True),
        ({"ends_in": 10 * DAY}, False),
        ({"ends_in": 10 * DAY - timedelta(seconds=1)}, True),
        ({"age": DAY}, True),
        ({"age": DAY - timedelta(seconds=1)}, False),
        ({"token_issued_at": None}, True),
        ({"ends_in": None}, True),
        ({"ends_in": None, "token_issued_at": None}, True),
        ({"ends_in": None, "age": DAY - timedelta(seconds=1)}, False),
        ({"access_token": None}, False),
    ],
)
def test_a_token_is_due_ten_days_before_its_end_and_from_its_second_day_on(changes: dict[str, Any], due: bool):
    assert is_due(account("1", **changes), NOW) is due


async def test_each_accounts_token_is_renewed_in_its_own_place_and_the_rest_stays(db: Database):
    before = merchant("dar", account("1", username="baghdad"), account("2"), account("3", ends_in=50 * DAY))
    await db[MERCHANTS].insert_one(before.to_document())
    platform = Platform()
    assert await renewal(db, platform).renew() == Renewed(renewed=2)
    assert platform.asked == ["token1", "token2"]
    after = await stored(db, "dar")
    assert [one.opened("access_token", SEALER) for one in after.accounts] == ["new-token1", "new-token2", "token3"]
    assert [one.token_expires_at for one in after.accounts] == [NOW + 60 * DAY, NOW + 60 * DAY, NOW + 50 * DAY]
    assert after.username == "baghdad"
    assert await renewal(db, platform).renew() == Renewed()


async def test_a_token_that_is_refused_for_good_needs_a_person_and_is_not_asked_about_again(db: Database):
    await db[MERCHANTS].insert_one(merchant("dar", account("1"), account("2")).to_document())
    platform = Platform(token1=GraphRefused("token_expired", "the token has expired", 190, 463))
    assert await renewal(db, platform).renew() == Renewed(renewed=1, refused=1)
    standing = await MongoStandings(db).of("1")
    assert (standing.state, standing.reason) == ("needs_reconnection", "token_expired")
    assert "`jawab merchants connect dar --account " in standing.detail
    assert await renewal(db, platform).renew() == Renewed()
    assert platform.asked == ["token1", "token2"]


@pytest.mark.parametrize(
    "trouble",
    [GraphAway("no answer"), GraphRefused("throttled", "too many calls", 4), GraphRefused("refused", "no", 7)],
)
async def test_what_says_nothing_about_the_token_is_tried_again_another_day(db: Database, trouble: Exception):
    await db[MERCHANTS].insert_one(merchant("dar", account("1")).to_document())
    assert await renewal(db, Platform(token1=trouble)).renew() == Renewed(failed=1)
    assert await MongoStandings(db).of("1") == Standing("1")
    assert await stored(db, "dar") == merchant("dar", account("1")).model_copy(
        update={"access_token": (await stored(db, "dar")).access_token}
    )


async def test_a_key_that_is_not_here_and_a_document_that_is_not_valid_hold_nobody_else_up(db: Database):
    sealed_elsewhere = Sealer(["o" * 32]).seal("token1", "1", "access_token")
    await db[MERCHANTS].insert_one({"_id": "broken", "naem": "typo", "account_id": "9"})
    await db[MERCHANTS].insert_one(merchant("dar", account("1", access_token=sealed_elsewhere)).to_document())
    await db[MERCHANTS].insert_one(merchant("zay", account("2")).to_document())
    assert await renewal(db, Platform()).renew() == Renewed(renewed=1, failed=2)


async def test_a_token_that_somebody_entered_meanwhile_is_not_overwritten(db: Database):
    await db[MERCHANTS].insert_one(merchant("dar", account("1")).to_document())
    entered = SEALER.seal("entered", "1", "access_token")

    class Slow(Platform):
        async def renewed(self, token: str) -> LastingToken:
            await db[MERCHANTS].update_one({"_id": "dar"}, {"$set": {"access_token": entered}})
            return await super().renewed(token)

    await renewal(db, Slow()).renew()
    assert (await stored(db, "dar")).access_token == entered


@pytest.mark.parametrize("reason", ["not_accepted", "not_exchangeable", "token_refused", "permission_missing"])
async def test_a_token_of_unknown_end_that_is_too_young_is_tried_again_and_stops_nobody(db: Database, reason: str):
    pasted = account("1", ends_in=None, token_issued_at=None)
    await db[MERCHANTS].insert_one(merchant("dar", pasted).to_document())
    platform = Platform(token1=GraphRefused(reason, "not yet", 100))
    for _ in range(2):
        assert await renewal(db, platform).renew() == Renewed(end_unknown=1)
    assert await MongoStandings(db).of("1") == Standing("1")
    assert await renewal(db, Platform()).renew() == Renewed(renewed=1)
    assert (await stored(db, "dar")).token_expires_at == NOW + 60 * DAY


async def test_a_token_of_unknown_end_that_has_certainly_ended_needs_an_agent(db: Database):
    await db[MERCHANTS].insert_one(merchant("dar", account("1", ends_in=None)).to_document())
    platform = Platform(token1=GraphRefused("token_expired", "it has ended", 190, 463))
    assert await renewal(db, platform).renew() == Renewed(refused=1)
    assert (await MongoStandings(db).of("1")).state == "needs_reconnection"


@pytest.mark.parametrize(("age_seconds", "renewed"), [(3600, 0), (2 * 86400, 1)])
async def test_a_token_from_the_dashboard_is_renewed_once_it_is_a_day_old(db: Database, age_seconds: int, renewed: int):
    with running_sandbox(SandboxSettings(port=0, account_id="1", app_secret="secret")) as url:
        grant = {"age_seconds": age_seconds, "expires_seconds": 58 * 86400, "long": True}
        told = {"account": "1", "grants": {"token1": grant}}
        await asyncio.to_thread(
            lambda: httpx2.post(f"{url}/sandbox/accounts", json=told, trust_env=False).raise_for_status()
        )
        await db[MERCHANTS].insert_one(merchant("dar", account("1", ends_in=None, token_issued_at=None)).to_document())
        async with httpx2.AsyncClient(trust_env=False) as http:
            graph = GraphAccounts(http, f"{url}/graph/v25.0", timeout=10, app_secret="secret")
            with pytest.raises(GraphRefused, match="452"):
                await graph.exchanged("token1")
            done = await renewal(db, graph).renew()  # type: ignore[arg-type]
    assert done == Renewed(renewed=renewed, end_unknown=1 - renewed)
    assert ((await stored(db, "dar")).token_expires_at is not None) == bool(renewed)


def test_the_job_renews_at_the_real_address_and_says_what_is_left(mongo_url: str):
    from cleanup.jobs import Unfinished, tokens

    with running_sandbox(SandboxSettings(port=0, account_id="1")) as url:
        grant = {"age_seconds": 5e6, "expires_seconds": 86400, "long": True}
        told = {"account": "1", "grants": {"token1": grant}}
        httpx2.post(f"{url}/sandbox/accounts", json=told, trust_env=False).raise_for_status()
        ends = datetime.now(UTC) + DAY

        async def work() -> Merchant:
            async with mongo_client(MongoSettings(mongodb_url=SecretStr(mongo_url)), service="test") as client:
                db = database(client)
                due = merchant("dar", account("1", token_expires_at=ends))
                await db[MERCHANTS].insert_one(due.to_document())
                settings = TokenSettings(
                    environment="development",
                    mongodb_url=SecretStr(mongo_url),
                    encryption_keys=(SecretStr(KEY),),
                    graph_url=f"{url}/graph/v25.0",
                )
                await tokens(settings)
                renewed = await stored(db, "dar")
                other = account("2", token_expires_at=ends)
                away = settings.model_copy(update={"graph_url": "http://127.0.0.1:1"})
                await db[MERCHANTS].insert_one(merchant("zay", other).to_document())
                with pytest.raises(Unfinished, match="1 could not be renewed"):
                    await tokens(away)
                return renewed

        renewed = asyncio.run(work())
    assert (renewed.opened("access_token", SEALER) or "").startswith("IGAAsandbox")
