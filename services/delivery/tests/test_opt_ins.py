"""Tokens by which a person lets themselves be written to outside the window."""

from datetime import UTC, datetime, timedelta

import pytest

from common.events.interactions import OptIn, OptInReceived
from delivery.rules.opt_ins import OptInToken, given, serving

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MARGIN = timedelta(seconds=60)
TICK = timedelta(milliseconds=1)


def optin(**data):
    return OptInReceived(
        id="1:optin",
        source="/ingest/instagram",
        subject="1:2",
        time=NOW,
        partitionkey="1:2",
        data=OptIn(account_id="1", contact_id="2", **{"kind": "notification_messages", "token": "t", **data}),
    )


def test_an_opt_in_gives_its_token_with_its_end():
    ends = NOW + timedelta(days=180)
    assert given(optin(expires_at_ms=round(ends.timestamp() * 1000))) == OptInToken("t", NOW, ends)
    assert given(optin()) == OptInToken("t", NOW)


@pytest.mark.parametrize(
    "data", [{"token": None}, {"token": ""}, {"stopped": True}, {"kind": "one_time_notif_req"}, {"kind": None}]
)
def test_an_opt_in_that_allows_no_message_over_instagram_gives_none(data):
    assert given(optin(**data)) is None


@pytest.mark.parametrize("nonsense", [10**18, -(10**18), 2**63 - 1])
def test_an_end_that_is_no_moment_is_not_known(nonsense):
    assert given(optin(expires_at_ms=nonsense)) == OptInToken("t", NOW)


@pytest.mark.parametrize(
    ("left", "serves"), [(MARGIN + TICK, True), (MARGIN, False), (TICK, False), (timedelta(0), False)]
)
def test_a_token_serves_until_a_margin_before_its_end(left, serves):
    assert OptInToken("t", NOW, NOW + left).serves("rep_1", NOW, MARGIN) is serves


def test_a_token_serves_one_reply_however_often_it_is_tried():
    used = OptInToken("t", NOW, used_by="rep_1")
    assert used.serves("rep_1", NOW, MARGIN)
    assert not used.serves("rep_2", NOW, MARGIN)


def test_the_token_a_reply_uses_already_comes_first_then_the_one_that_ends_first():
    lasting, ending = OptInToken("lasting", NOW), OptInToken("ending", NOW, NOW + timedelta(days=1))
    mine = OptInToken("mine", NOW, used_by="rep_1")
    assert serving((lasting, ending, mine), "rep_1", NOW, MARGIN) == mine
    assert serving((lasting, ending, mine), "rep_2", NOW, MARGIN) == ending
    assert serving((lasting, mine), "rep_2", NOW, MARGIN) == lasting
    assert serving((mine,), "rep_2", NOW, MARGIN) is None


def test_a_token_stays_out_of_what_is_printed():
    assert "secret" not in repr(OptInToken("secret", NOW))
