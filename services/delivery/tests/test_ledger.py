"""The ledger's transitions: what may follow what, and what no order of events can bring about."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.errors import Permanent
from common.events.replies import CommentReply, DirectMessage, MentionReply, PrivateReply, Reply
from delivery import fingerprints, ledger
from delivery.ledger import IllegalTransition, Row
from delivery.platforms.sending import ALREADY_ANSWERED
from delivery.row_writes import MOST_TRIES, FactConflict, write_fact
from delivery.unnamed import find_unnamed

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def reply(action=None, **changes):
    return Reply(
        reply_id="rep_1",
        merchant_id="shop",
        account_id="1",
        contact_id="2",
        origin="model",
        action=action or DirectMessage(text="Hello"),
        **changes,
    )


def opened(*keys):
    return ledger.opened(reply(), keys or ("k",), NOW)


def attempting(*keys):
    return ledger.begin(opened(*keys), "graph", NOW)


def test_a_row_keeps_whole_milliseconds_so_that_it_reads_back_as_written():
    assert attempting().at.microsecond == 123000
    assert attempting().parts[0].attempted_at.microsecond == 123000


def test_a_single_part_is_delivered_when_it_arrived():
    row = ledger.arrived(attempting(), 0, "mid.1", NOW)
    assert (row.state, row.message_ids, row.current) == ("delivered", ("mid.1",), None)


def test_a_message_of_two_parts_waits_for_its_second_part():
    row = ledger.arrived(attempting("a", "b"), 0, "mid.1", NOW)
    assert (row.state, row.current) == ("claimed", 1)
    row = ledger.arrived(ledger.begin(row, "graph", NOW), 1, "mid.2", NOW)
    assert (row.state, row.message_ids) == ("delivered", ("mid.1", "mid.2"))


def test_a_part_that_was_unknown_twice_is_never_sent_again():
    row = ledger.lost_sight(attempting(), "timeout", NOW)
    row = ledger.lost_sight(ledger.begin(row, "graph", NOW), "timeout", NOW)
    with pytest.raises(IllegalTransition, match="unknown 2 times"):
        ledger.begin(row, "graph", NOW)


@pytest.mark.parametrize("state", sorted(ledger.TERMINAL))
def test_nothing_follows_an_end(state):
    row = Row(**{**vars(attempting()), "state": state})
    for change in (
        lambda: ledger.begin(row, "graph", NOW),
        lambda: ledger.nothing_sent(row),
        lambda: ledger.arrived(row, 0, "mid", NOW),
        lambda: ledger.lost_sight(row, "x", NOW),
        lambda: ledger.refused(row, "x", "", NOW),
        lambda: ledger.withheld(row, "x", "", NOW),
        lambda: ledger.handed_over(row, "", NOW),
    ):
        with pytest.raises(IllegalTransition):
            change()


def test_a_delivered_part_cannot_arrive_again():
    row = ledger.arrived(attempting("a", "b"), 0, "mid.1", NOW)
    with pytest.raises(IllegalTransition, match="part 0 is delivered"):
        ledger.arrived(ledger.begin(row, "graph", NOW), 0, "mid.1", NOW)


def in_private():
    return ledger.opened(reply(PrivateReply(comment_id="c9", text="Hi")), ("k",), NOW)


def in_public(action=None, decision="dec_1"):
    return ledger.opened(reply(action or CommentReply(comment_id="c9", text="Hi"), decision_id=decision), ("k",), NOW)


ANSWERS = [in_private(), in_public()]


def kept(row):
    return row.private_reply_to or row.public_reply_to


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row.kind)
def test_an_answer_keeps_its_comment_while_it_was_or_may_have_been_sent(row):
    begun = ledger.begin(row, "graph", NOW)
    unknown = ledger.lost_sight(begun, "timeout", NOW)
    again = ledger.begin(unknown, "graph", NOW)
    ways = [row, begun, unknown, again, ledger.arrived(begun, 0, "mid", NOW), ledger.handed_over(unknown, "", NOW)]
    ways += [ledger.refused(unknown, "window_closed", "", NOW), ledger.refused(again, "bad_request", "", NOW)]
    ways += [ledger.withheld(ledger.nothing_sent(again), "human_owns", "", NOW)]
    assert {kept(way) for way in ways} == {"1:c9"}


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row.kind)
def test_an_answer_that_certainly_was_not_sent_leaves_its_comment_to_another(row):
    begun = ledger.begin(row, "graph", NOW)
    for end in (
        ledger.withheld(row, "human_owns", "", NOW),
        ledger.refused(row, "no_route", "", NOW),
        ledger.refused(begun, "bad_request", "", NOW),
        ledger.given_up(ledger.nothing_sent(begun), "never_sent", "", NOW),
    ):
        assert kept(end) is None


def test_a_comment_that_the_platform_calls_answered_is_left_to_nobody():
    begun = ledger.begin(in_private(), "graph", NOW)
    assert kept(ledger.refused(begun, ALREADY_ANSWERED, "", NOW)) == "1:c9"


def test_one_comment_has_one_name_whether_it_is_told_as_a_comment_or_as_a_mention():
    mention = in_public(MentionReply(media_id="m1", comment_id="c9", text="Hi"))
    assert mention.public_reply_to == in_public().public_reply_to == "1:c9"
    assert in_public(MentionReply(media_id="m1", text="a caption")).public_reply_to is None


def test_what_a_person_or_a_program_says_below_a_comment_is_not_counted():
    assert in_public(decision=None).public_reply_to is None


def test_texts_that_platforms_trim_or_compose_have_one_fingerprint():
    assert fingerprints.text_key(" Caf\u00e9  noir\n") == fingerprints.text_key("Cafe\u0301 noir")
    assert fingerprints.text_key("a") != fingerprints.text_key("b")


def test_an_arrival_is_written_whoever_owns_the_row():
    lost = ledger.lost_sight(attempting(), "found begun", NOW)
    assert ledger.after_arrival(lost, 0, "mid.1", NOW).state == "delivered"


def test_an_arrival_that_is_known_changes_nothing_and_one_without_id_learns_it():
    delivered = ledger.arrived(attempting(), 0, None, NOW)
    named = ledger.after_arrival(delivered, 0, "mid.1", NOW)
    assert (named.state, named.message_ids, named.fence) == ("delivered", ("mid.1",), delivered.fence + 1)
    assert ledger.after_arrival(named, 0, "mid.1", NOW) is None
    assert ledger.after_arrival(named, 7, "mid.1", NOW) is None


def test_a_part_that_was_never_begun_learns_no_id():
    assert ledger.after_arrival(opened(), 0, "mid.1", NOW) is None


def unnamed(reply_id, seconds, state="delivered"):
    at = NOW + timedelta(seconds=seconds)
    row = ledger.begin(opened(), "manychat", at)
    if state == "delivered":
        row = ledger.arrived(row, 0, None, at)
    elif state != "attempting":
        row = ledger.lost_sight(row, "reset", at)
    if state == "handed_to_human":
        row = ledger.handed_over(row, "look", at)
    return Row(**{**vars(row), "reply_id": reply_id})


@pytest.mark.parametrize("state", ["delivered", "attempting", "unknown"])
@pytest.mark.parametrize(
    ("seconds", "named"), [(1, "rep_1"), (119, "rep_1"), (120, "rep_2"), (121, "rep_2"), (-5, "rep_1")]
)
def test_the_unnamed_part_attempted_last_before_a_message_is_the_one_shown(state, seconds, named):
    rows = [unnamed("rep_1", 0), unnamed("rep_2", 120, state)]
    at = rows[0].parts[0].attempted_at + timedelta(seconds=seconds)
    for given in (rows, rows[::-1]):
        row, part = find_unnamed(given, "k", at)
        assert (row.reply_id, part) == (named, 0)


def test_a_reply_given_to_a_person_takes_no_message_from_a_live_one():
    handed, live = unnamed("rep_1", 90, "handed_to_human"), unnamed("rep_2", 80, "unknown")
    at = NOW + timedelta(seconds=100)
    assert find_unnamed([handed, live], "k", at) == (live, 0)
    assert find_unnamed([handed], "k", at) == (handed, 0)


def test_a_named_part_is_not_named_again():
    first, second = unnamed("rep_1", 0), unnamed("rep_2", 3)
    named = ledger.after_arrival(second, 0, "mid.2", NOW, by_text=True)
    assert named.parts[0].by_text
    assert find_unnamed([first, named], "k", NOW + timedelta(seconds=4)) == (first, 0)


@pytest.mark.parametrize(
    ("at_platform_time", "seconds", "found"),
    [
        (True, -61, False),
        (True, -60, True),
        (True, 0, True),
        (True, 300, True),
        (True, 301, False),
        (False, -361, False),
        (False, -360, True),
        (False, 600, True),
        (False, 601, False),
    ],
)
def test_a_message_is_only_ours_around_the_time_of_the_attempt(at_platform_time, seconds, found):
    """More is allowed for where the platform's clock was not known when the attempt was dated."""
    row = ledger.begin(opened(), "graph", NOW, at_platform_time=at_platform_time)
    at = row.parts[0].attempted_at + timedelta(seconds=seconds)
    assert (find_unnamed([row], "k", at) is not None) is found


class Unsteady:
    """A ledger whose rows keep changing, or vanish."""

    def __init__(self, *found):
        self.found = list(found)
        self.puts = 0

    async def put(self, row, *, over):
        self.puts += 1
        return False

    async def find(self, reply_id):
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]


async def test_a_fact_is_not_written_for_ever_onto_a_row_that_keeps_changing():
    store = Unsteady(attempting())
    with pytest.raises(FactConflict):
        await write_fact(store, attempting(), lambda row: ledger.arrived(row, 0, "m", NOW))
    assert store.puts == MOST_TRIES


async def test_a_row_that_vanished_while_it_was_sent_is_never_sent_again():
    with pytest.raises(Permanent, match="vanished"):
        await write_fact(Unsteady(None), attempting(), lambda row: ledger.arrived(row, 0, "m", NOW))


async def test_a_fact_is_written_onto_what_the_row_has_become():
    lost = ledger.lost_sight(attempting(), "x", NOW)
    delivered = ledger.arrived(lost, 0, "m", NOW)
    row = await write_fact(Unsteady(delivered), attempting(), lambda latest: ledger.after_arrival(latest, 0, "m", NOW))
    assert row == delivered


class LedgerMachine(RuleBasedStateMachine):
    """Two owners and an observer act on one row in any order, each through the compare-and-set."""

    def __init__(self):
        super().__init__()
        self.stored = opened("a", "b")
        self.read = {"one": self.stored, "two": self.stored}
        self.clock = NOW
        self.fences = [0]
        self.calls = {0: 0, 1: 0}
        self.unknown_calls = {0: 0, 1: 0}

    def put(self, owner, change):
        before = self.read[owner]
        try:
            after = change(before)
        except IllegalTransition:
            return False
        if (self.stored.state, self.stored.fence) != (before.state, before.fence):
            return False
        self.stored = after
        self.read[owner] = after
        self.fences.append(after.fence)
        return True

    owners = st.sampled_from(["one", "two"])

    @rule(owner=owners)
    def reads(self, owner):
        self.read[owner] = self.stored

    @rule(seconds=st.integers(1, 100))
    def time_passes(self, seconds):
        self.clock += timedelta(seconds=seconds)

    @rule(owner=owners)
    def begins(self, owner):
        part = self.read[owner].current
        if self.put(owner, lambda row: ledger.begin(row, "graph", self.clock)):
            self.calls[part] += 1

    @rule(owner=owners)
    def loses_sight(self, owner):
        part = self.read[owner].current
        if self.put(owner, lambda row: ledger.lost_sight(row, "x", self.clock)):
            self.unknown_calls[part] += 1

    @rule(owner=owners)
    def nothing_was_sent(self, owner):
        self.put(owner, ledger.nothing_sent)

    @rule(owner=owners)
    def is_refused(self, owner):
        self.put(owner, lambda row: ledger.refused(row, "r", "", self.clock))

    @rule(owner=owners)
    def is_withheld(self, owner):
        self.put(owner, lambda row: ledger.withheld(row, "r", "", self.clock))

    @rule(owner=owners)
    def is_handed_over(self, owner):
        self.put(owner, lambda row: ledger.handed_over(row, "", self.clock))

    @rule(owner=owners, part=st.sampled_from([0, 1]), mid=st.sampled_from([None, "m1", "m2"]))
    def arrives(self, owner, part, mid):
        before = self.read[owner]
        after = ledger.after_arrival(before, part, mid, self.clock)
        if after is not None:
            self.put(owner, lambda _: after)

    @precondition(lambda self: self.stored.state in ledger.TERMINAL)
    @invariant()
    def an_end_has_a_time(self):
        assert self.stored.finished_at is not None

    @invariant()
    def fences_only_rise(self):
        assert self.fences == sorted(set(self.fences))

    @invariant()
    def parts_go_in_order(self):
        first, second = self.stored.parts
        assert second.attempts == 0 or first.state == "delivered"

    @invariant()
    def no_part_is_sent_after_it_was_unknown_twice(self):
        assert all(count <= ledger.MOST_UNKNOWN for count in self.unknown_calls.values())

    @invariant()
    def attempts_are_counted(self):
        assert [part.attempts for part in self.stored.parts] == list(self.calls.values())

    @invariant()
    def delivered_means_every_part_is(self):
        delivered = all(part.state == "delivered" for part in self.stored.parts)
        assert (self.stored.state == "delivered") == delivered


LedgerMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase
