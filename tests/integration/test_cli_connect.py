"""`jawab merchants connect`, `disconnect` and `accounts`: against the sandbox over HTTP, on the MongoDB wire."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from cli.app import run
from common.accounts import MongoStandings, Standing
from common.merchants import Account, Merchant
from common.mongo import MERCHANTS, Database, database, mongo_client
from common.sealing import Sealer
from common.settings import MongoSettings
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings

pytestmark = pytest.mark.mongo

KEY, SECRET = "k" * 32, "the-apps-own-secret"
MAIN, OTHER = "17841400000000111", "17841400000000222"
SHORT, LONG, BASRA = "IGAA-one-hour", "IGAA-sixty-days", "IGAA-of-basra"
CANARIES = (SHORT, LONG, BASRA, SECRET, "IGAAsandbox")
ALL = ["instagram_business_basic", "instagram_business_manage_comments", "instagram_business_manage_messages"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with running_sandbox(SandboxSettings(port=0, account_id=MAIN, app_secret=SecretStr(SECRET))) as url:
        yield url


class World:
    """A database, a sandbox with two accounts, and the command."""

    def __init__(self, mongo_url: str, sandbox: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._mongo_url, self._sandbox, self._capsys = mongo_url, sandbox, capsys
        self.sealer = Sealer([KEY])
        self.post("reset")
        self.told = self.journal(0)[-1]["number"] if self.journal(0) else 0
        common = {"permissions": ALL, "authorized": True, "account_type": "BUSINESS", "subscribed_fields": []}
        self.post("accounts", account=MAIN, username="baghdad", tokens=[SHORT, LONG], app_scoped_id="5551", **common)
        self.post("accounts", account=OTHER, username="basra", tokens=[BASRA], app_scoped_id="5552", **common)
        grants = {SHORT: {"expires_seconds": 3600}, LONG: {"expires_seconds": 5e6, "long": True, "age_seconds": 3600}}
        self.post("accounts", account=MAIN, grants=grants)

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = run(("merchants", *arguments))
        written = self._capsys.readouterr()
        for canary in CANARIES:
            assert canary not in written.out + written.err
        return code, written.out, written.err

    def post(self, path: str, **what: Any) -> None:
        httpx2.post(f"{self._sandbox}/sandbox/{path}", json=what, trust_env=False).raise_for_status()

    def journal(self, after: int | None = None) -> list[dict[str, Any]]:
        asked = {"after": self.told if after is None else after}
        entries: list[dict[str, Any]] = httpx2.get(
            f"{self._sandbox}/sandbox/journal", params=asked, trust_env=False
        ).json()["entries"]
        return entries

    def kinds(self) -> list[tuple[str, bool]]:
        return [(entry["kind"], entry["effect"]) for entry in self.journal()]

    def heard(self, account: str) -> list[str]:
        listed = httpx2.get(f"{self._sandbox}/sandbox/accounts", trust_env=False).json()["accounts"]
        return next(one["subscribed_fields"] for one in listed if one["account"] == account)

    def on_database(self, act: Callable[[Database], Awaitable[Any]]) -> Any:
        async def with_client() -> Any:
            async with mongo_client(MongoSettings(mongodb_url=SecretStr(self._mongo_url)), service="test") as client:
                return await act(database(client))

        return asyncio.run(with_client())

    def merchant(self, id_: str = "dar") -> Merchant:
        return Merchant.from_document(self.on_database(lambda db: db[MERCHANTS].find_one({"_id": id_})))

    def standing(self, account: str = MAIN) -> Standing:
        found: Standing = self.on_database(lambda db: MongoStandings(db).of(account))
        return found

    def note(self, standing: Standing) -> None:
        assert self.on_database(lambda db: MongoStandings(db).note(standing))

    def opened(self, account: Account) -> str:
        opened = account.opened("access_token", self.sealer)
        assert opened is not None
        return opened


@pytest.fixture
def jawab(
    mongo_url: str,
    sandbox: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> World:
    monkeypatch.chdir(tmp_path)
    for name in ("INSTAGRAM_PAGE_ID", "INSTAGRAM_ACCESS_TOKEN", "META_APP_SECRET", "IG_APP_ID"):
        monkeypatch.delenv(name, raising=False)
    environment = {
        "MONGODB_URL": mongo_url,
        "ENCRYPTION_KEY": KEY,
        "INSTAGRAM_GRAPH_URL": f"{sandbox}/graph/v25.0",
        "IG_APP_SECRET": SECRET,
        "SHORT": SHORT,
        "LONG": LONG,
        "BASRA": BASRA,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    world = World(mongo_url, sandbox, capsys)
    code, _, err = world("add", "dar", "--name", "Dar", "--account", MAIN)
    assert code == 0, err
    return world


def test_a_short_token_is_exchanged_sealed_subscribed_and_the_account_is_active(jawab: World) -> None:
    jawab.note(Standing(MAIN, "needs_reconnection", "token_expired", since=datetime.now(UTC) - timedelta(hours=1)))
    code, out, err = jawab("connect", "dar", "--token", "env:SHORT")
    assert code == 0, err
    steps = [line.split(":")[0].split()[-1] for line in out.splitlines() if line.startswith("✓")]
    assert steps == ["token", "exchange", "permissions", "store", "subscribe", "verify", "active"]
    assert "was needs reconnection" in out
    account = jawab.merchant()
    assert (account.username, account.app_scoped_id) == ("baghdad", "5551")
    assert jawab.opened(account).startswith("IGAAsandbox")
    assert account.token_expires_at is not None
    assert timedelta(days=59) < account.token_expires_at - datetime.now(UTC) < timedelta(days=60)
    assert {"messages", "comments"} <= set(jawab.heard(MAIN))
    standing = jawab.standing()
    assert (standing.state, standing.connected_at) == ("active", standing.since)
    assert [kind for kind, _ in jawab.kinds()] == [
        "account",
        "token_exchange",
        "permissions",
        "subscribe",
        "subscriptions",
    ]


def test_doing_it_again_checks_the_stored_token_and_makes_no_other(jawab: World) -> None:
    jawab("connect", "dar", "--token", "env:SHORT")
    before, last = jawab.merchant(), jawab.journal()[-1]["number"]
    code, out, err = jawab("connect", "dar")
    assert code == 0, err
    assert "not needed: the stored token lasts until" in out
    assert jawab.merchant() == before
    assert "token_exchange" not in {entry["kind"] for entry in jawab.journal(last)}
    assert jawab.standing().state == "active"


def test_a_token_that_lasts_already_is_kept_as_it_is_and_that_is_said(jawab: World) -> None:
    code, out, err = jawab("connect", "dar", "--token", "env:LONG")
    assert code == 0, err
    assert "! exchange:" in out
    assert "not a short-lived one" in out
    assert jawab.opened(jawab.merchant()) == LONG
    assert jawab.merchant().token_expires_at is None


def test_a_token_that_lasts_and_is_a_day_old_is_renewed_so_that_its_end_is_known(jawab: World) -> None:
    grants = {LONG: {"age_seconds": 2 * 86400, "expires_seconds": 5e6, "long": True}}
    jawab.post("accounts", account=MAIN, grants=grants)
    assert jawab("connect", "dar", "--token", "env:LONG")[0] == 0
    assert jawab.merchant().token_expires_at is not None


def test_without_the_apps_secret_the_token_is_kept_with_a_warning(
    jawab: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IG_APP_SECRET")
    code, out, _ = jawab("connect", "dar", "--token", "env:SHORT")
    assert (code, "without IG_APP_SECRET" in out) == (0, True)
    assert jawab.opened(jawab.merchant()) == SHORT


def test_the_token_can_come_through_a_pipe(jawab: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Piped:
        def isatty(self) -> bool:
            return False

        def read(self, most: int) -> str:
            return f"{SHORT}\n"[:most]

    monkeypatch.setattr("sys.stdin", Piped())
    assert jawab("connect", "dar", "--token", "stdin")[0] == 0


def test_a_dry_run_asks_and_changes_nothing(jawab: World) -> None:
    before = jawab.merchant()
    code, out, err = jawab("connect", "dar", "--token", "env:SHORT", "--dry-run")
    assert code == 0, err
    assert "would hear of messages, comments" in out
    assert "Nothing was changed." in out
    assert jawab.merchant() == before
    assert jawab.standing() == Standing(MAIN)
    assert not any(effect for _, effect in jawab.kinds())


@pytest.mark.parametrize(
    ("permissions", "named"),
    [
        (ALL[:1], "lacks instagram_business_manage_comments, instagram_business_manage_messages"),
        ([ALL[0], ALL[2]], "lacks instagram_business_manage_comments"),
    ],
)
def test_a_permission_that_is_lacking_is_named_with_the_fix(jawab: World, permissions: list[str], named: str) -> None:
    jawab.post("accounts", account=MAIN, permissions=permissions)
    code, _, err = jawab("connect", "dar", "--token", "env:SHORT")
    assert code == 1
    assert f"permissions: the token {named}" in err
    assert "jawab merchants connect dar --token prompt" in err
    assert jawab.heard(MAIN) == []
    assert jawab.merchant().access_token is None


def test_direct_messages_alone_need_no_permission_for_comments(jawab: World) -> None:
    jawab.post("accounts", account=MAIN, permissions=[ALL[0], ALL[2]])
    code, _, err = jawab("connect", "dar", "--token", "env:SHORT", "--field", "messages")
    assert code == 0, err
    assert jawab.heard(MAIN) == ["messages"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"authorized": False}, "token: the app was removed from the account"),
        ({"grants": {SHORT: {"expires_seconds": -1}}}, "token: the token has expired"),
        ({"tokens": ["another"]}, "token: the token is not accepted"),
        ({"account_type": "PERSONAL"}, "token: @baghdad is a personal account"),
    ],
)
def test_a_token_that_opens_nothing_is_said_in_our_words(jawab: World, change: dict[str, Any], said: str) -> None:
    jawab.post("accounts", account=MAIN, **change)
    code, out, err = jawab("connect", "dar", "--token", "env:SHORT")
    assert (code, out) == (1, "")
    assert said in err
    assert "jawab merchants connect dar" in err


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("account", "token"),
        ("token_exchange", "exchange"),
        ("permissions", "permissions"),
        ("subscribe", "subscribe"),
        ("subscriptions", "verify"),
    ],
)
@pytest.mark.parametrize("behaviour", ["server_error", "drop_before"])
def test_a_platform_that_fails_is_said_with_the_step_and_can_be_tried_again(
    jawab: World, kind: str, step: str, behaviour: str
) -> None:
    jawab.post("faults", api="graph", kind=kind, behaviour=behaviour, times=1)
    code, _, err = jawab("connect", "dar", "--token", "env:SHORT")
    assert code == 1
    assert f"{step}: the Graph API" in err
    assert "jawab merchants connect dar" in err
    code, _, err = jawab("connect", "dar", "--token", "env:SHORT")
    assert code == 0, err
    assert jawab.standing().state == "active"


def test_fields_the_platform_does_not_know_leave_those_that_are_needed(jawab: World) -> None:
    code, out, _ = jawab("connect", "dar", "--token", "env:SHORT", *("--field=messages", "--field=message_edits"))
    assert (code, "! subscribe:" in out) == (0, True)
    assert jawab.heard(MAIN) == ["messages"]


def test_a_subscription_that_does_not_come_to_our_app_is_no_success(
    jawab: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IG_APP_ID", "99")
    code, _, err = jawab("connect", "dar", "--token", "env:SHORT")
    assert code == 1
    assert "verify: the platform took the subscription and tells nothing of comments, messages" in err
    assert jawab.standing().connected_at is None


def test_an_account_of_the_sandbox_is_connected_as_the_documentation_says(
    jawab: World, project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (project_root / "docs" / "connecting.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"-d '(\{.*\})'", page.partition("## Trying it without Meta")[2])
    jawab.post("accounts", **json.loads(told))
    monkeypatch.setenv("TOKEN", "sandbox-token")
    assert jawab("add", "trial", "--name", "Dar", "--account", json.loads(told)["account"])[0] == 0
    code, out, err = jawab("connect", "trial", "--token", "env:TOKEN")
    assert code == 0, err
    assert "belongs to @daralzayy" in out


# Several accounts


def test_a_second_account_is_added_by_its_number_and_has_keys_of_its_own(
    jawab: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    jawab("connect", "dar", "--token", "env:SHORT")
    code, _, err = jawab("connect", "dar", "--token", "env:BASRA")
    assert code == 1
    assert f"to add it: jawab merchants connect dar --account {OTHER}" in err
    monkeypatch.setenv("KEY_OF_BASRA", "2:key")
    keys = ("--manychat-key", "env:KEY_OF_BASRA", "--igsid-field", "7")
    code, _, err = jawab("connect", "dar", "--account", OTHER, "--token", "env:BASRA", *keys)
    assert code == 0, err
    merchant = jawab.merchant()
    assert merchant.account_id == MAIN
    (basra,) = merchant.other_accounts
    assert (basra.account_id, basra.username, basra.app_scoped_id) == (OTHER, "basra", "5552")
    assert basra.opened("manychat_api_key", jawab.sealer) == "2:key"
    assert (basra.manychat_igsid_field, merchant.manychat_igsid_field) == (7, None)
    assert jawab.opened(basra) != jawab.opened(merchant)
    code, out, _ = jawab("accounts", "dar", "--json")
    listed = [(one["account"], one["username"], one["state"]) for one in json.loads(out)]
    assert listed == [(MAIN, "baghdad", "active"), (OTHER, "basra", "active")]


def test_a_token_of_another_account_than_the_one_named_is_refused(jawab: World) -> None:
    code, _, err = jawab("connect", "dar", "--account", MAIN, "--token", "env:BASRA")
    assert code == 1
    assert f"it belongs to account {OTHER} (@basra), not to {MAIN}" in err


def test_an_account_of_another_merchant_is_not_taken_over(jawab: World) -> None:
    jawab("add", "zay", "--name", "Zay", "--account", OTHER)
    code, _, err = jawab("connect", "dar", "--account", OTHER, "--token", "env:BASRA")
    assert code == 1
    assert f"account {OTHER} already belongs to merchant zay" in err


def test_nobody_gets_an_account_that_is_another_merchants_other_account(jawab: World) -> None:
    jawab("connect", "dar", "--account", OTHER, "--token", "env:BASRA")
    code, _, err = jawab("add", "zay", "--name", "Zay", "--account", OTHER)
    assert code == 1
    assert f"the Instagram account {OTHER} already belongs to merchant dar" in err


def test_disconnecting_tells_the_platform_and_stays_until_it_is_connected_again(jawab: World) -> None:
    jawab("connect", "dar", "--token", "env:SHORT")
    code, out, err = jawab("disconnect", "dar", "--yes")
    assert code == 0, err
    assert "nobody is answered there" in out
    assert jawab.heard(MAIN) == []
    assert (jawab.standing().state, jawab.standing().reason) == ("disconnected", "disconnected_by_operator")
    assert "disconnected" in jawab("list")[1]
    assert jawab("connect", "dar")[0] == 0
    assert jawab.standing().state == "active"


def test_disconnecting_works_without_the_platform(jawab: World) -> None:
    jawab("connect", "dar", "--token", "env:SHORT")
    jawab.post("accounts", account=MAIN, authorized=False)
    code, _, err = jawab("disconnect", "dar", "--yes")
    assert (code, "the platform was not told" in err) == (0, True)
    assert jawab.standing().state == "disconnected"


def test_an_account_is_forgotten_with_its_keys_and_the_main_one_is_not(jawab: World) -> None:
    jawab("connect", "dar", "--account", OTHER, "--token", "env:BASRA")
    assert jawab("disconnect", "dar", "--yes", "--forget")[0] == 1
    assert jawab("disconnect", "dar", "--account", OTHER, "--yes", "--forget")[0] == 0
    assert jawab.merchant().other_accounts == ()
    assert "say --yes" in jawab("disconnect", "dar")[2]
    assert "has no account 5" in jawab("disconnect", "dar", "--account", "5", "--yes")[2]


def test_a_clock_that_is_behind_does_not_keep_an_account_from_being_active(jawab: World) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=3)
    jawab.note(Standing(MAIN, "needs_reconnection", "token_expired", since=ahead))
    assert jawab("connect", "dar", "--token", "env:SHORT")[0] == 0
    assert jawab.standing().state == "active"


# The environment's merchant


def test_the_environments_merchant_is_connected_with_the_token_it_has(
    jawab: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTAGRAM_PAGE_ID", OTHER)
    monkeypatch.setenv("INSTAGRAM_ACCESS_TOKEN", BASRA)
    jawab.note(Standing(OTHER, "needs_reconnection", since=datetime.now(UTC) - timedelta(hours=1)))
    code, out, err = jawab("connect", "default")
    assert code == 0, err
    assert "its token is kept where it is" in out
    assert jawab.standing(OTHER).state == "active"
    assert "messages" in jawab.heard(OTHER)
    assert jawab.on_database(lambda db: db[MERCHANTS].count_documents({"_id": "default"})) == 0
    assert "is configured by the environment" in jawab("connect", "default", "--token", "env:BASRA")[2]


# Showing


def test_each_account_is_shown_with_its_state_why_since_when_and_its_tokens_end(jawab: World) -> None:
    jawab("connect", "dar", "--token", "env:SHORT")
    later = datetime.now(UTC) + timedelta(minutes=1)
    jawab.note(Standing(MAIN, "needs_reconnection", "token_expired", "again: `jawab merchants connect`", since=later))
    out = jawab("accounts")[1]
    for told in (
        MAIN,
        "baghdad",
        "needs reconnection",
        f"token_expired: again: `jawab merchants connect dar --account {MAIN}`",
        f"{later:%Y-%m-%d %H:%M}",
    ):
        assert told in out
    assert "Next: jawab merchants connect dar" in out
    (listed,) = json.loads(jawab("list", "--json")[1])
    assert listed["states"] == {MAIN: "needs_reconnection"}


def test_an_account_that_was_never_connected_is_not_said_to_work(jawab: World) -> None:
    assert "active (never checked)" in jawab("accounts")[1]
    assert "active (never checked)" in jawab("list")[1]
    assert [one["checked"] for one in json.loads(jawab("accounts", "--json")[1])] == [False]
    assert "Next: jawab merchants connect dar" in jawab("accounts")[1]
    jawab("connect", "dar", "--token", "env:SHORT")
    out = jawab("accounts")[1]
    assert ("never checked" in out, "@baghdad" in out) == (False, True)
    assert "Next: jawab doctor" in out


def test_the_accounts_fit_into_80_columns(jawab: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    jawab("connect", "dar", "--token", "env:SHORT")
    jawab("connect", "dar", "--account", OTHER, "--token", "env:BASRA")
    begins, ends = (datetime.now(UTC) + wait for wait in (timedelta(minutes=1), timedelta(days=2)))
    jawab.note(Standing(MAIN, "restricted", "account_restricted", "wait", begins, ends))
    lines = jawab("accounts")[1].splitlines()
    assert max(map(len, lines)) <= 80
    for whole in (MAIN, OTHER, "@baghdad", "restricted", f"until {ends:%Y-%m-%d %H:%M}", "account_restricted: wait"):
        assert any(whole in line for line in lines)


def test_a_new_token_by_hand_forgets_what_was_known_of_the_old_one(jawab: World) -> None:
    jawab("connect", "dar", "--token", "env:SHORT")
    jawab("add", "dar", "--update", "--access-token", "env:LONG")
    assert (jawab.merchant().token_expires_at, jawab.merchant().app_scoped_id) == (None, "5551")
    jawab("add", "dar", "--update", "--account", "333")
    assert (jawab.merchant().username, jawab.merchant().app_scoped_id) == ("", None)


def test_json_tells_every_step(jawab: World) -> None:
    code, out, _ = jawab("connect", "dar", "--token", "env:SHORT", "--json")
    told = json.loads(out)
    assert (code, told["state"], told["account"]) == (0, "active", MAIN)
    assert [step["step"] for step in told["steps"]][:2] == ["token", "exchange"]
