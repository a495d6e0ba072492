"""Whom a request is about, and what may be left of a ledger row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanup.erasure import batches, conversations_of
from cleanup.ledger_rows import KEPT_IN_LEDGER, stripped
from cleanup.records import disguised
from common.errors import Permanent
from common.events.privacy import PrivacyRequest


def test_an_operators_request_is_about_one_account():
    request = PrivacyRequest(code="c", user_id="7001", account_id="178")
    assert conversations_of(request, ["178", "179"]) == ["178:7001"]


def test_the_platforms_request_is_about_that_person_with_every_account():
    request = PrivacyRequest(code="c", user_id="7001")
    assert conversations_of(request, ["179", "178", "179"]) == ["178:7001", "179:7001"]


@pytest.mark.parametrize("nobody", ["-", "", "  "])
def test_an_id_that_stands_for_an_account_as_a_whole_is_never_erased(nobody: str):
    with pytest.raises(Permanent, match="user_id names nobody"):
        conversations_of(PrivacyRequest(code="c", user_id=nobody), ["178"])


NAMES = st.text(st.characters(categories=["Ll"]), min_size=1, max_size=12)


@given(row=st.dictionaries(NAMES | st.sampled_from(sorted(KEPT_IN_LEDGER)), st.text(max_size=5)))
def test_a_stripped_row_keeps_nothing_that_is_not_named_as_harmless(row: dict[str, str]):
    update = stripped(row)
    left = set(row) - set(update["$unset"])
    assert left <= KEPT_IN_LEDGER
    assert set(row) & KEPT_IN_LEDGER == left


@given(ids=st.lists(st.text(max_size=3)), size=st.integers(1, 7))
def test_batches_are_bounded_and_lose_nothing(ids: list[str], size: int):
    pieces = batches(ids, size)
    assert [each for piece in pieces for each in piece] == ids
    assert all(0 < len(piece) <= size for piece in pieces)


async def test_a_persons_id_is_kept_only_as_a_hash_that_needs_the_code():
    first = await disguised("17841400000000042", "code-a")
    assert "17841400000000042" not in first
    assert first == await disguised("17841400000000042", "code-a")
    assert first != await disguised("17841400000000042", "code-b")
    assert first != await disguised("17841400000000043", "code-a")
