"""Finding out what became of a send, and what may be concluded from what is seen."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Retryable
from common.events.replies import CommentReply, DirectMessage, HideComment, PrivateReply, Reply
from delivery import fingerprints, ledger
from delivery.patience import Patience
from delivery.platforms.reading import Author, Reading, Shown, oldest
from delivery.unknown_outcomes import (
    Absent,
    CannotTell,
    Found,
    HandOver,
    Look,
    SendAgain,
    Wait,
    after_looking,
    before_looking,
    judge,
    look,
    others_of,
    place_of,
    place_of_row,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PATIENCE = Patience()
TEXT = "Hello"


def reply(action=None):
    return Reply(
        reply_id="r",
        merchant_id="shop",
        account_id="1",
        contact_id="2",
        origin="model",
        action=action or DirectMessage(text=TEXT),
    )


def unknown_row(unknowns=1, *, at_platform_time=True):
    row = ledger.opened(reply(), (fingerprints.text_key(TEXT),), NOW)
    for _ in range(unknowns):
        begun = ledger.begin(row, "graph", NOW, at_platform_time=at_platform_time)
        row = ledger.lost_sight(begun, "reset", NOW)
    return row


def shown(text=TEXT, seconds=1.0, id_="m1", *, from_account=True):
    return Shown(id_, text, from_account, NOW + timedelta(seconds=seconds))


def seen(*messages, complete=True, others=()):
    return judge(Reading(messages, complete), unknown_row().parts[0], others=others)


class TestJudging:
    def test_the_message_is_found_by_its_text(self):
        assert seen(shown("Other", id_="m0", from_account=False), shown()) == Found("m1")

    def test_an_empty_place_proves_absence(self):
        assert seen() == Absent()

    def test_the_customers_messages_are_no_obstacle(self):
        assert seen(shown("Hi there", from_account=False)) == Absent()

    def test_this_text_by_whoever_it_is_listed_proves_no_absence(self):
        """Meta lists the account's own comments under another id than the account's."""
        assert seen(shown("Hi there", from_account=False), shown(TEXT, from_account=False)) == CannotTell()
        assert seen(shown(TEXT, seconds=-61, from_account=False)) == Absent()

    def test_a_message_the_ledger_knows_is_another_one(self):
        assert seen(shown(), others=[ledger.Part("k", "delivered", "m1")]) == Absent()

    @pytest.mark.parametrize(
        ("seconds_before", "by_text", "sight"),
        [(120, True, CannotTell()), (0.5, True, Absent()), (120, False, Absent())],
    )
    def test_a_message_another_reply_got_for_its_text_proves_nothing_where_it_fits_this_one_better(
        self, seconds_before, by_text, sight
    ):
        other = ledger.Part(
            fingerprints.text_key(TEXT),
            "delivered",
            "m1",
            attempted_at=NOW - timedelta(seconds=seconds_before),
            by_text=by_text,
        )
        assert seen(shown(seconds=-0.3), others=[other]) == sight

    def test_an_unknown_message_of_the_account_may_be_ours_changed(self):
        assert seen(shown("HELLO!")) == CannotTell()
        assert seen(shown(None)) == CannotTell()

    def test_an_older_message_of_the_account_is_not_ours(self):
        assert seen(shown(seconds=-61)) == Absent()

    def test_a_platform_clock_that_is_behind_does_not_hide_the_message(self):
        assert seen(shown(seconds=-59)) == Found("m1")

    def test_a_page_that_does_not_reach_back_to_the_attempt_proves_nothing(self):
        assert seen(shown("Hi", from_account=False), complete=False) == CannotTell()
        assert seen(complete=False) == CannotTell()

    def test_a_page_that_reaches_back_beyond_the_attempt_proves_absence(self):
        assert seen(shown("Hi", seconds=-3600, from_account=False), complete=False) == Absent()

    def test_a_page_that_begins_with_the_oldest_proves_nothing_of_what_is_behind_it(self):
        """Under a comment with many answers ours may stand on the next page."""
        page = [shown("Hi", seconds=at, id_=str(at), from_account=False) for at in range(-3600, -3575)]
        assert seen(*page, complete=False) == CannotTell()
        assert seen(*page, complete=True) == Absent()
        assert seen(*reversed(page), complete=False) == Absent()

    def test_a_message_without_a_time_may_be_of_any_time(self):
        assert judge(
            Reading((Shown("m1", TEXT, from_account=True, at=None),), complete=False),
            unknown_row().parts[0],
            others=(),
        ) == Found("m1")

    @pytest.mark.parametrize(
        ("other", "sight"),
        [
            ({}, CannotTell()),
            ({"state": "unknown"}, CannotTell()),
            ({"message_id": "m0"}, Found("m1")),
            ({"key": "another text"}, Found("m1")),
            ({"state": "waiting"}, Found("m1")),
            ({"attempted_at": NOW - timedelta(seconds=300)}, Found("m1")),
        ],
    )
    def test_one_message_is_not_the_proof_of_two_equal_replies(self, other, sight):
        plain = {
            "key": fingerprints.text_key(TEXT),
            "state": "delivered",
            "message_id": None,
            "attempted_at": NOW - timedelta(seconds=20),
            "at_platform_time": True,
        }
        part = ledger.Part(**{**plain, **other})
        assert seen(shown(), others=[part]) == sight

    def test_a_message_more_than_equal_replies_without_an_id_is_found(self):
        other = ledger.Part(fingerprints.text_key(TEXT), "delivered", attempted_at=NOW - timedelta(seconds=20))
        assert seen(shown(id_="m2", seconds=1), shown(id_="m1", seconds=-19), others=[other]) == Found("m2")
        assert seen(shown(id_="m2", seconds=1), shown(id_="m1", seconds=-19), others=[other] * 2) == CannotTell()

    def test_the_earliest_fitting_message_is_taken(self):
        assert seen(shown(id_="late", seconds=9), shown(id_="early", seconds=2)) == Found("early")

    def test_a_part_that_was_never_attempted_cannot_be_told(self):
        assert judge(Reading((), complete=True), ledger.Part("k"), others=()) == CannotTell()

    @given(
        st.lists(
            st.builds(
                Shown,
                st.uuids().map(str),
                st.sampled_from([TEXT, "Other", None]),
                st.booleans(),
                st.none() | st.integers(-200, 200).map(lambda s: NOW + timedelta(seconds=s)),
            ),
            max_size=8,
        ),
        st.booleans(),
    )
    def test_absence_is_never_concluded_while_anything_could_be_ours(self, messages, complete):
        verdict = seen(*messages, complete=complete)
        since = NOW - timedelta(seconds=60)
        possible = [one for one in messages if one.from_account and (one.at is None or one.at >= since)]
        if verdict == Absent():
            assert not possible
            assert complete or oldest(messages) < since

    def test_ids_of_other_messages_are_known_and_the_parts_own_is_not(self):
        delivered = ledger.arrived(ledger.begin(ledger.opened(reply(), ("a", "b"), NOW), "graph", NOW), 0, "m1", NOW)
        other = ledger.Row(**{**vars(ledger.after_arrival(unknown_row(), 0, "m9", NOW)), "reply_id": "other"})
        assert {part.message_id for part in others_of([delivered, other], delivered, 1)} == {"m1", "m9"}
        assert {part.message_id for part in others_of([delivered, other], delivered, 0)} == {"m9"}


class TestPatience:
    @pytest.mark.parametrize(("seconds", "step"), [(0, Wait(1.0)), (13.5, Wait(0.5)), (14, Look()), (1000, Look())])
    def test_nobody_looks_before_the_request_can_no_longer_be_under_way(self, seconds, step):
        assert before_looking(seconds, PATIENCE) == step

    def after(self, sight, *, unknowns=1, seconds=20):
        return after_looking(unknown_row(unknowns).parts[0], sight, seconds, PATIENCE)

    def test_what_is_found_is_delivered_however_often_it_was_unknown(self):
        assert self.after(Found("m1")) == Found("m1")
        assert self.after(Found("m1"), unknowns=2, seconds=1000) == Found("m1")

    def test_what_is_absent_is_sent_again_once(self):
        assert self.after(Absent()) == SendAgain()
        assert isinstance(self.after(Absent(), unknowns=2), HandOver)

    def test_what_cannot_be_told_waits_until_the_deadline_and_then_goes_to_a_person(self):
        assert self.after(CannotTell(), seconds=59) == Wait(1.0)
        assert self.after(CannotTell(), seconds=20) == Wait(5.0)
        assert isinstance(self.after(CannotTell(), seconds=60), HandOver)


class Reader:
    def __init__(self, reading):
        self.reading = reading
        self.asked = []

    async def conversation(self, token, account, contact):
        self.asked.append(("conversation", token, account, contact))
        return self._read()

    async def comment_replies(self, token, account, comment):
        self.asked.append(("comment", token, account, comment))
        return self._read()

    def _read(self):
        if isinstance(self.reading, Exception):
            raise self.reading
        return self.reading


class TestLooking:
    async def test_a_direct_message_is_looked_for_in_the_thread(self):
        reader = Reader(Reading((shown(),), complete=True))
        assert await look(reader, "t", place_of(reply()), unknown_row().parts[0], ()) == Found("m1")
        assert reader.asked == [("conversation", "t", "1", "2")]

    async def test_a_thread_that_is_not_shown_proves_nothing_once_the_customer_wrote_into_it(self):
        """The platform lists no thread of the requests folder, or while access to messages is switched off."""
        nothing = Reader(Reading((), complete=True))
        assert await look(nothing, "t", place_of(reply()), unknown_row().parts[0], ()) == CannotTell()
        assert await look(nothing, "t", place_of_row(unknown_row()), unknown_row().parts[0], ()) == CannotTell()
        question = Reader(Reading((shown(text="Hi", from_account=False),), complete=True))
        assert await look(question, "t", place_of(reply()), unknown_row().parts[0], ()) == Absent()

    async def test_a_private_reply_may_be_what_begins_the_thread(self):
        action = PrivateReply(comment_id="c", text=TEXT)
        nothing = Reader(Reading((), complete=True))
        assert await look(nothing, "t", place_of(reply(action)), unknown_row().parts[0], ()) == Absent()

    async def test_a_comment_reply_is_looked_for_under_its_comment(self):
        reader = Reader(Reading((), complete=True))
        action = CommentReply(comment_id="c", text=TEXT)
        assert await look(reader, "t", place_of(reply(action)), unknown_row().parts[0], ()) == Absent()
        assert reader.asked == [("comment", "t", "1", "c")]

    @pytest.mark.parametrize(
        ("author_id", "username", "text", "known_as", "sight"),
        [
            ("888", "Shop", "Thanks!", "shop", CannotTell()),  # the account's username: its text was changed
            ("888", "Shop", TEXT, "shop", Found("m1")),
            ("999", "Shop", TEXT, "", Found("m1")),  # an id by which the account is known
            ("777", "someone", "Thanks!", "shop", Absent()),
            ("777", "someone", TEXT, "shop", CannotTell()),
            ("777", "someone", "Thanks!", "", CannotTell()),  # the account's username is not known
            ("777", "", "Thanks!", "shop", CannotTell()),  # nor theirs
            ("2", "", "Thanks!", "", Absent()),  # the customer's own second comment
        ],
    )
    async def test_a_comment_is_another_authors_only_where_the_listing_shows_it(
        self, author_id, username, text, known_as, sight
    ):
        one = replace(shown(text, from_account=False), author_id=author_id, username=username)
        author = Author(frozenset({"1", "999"}), known_as, customer="2")
        action = CommentReply(comment_id="c", text=TEXT)
        seen_there = Reader(Reading((one,), complete=True))
        assert await look(seen_there, "t", place_of(reply(action)), unknown_row().parts[0], (), author=author) == sight

    @pytest.mark.parametrize(
        ("token", "reading", "action"),
        [
            (None, Reading((), complete=True), None),
            ("t", Retryable("429"), None),
            ("t", Reading((), complete=True), HideComment(comment_id="c")),
        ],
    )
    async def test_what_cannot_be_read_cannot_be_told(self, token, reading, action):
        sight = await look(Reader(reading), token, place_of(reply(action)), unknown_row().parts[0], ())
        assert sight == CannotTell()
