"""Whom `jawab privacy` means, and that nothing happens to anybody by a slip."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.failures import Failure
from cli.privacy import summary
from cli.privacy_audit import operator
from cli.privacy_data import conversations_in
from cli.privacy_subjects import MAX_SUBJECTS, Subject, subjects_of
from common.events.ids import contact_of_username

ACCOUNTS = ["178", "179"]


def named(*ids: str, file: Path | None = None, username: str | None = None, account: str | None = None):
    return subjects_of(ids, file=file, username=username, account=account, accounts=ACCOUNTS)


def test_an_id_is_of_every_account_unless_one_is_named():
    assert named("7001") == [Subject("7001")]
    assert named("7001", account="178") == [Subject("7001", "178")]
    assert named("179:7001") == [Subject("7001", "179")]
    assert Subject("7001").conversations(ACCOUNTS) == ["178:7001", "179:7001"]
    assert Subject("7001", "180").conversations(ACCOUNTS) == ["180:7001"]


@given(st.lists(st.integers(0, 10**31).map(str), min_size=1, max_size=20))
def test_everybody_is_named_once(ids: list[str]):
    assert named(*ids, *ids) == sorted({Subject(one) for one in ids})


def test_a_file_of_a_mail_of_metas_is_read_as_it_is(tmp_path: Path):
    file = tmp_path / "ids.txt"
    file.write_text('\ufeff# user ids to delete\n7001\n\n "7002",\n7001  # again\n178:7003\r\n', encoding="utf-8")
    assert named(file=file) == [Subject("7001"), Subject("7002"), Subject("7003", "178")]


@pytest.mark.parametrize(
    "text", ["7001\nZainab\n", "7001\n-1\n", "7001\n178:\n", "7001\n7 2\n", "7001\n" + "9" * 33, "7001\nx:7001"]
)
def test_a_line_that_is_no_id_is_named_and_nothing_is_done(tmp_path: Path, text: str):
    file = tmp_path / "ids.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Failure, match="line 2 of the file is not a customer's id"):
        named(file=file)


def test_a_file_that_cannot_be_read_is_a_readable_failure(tmp_path: Path):
    with pytest.raises(Failure, match="--file cannot be read"):
        named(file=tmp_path / "none")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(Failure, match="--file cannot be read"):
        named(file=binary)


def test_too_many_and_nobody_are_refused():
    with pytest.raises(Failure, match="nobody is named"):
        named()
    with pytest.raises(Failure, match=f"at most {MAX_SUBJECTS}"):
        named(*(str(number) for number in range(MAX_SUBJECTS + 1)))


def test_a_username_is_another_contact_with_each_account():
    assert named(username="@Zainab.99") == sorted(Subject(contact_of_username(a, "zainab.99"), a) for a in ACCOUNTS)
    assert named(username="zainab", account="178") == [Subject(contact_of_username("178", "zainab"), "178")]
    with pytest.raises(Failure, match="not a username"):
        named(username="zainab of basra")


def test_an_id_that_contradicts_the_account_is_refused():
    with pytest.raises(Failure, match="another account"):
        named("178:7001", account="179")
    with pytest.raises(Failure, match="--account must be"):
        named("7001", account="shop")


def test_who_asks_is_known_or_said():
    assert operator("Huda") == "Huda"
    assert operator(None)
    for wrong in ("", "  ", "x" * 101, "a\nb"):
        with pytest.raises(Failure, match="who asks"):
            operator(wrong)


def test_the_conversations_of_an_export_are_those_it_holds():
    stored = {"messages": [{"_id": "m", "conversation_id": "178:1"}], "contacts": [{"_id": "179:1"}], "decisions": []}
    assert conversations_in(stored) == ["178:1", "179:1"]


def test_a_slip_is_one_line_with_the_fix(jawab: Callable[..., tuple[int, str, str]]):
    code, _, said = jawab("privacy", "erase", "Zainab", "--yes", "--by", "x" * 200)
    assert code == 1
    assert len(said.splitlines()) == 1
    assert "--by" in said


def test_what_is_stored_is_said_in_one_line():
    assert summary([{"messages": 0}]) == "1 customer, 1 of them unknown here; stored: nothing"
    assert summary([{"messages": 2, "contacts": 1}, {"messages": 1}, {}]) == (
        "3 customers, 1 of them unknown here; stored: contacts: 1, messages: 3"
    )
