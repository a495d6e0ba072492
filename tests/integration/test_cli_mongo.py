"""`jawab merchants` and `jawab conversation` on the MongoDB wire: what is stored, refused, and never shown."""

import asyncio
import base64
import json
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.fernet import Fernet
from pymongo import AsyncMongoClient

from ai.decisions import Decision, MongoDecisions
from cli.app import run
from cli.merchants_known import is_nobodys
from cli.merchants_rules import edited_text
from common.events.replies import DirectMessage, Reply, ReplyGenerated
from common.merchants import Merchant
from common.mongo import CONVERSATIONS, DELIVERIES, MERCHANTS, MESSAGES, Database, database
from common.sealing import Sealer
from delivery.ledger import Row
from delivery.mongo import to_document

pytestmark = pytest.mark.mongo

T = TypeVar("T")
Jawab = Callable[..., tuple[int, str, str]]
Stored = Callable[[Callable[[Database], Awaitable[T]]], T]

KEY = "k" * 32
TOKEN = "IGAA-a-token-nobody-may-see"
RULES = """
- name: hours
  when: {channel: direct_message, match: contains, values: [دوام, hours]}
  then: {reply: {ar: من 9 للـ 9, en: 9 to 9}}
"""


@pytest.fixture
def jawab(mongo_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Jawab:
    """Run a command against a database of the test's own, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("INSTAGRAM_PAGE_ID", "INSTAGRAM_ACCESS_TOKEN", "EDITOR", "VISUAL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"MONGODB_URL": mongo_url, "ENCRYPTION_KEY": KEY, "TOKEN": TOKEN}.items():
        monkeypatch.setenv(name, value)

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(arguments)
        written = capsys.readouterr()
        assert TOKEN not in written.out + written.err
        return code, written.out, written.err

    return command


@pytest.fixture
def on_database(mongo_url: str) -> Stored[Any]:
    """Do something with the database itself."""

    def do(act: Callable[[Database], Awaitable[Any]]) -> Any:
        async def with_client() -> Any:
            client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url, tz_aware=True)
            async with client:
                return await act(database(client))

        return asyncio.run(with_client())

    return do


def merchant_in(on_database: Stored[Any], id_: str = "dar") -> Merchant:
    return Merchant.from_document(on_database(lambda db: db[MERCHANTS].find_one({"_id": id_})))


def add(jawab: Jawab, id_: str = "dar", account: str = "111", *more: str) -> tuple[int, str, str]:
    return jawab("merchants", "add", id_, "--name", "دار الأزياء", "--account", account, *more)


def test_a_merchant_is_added_with_its_token_sealed(jawab: Jawab, on_database: Stored[Any]) -> None:
    code, out, err = add(jawab, "dar", "111", "--access-token", "env:TOKEN", "--route", "graph")
    assert code == 0, err
    assert "merchant dar added" in out
    stored = merchant_in(on_database)
    assert (stored.name, stored.account_id, stored.routes) == ("دار الأزياء", "111", ("graph",))
    assert stored.access_token is not None
    assert TOKEN not in stored.access_token
    assert stored.opened("access_token", Sealer([KEY])) == TOKEN
    assert stored.manychat_api_key is None


def test_stored_secrets_are_sealed_again_with_the_newest_key(
    jawab: Jawab, on_database: Stored[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = secrets.token_hex(16)
    former = Fernet(base64.urlsafe_b64encode(KEY.encode())).encrypt(b"EAAother").decode()
    others = [{"account_id": "222", "access_token": former}, {"account_id": "333"}]
    add(jawab, "dar", "111", "--access-token", "env:TOKEN", "--route", "graph")
    on_database(lambda db: db[MERCHANTS].update_one({"_id": "dar"}, {"$set": {"other_accounts": others}}))
    monkeypatch.setenv("ENCRYPTION_KEY", f"{newest},{KEY}")

    code, out, _ = jawab("secrets", "rotate", "--dry-run")
    assert (code, "2 would be sealed again" in out) == (0, True)
    assert "take the old keys out" not in out
    assert "Next: jawab secrets rotate" in out.replace("scripts/uv run ", "")
    assert merchant_in(on_database).opened("access_token", Sealer([KEY])) == TOKEN

    code, out, _ = jawab("secrets", "rotate")
    assert (code, "2 sealed again, 0 had the newest key already" in out) == (0, True)
    assert "take the old keys out" in out
    merchant = merchant_in(on_database)
    opened = [one.opened("access_token", Sealer([newest])) for one in merchant.accounts]
    assert opened == [TOKEN, "EAAother", None]
    code, out, _ = jawab("secrets", "rotate")
    assert (code, "0 sealed again, 2 had the newest key already" in out) == (0, True)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_old_key_is_not_given_up_while_a_token_changed_meanwhile(
    jawab: Jawab, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    add(jawab, "dar", "111", "--access-token", "env:TOKEN", "--route", "graph")
    monkeypatch.setenv("ENCRYPTION_KEY", f"{secrets.token_hex(16)},{KEY}")

    async def renewed_meanwhile(*_: object) -> bool:
        return False

    monkeypatch.setattr("cli.secrets_rotation._replace", renewed_meanwhile)
    code, out, _ = jawab("secrets", "rotate", *options)
    assert (code, "dar 111 access_token" in out, "take the old keys out" in out) == (1, True, False)


def test_a_secret_that_no_key_opens_is_named_and_left(
    jawab: Jawab, on_database: Stored[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    add(jawab, "dar", "111", "--access-token", "env:TOKEN", "--route", "graph")
    before = merchant_in(on_database).access_token
    monkeypatch.setenv("ENCRYPTION_KEY", secrets.token_hex(16))
    code, out, err = jawab("secrets", "rotate")
    assert (code, "dar 111 access_token opens with none of the keys" in out) == (1, True), err
    assert merchant_in(on_database).access_token == before


def test_a_corrected_account_id_keeps_its_token(jawab: Jawab, on_database: Stored[Any]) -> None:
    add(jawab, "dar", "111", "--access-token", "env:TOKEN", "--route", "graph")
    assert jawab("merchants", "add", "dar", "--update", "--account", "112")[0] == 0
    assert merchant_in(on_database).opened("access_token", Sealer([KEY])) == TOKEN


def test_an_account_and_an_id_belong_to_one_merchant(jawab: Jawab, on_database: Stored[Any]) -> None:
    assert add(jawab)[0] == 0
    code, out, err = add(jawab, "other", "111")
    assert (code, out) == (1, "")
    assert "the Instagram account 111 already belongs to merchant dar" in err
    code, _, err = add(jawab, "dar", "222")
    assert code == 1
    assert "there is a merchant dar already" in err
    assert merchant_in(on_database).account_id == "111"
    assert add(jawab, "other", "222")[0] == 0
    code, _, err = jawab("merchants", "add", "other", "--update", "--account", "111")
    assert code == 1
    assert "already belongs to merchant dar" in err


def test_an_update_changes_only_what_is_given(jawab: Jawab, on_database: Stored[Any], tmp_path: Path) -> None:
    add(jawab, "dar", "111", "--access-token", "env:TOKEN", "--igsid-field", "77")
    (tmp_path / "facts.txt").write_text("نفتح من 9 للـ 9", encoding="utf-8")
    code, out, _ = jawab("merchants", "add", "dar", "--update", "--facts", "facts.txt")
    assert (code, "merchant dar changed" in out) == (0, True)
    stored = merchant_in(on_database)
    assert (stored.facts, stored.manychat_igsid_field) == ("نفتح من 9 للـ 9", 77)
    assert stored.access_token is not None
    jawab("merchants", "add", "dar", "--update", "--access-token", "none")
    assert merchant_in(on_database).access_token is None


def test_that_meta_gave_the_human_agent_feature_is_said_and_taken_back(jawab: Jawab, on_database: Stored[Any]) -> None:
    add(jawab, "dar", "111")
    assert not merchant_in(on_database).human_agent
    for flag, has in (("--human-agent", True), ("--no-human-agent", False)):
        code, _, _ = jawab("merchants", "add", "dar", "--update", flag)
        assert (code, merchant_in(on_database).human_agent) == (0, has)


def test_how_people_and_tools_are_told_apart_is_the_merchants_wish(jawab: Jawab, on_database: Stored[Any]) -> None:
    add(jawab, "dar", "111")
    wish = ("--quiet-hours", "2", "--other-apps", "ignore", "--tool-app", "991", "--tool-app", "992")
    code, _, _ = jawab("merchants", "add", "dar", "--update", *wish)
    stored = merchant_in(on_database)
    assert (code, stored.quiet_hours, stored.other_apps, stored.tool_apps) == (0, 2.0, "ignore", ("991", "992"))


def test_the_placeholder_of_the_price_link_is_pointed_out(jawab: Jawab) -> None:
    assert "--price-link" in add(jawab, "dar", "111")[1]
    assert "--price-link" not in add(jawab, "zay", "112", "--price-link", "https://zay.shop/prices")[1]


def test_it_is_said_that_a_merchant_takes_over_the_environments_account(
    jawab: Jawab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTAGRAM_PAGE_ID", "111")
    assert "the environment's merchant" in add(jawab, "dar", "111")[1]
    assert "the environment's merchant" not in add(jawab, "zay", "112")[1]


def test_a_manychat_key_without_the_field_that_finds_people_is_told(jawab: Jawab) -> None:
    assert "without --igsid-field" in add(jawab, "dar", "111", "--manychat-key", "env:TOKEN")[1]
    assert "without" not in add(jawab, "zay", "222", "--manychat-key", "env:TOKEN", "--igsid-field", "7")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "dar", "--account", "1"), "--name is needed"),
        (("add", "Dar!", "--name", "x", "--account", "1"), "ID must be 1 to 63 small Latin letters"),
        (("add", "dar", "--name", "x", "--account", "@dar"), "--account must be an Instagram id: 1 to 32 digits"),
        (("add", "dar", "--name", "x", "--account", "1", "--access-token", "IGAA-other"), "takes a source"),
        (("add", "dar", "--name", "x", "--account", "1", "--route", "pigeon"), "pigeon"),
        (("add", "dar", "--update"), "there is no merchant dar"),
        (("show", "dar"), "there is no merchant dar"),
        (("remove", "dar", "--yes"), "there is no merchant dar"),
        (("remove", "dar"), "say --yes"),
        (("rules", "set", "dar"), "--default"),
        (("rules", "set", "dar", "nowhere.yaml"), "nowhere.yaml cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    jawab: Jawab, on_database: Stored[Any], arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = jawab("merchants", *arguments)
    assert (code, out) == (1, "")
    assert said in err
    assert on_database(lambda db: db[MERCHANTS].count_documents({})) == 0


def test_show_and_list_say_whether_keys_are_there_and_never_what_they_are(
    jawab: Jawab, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(jawab, "dar", "111", "--access-token", "env:TOKEN")
    shown = json.loads(jawab("merchants", "show", "dar", "--json")[1])
    assert (shown["access_token"], shown["manychat_api_key"]) == ("set", "not set")
    assert "دار الأزياء" in jawab("merchants", "show", "dar")[1]
    monkeypatch.setenv("ENCRYPTION_KEY", "o" * 32)
    code, out, _ = jawab("merchants", "show", "dar")
    assert code == 0
    assert "set, cannot be opened" in out
    assert "put that one behind the new one" in out
    monkeypatch.setenv("ENCRYPTION_KEY", f"{'o' * 32},{KEY}")
    assert json.loads(jawab("merchants", "show", "dar", "--json")[1])["access_token"] == "set"


def test_the_environments_merchant_is_listed_until_the_database_has_its_account(
    jawab: Jawab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTAGRAM_PAGE_ID", "111")

    def listed() -> list[tuple[str, str]]:
        return [(one["id"], one["source"]) for one in json.loads(jawab("merchants", "list", "--json")[1])]

    assert listed() == [("default", "environment")]
    assert jawab("merchants", "show", "default")[0] == 0
    add(jawab)
    assert listed() == [("dar", "database")]


def test_a_document_that_is_not_valid_is_listed_and_does_not_hide_the_others(
    jawab: Jawab, on_database: Stored[Any]
) -> None:
    add(jawab)
    on_database(lambda db: db[MERCHANTS].insert_one({"_id": "bad", "account_id": "222", "naem": "typo"}))
    code, out, _ = jawab("merchants", "list")
    assert code == 0
    assert "bad is not valid: name is missing; naem is no field here" in out
    assert "دار الأزياء" in out
    code, _, err = jawab("merchants", "show", "bad")
    assert code == 1
    assert "is stored and not valid" in err


def test_a_removed_merchant_is_gone(jawab: Jawab, on_database: Stored[Any]) -> None:
    add(jawab)
    assert jawab("merchants", "remove", "dar", "--yes")[0] == 0
    assert on_database(lambda db: db[MERCHANTS].count_documents({})) == 0


def test_a_token_is_made_for_merchants_that_exist(jawab: Jawab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "s" * 32)
    add(jawab)
    code, out, err = jawab("token", "--merchant", "nix")
    assert (code, out) == (1, "")
    assert "--merchant: there is no merchant nix → `jawab merchants list`" in err
    assert jawab("token", "--merchant", "dar")[0] == 0


def test_it_is_known_whether_an_account_is_nobodys(jawab: Jawab, monkeypatch: pytest.MonkeyPatch) -> None:
    add(jawab)
    assert asyncio.run(is_nobodys("222"))
    assert not asyncio.run(is_nobodys("111"))
    monkeypatch.setenv("INSTAGRAM_PAGE_ID", "222")
    assert not asyncio.run(is_nobodys("222"))
    monkeypatch.setenv("MONGODB_URL", "mongodb://127.0.0.1:1/jawab")
    assert not asyncio.run(is_nobodys("333"))


# Rules


def test_rules_are_set_from_a_file_shown_as_they_were_and_given_back_to_the_default(
    jawab: Jawab, on_database: Stored[Any], tmp_path: Path
) -> None:
    add(jawab)
    assert "greeting" in jawab("merchants", "rules", "show", "dar")[1]
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    assert jawab("merchants", "rules", "set", "dar", "rules.yaml")[0] == 0
    rules = merchant_in(on_database).rules
    assert rules is not None
    assert rules[0].then.reply == {"ar": "من 9 للـ 9", "en": "9 to 9"}
    code, out, _ = jawab("merchants", "rules", "show", "dar")
    assert code == 0
    (tmp_path / "again.yaml").write_text(out, encoding="utf-8")
    assert jawab("merchants", "rules", "set", "dar", "again.yaml")[0] == 0
    assert merchant_in(on_database).rules == rules
    assert jawab("merchants", "rules", "set", "dar", "--default")[0] == 0
    assert merchant_in(on_database).rules is None


def test_rules_that_cannot_work_change_nothing(jawab: Jawab, on_database: Stored[Any], tmp_path: Path) -> None:
    add(jawab)
    (tmp_path / "rules.yaml").write_text(RULES.replace("contains", "contians"), encoding="utf-8")
    code, _, err = jawab("merchants", "rules", "set", "dar", "rules.yaml")
    assert code == 1
    assert "rules.yaml: hours.when.match: must be one of contains, " in err
    assert "`jawab merchants rules show dar` prints valid ones" in err
    assert merchant_in(on_database).rules is None


def test_rules_are_edited_in_the_persons_own_editor(
    jawab: Jawab, on_database: Stored[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add(jawab)
    code, _, err = jawab("merchants", "rules", "edit", "dar")
    assert (code, "EDITOR is not set → set it, or use `jawab merchants rules set dar FILE`" in err) == (1, True)
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    monkeypatch.setenv("EDITOR", f"cp '{tmp_path / 'rules.yaml'}'")
    code, out, err = jawab("merchants", "rules", "edit", "dar")
    assert code == 0, err
    assert "1 rules stored" in out
    assert [rule.name for rule in merchant_in(on_database).rules or ()] == ["hours"]
    monkeypatch.setenv("EDITOR", "true")
    assert "Nothing was changed" in jawab("merchants", "rules", "edit", "dar")[1]
    monkeypatch.setenv("EDITOR", "false")
    assert "ended with code 1" in jawab("merchants", "rules", "edit", "dar")[2]


def test_a_text_with_a_mistake_is_kept_for_its_writer() -> None:
    kept: list[Path] = []

    def edit(path: Path) -> None:
        kept.append(path)
        path.write_text("- name: [unclosed", encoding="utf-8")

    with pytest.raises(Exception, match="were not stored") as caught:
        edited_text("[]\n", edit, merchant_id="dar")
    assert f"jawab merchants rules set dar {kept[0]}" in getattr(caught.value, "fix", "")
    assert kept[0].read_text(encoding="utf-8") == "- name: [unclosed"
    kept[0].unlink()


# Conversations


def test_a_conversation_is_told_in_order_with_what_became_of_each_reply(jawab: Jawab, on_database: Stored[Any]) -> None:
    at = datetime(2026, 11, 21, 12, tzinfo=UTC)
    conversation = "111:5"

    async def happen(db: Database) -> None:
        about = {"conversation_id": conversation, "channel": "direct_message", "merchant_id": "dar"}
        await db[MESSAGES].insert_one({"_id": "m_1", "at": at, "text": "بيش هذا؟", **about})
        data = Reply(
            reply_id="r_1",
            merchant_id="dar",
            account_id="111",
            contact_id="5",
            origin="rule",
            action=DirectMessage(text="هذا الرابط"),
        )
        reply = ReplyGenerated(
            id="r_1", source="/ai", subject=conversation, time=at, partitionkey=conversation, data=data
        )
        later = at + timedelta(seconds=1)
        await MongoDecisions(db).store(
            Decision("d_1", conversation, "dar", ("m_1",), later, "rule", (reply,), rule="price")
        )
        row = Row("r_1", "failed", 3, later, "dar", "111", "5", conversation, "d_1", "direct_message", "rule", 0, ())
        await db[DELIVERIES].insert_one(to_document(row) | {"reason": "window_closed"})
        line = {"id": "h_1", "role": "human", "text": "أني هنا", "at": at + timedelta(seconds=2)}
        await db[CONVERSATIONS].insert_one(
            {
                "_id": conversation,
                "merchant_id": "dar",
                "human_until": datetime.now(UTC) + timedelta(hours=1),
                "recent": [line],
                "attention": "escalated",
            }
        )

    on_database(happen)
    code, out, err = jawab("conversation", conversation)
    assert code == 0, err
    said = [out.index(text) for text in ("بيش هذا؟", "هذا الرابط", "أني هنا")]
    assert said == sorted(said)
    for told in ("answered by a person", "needs a person: escalated", "by rule price, failed: window_closed"):
        assert told in out
    told = json.loads(jawab("conversation", conversation, "--json")[1])
    assert [moment["who"] for moment in told["moments"]] == ["customer", "jawab", "person"]


def test_a_conversation_is_told_without_kafka_and_says_which_texts_are_missing(
    jawab: Jawab, on_database: Stored[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    at = datetime.now(UTC)
    row = Row("r_1", "failed", 3, at, "dar", "111", "5", "111:5", None, "direct_message", "human", 0, ())
    told = {"reason": "token_expired", "detail": "connect the account again: jawab merchants connect dar"}
    on_database(lambda db: db[DELIVERIES].insert_one(to_document(row) | told))
    code, out, err = jawab("conversation", "111:5")
    assert code == 0, err
    for said in ("by a person over HTTP, failed: token_expired", told["detail"], "Kafka, which did not answer"):
        assert said in out


def test_who_waits_for_a_person_is_listed_the_longest_waiting_first(jawab: Jawab, on_database: Stored[Any]) -> None:
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    waits: list[dict[str, Any]] = [
        {"_id": "111:new", "merchant_id": "dar", "attention": "escalated", "attention_at": now - hour},
        {"_id": "111:old", "merchant_id": "dar", "attention": "window_closed", "attention_at": now - 3 * hour},
        {"_id": "222:5", "merchant_id": "zay", "attention": "mentioned", "attention_at": now - 2 * hour},
    ]
    fine = [{"_id": "111:fine", "merchant_id": "dar", "attention": None}, {"_id": "111:calm", "merchant_id": "dar"}]
    assert "no conversation waits" in jawab("waiting")[1]
    on_database(lambda db: db[CONVERSATIONS].insert_many([*waits, *fine]))
    code, out, err = jawab("waiting")
    assert code == 0, err
    places = [out.index(one) for one in ("111:old", "222:5", "111:new", "Next:")]
    assert places == sorted(places)
    assert ("3 h" in out, "window_closed" in out, "Next: jawab conversation 111:old" in out) == (True, True, True)
    assert "111:fine" not in out + jawab("waiting", "--limit", "2")[1]
    assert "1 more" in jawab("waiting", "--limit", "2")[1]
    told = json.loads(jawab("waiting", "--limit", "1", "--json")[1])
    assert (told["count"], [one["conversation"] for one in told["conversations"]]) == (3, ["111:old"])
    assert datetime.fromisoformat(told["conversations"][0]["since"]) < now - 2 * hour


def test_who_waits_can_be_asked_of_one_merchant_and_shows_who_is_taken_care_of(
    jawab: Jawab, on_database: Stored[Any]
) -> None:
    add(jawab)
    now = datetime.now(UTC)
    about = {"attention": "escalated", "attention_at": now}
    taken = {"_id": "111:5", "merchant_id": "dar", "human_until": now + timedelta(hours=1), **about}
    on_database(lambda db: db[CONVERSATIONS].insert_many([taken, {"_id": "222:5", "merchant_id": "zay", **about}]))
    out = jawab("waiting", "--merchant", "dar")[1]
    assert ("111:5" in out, "a person is at it" in out, "222:5" in out) == (True, True, False)
    code, _, err = jawab("waiting", "--merchant", "nix")
    assert (code, "there is no merchant nix" in err) == (1, True)


def test_an_unknown_conversation_is_said(jawab: Jawab) -> None:
    code, out, err = jawab("conversation", "111:404")
    assert (code, out) == (1, "")
    assert "nothing is known of 111:404" in err
    assert "is not a conversation" in jawab("conversation", "111")[2]


def test_the_doctor_finds_mongodb_able(jawab: Jawab, on_database: Stored[Any]) -> None:
    code, out, err = jawab("doctor", "--only", "mongodb", "--patience", "30s")
    assert code == 0, err + out
    assert "compare-and-set" in out
    names = on_database(lambda db: db.list_collection_names())
    assert not [name for name in names if name.startswith("doctor_")]
