"""People win: what is observed in a conversation before a send is announced keeps a bot from talking over a person."""

from dataclasses import replace
from datetime import timedelta

import pytest

from common.errors import Retryable, UnknownOutcome
from common.events.replies import CommentReply, DirectMessage, HideComment, OperatorNotification, PrivateReply
from common.kafka.hold import hand
from delivery.contacts import Contact
from delivery.lookout import MOST_DISTURBED

CONVERSATION = "17841400000000001:1000000000000007"
LONG = "First sentence here. " * 40 + "Second part begins. " * 30


class Hold:
    """A record whose partition may be lost."""

    def __init__(self, owned=True):
        self.owned = owned


@pytest.fixture
def record():
    """The record in hand, as the subscriber would lay it there."""
    return Hold()


def person_takes_over(world):
    async def take_over():
        now = world.clock.now()
        until = now + timedelta(hours=1)
        await world.contacts.set_owner(CONVERSATION, "human", by="person", since=now, until=until)

    return take_over


def steps(world):
    """Write down every step in the order in which it happens."""
    log = world.barrier.log
    world.ledger.before = log.append
    original = world.contacts.find

    async def find(conversation):
        log.append("contacts.find")
        return await original(conversation)

    world.contacts.find = find
    world.platform.during = lambda: log.append("call")
    return log


class TestOrder:
    async def test_the_watch_begins_before_the_reply_is_judged_and_is_asked_after_attempting_was_written(self, world):
        log = steps(world)
        await world.sender.deliver(world.reply())
        assert log == ["watch", "contacts.find", "ledger.insert", "look", "call", "ledger.put", "end", "publish"]

    @pytest.mark.parametrize(
        "action", [PrivateReply(comment_id="c1", text="Hi"), CommentReply(comment_id="c", text="Hi")]
    )
    async def test_answers_to_comments_heed_people_too(self, world, action):
        await world.sender.deliver(world.reply(action))
        assert world.barrier.log == ["watch", "look", "end"]

    @pytest.mark.parametrize(
        ("action", "origin"),
        [
            (HideComment(comment_id="c1"), "model"),
            (OperatorNotification(reason="escalated", text="Please look"), "rule"),
            (DirectMessage(text="From me"), "human"),
            (DirectMessage(text="Your order left"), "api"),
        ],
    )
    async def test_what_people_ask_for_does_not_wait_for_people(self, world, action, origin):
        await world.sender.deliver(world.reply(action, origin=origin))
        assert world.kinds() == ["delivered"]
        assert world.barrier.log == []

    async def test_each_part_of_a_message_is_judged_and_watched_for_itself(self, world):
        log = steps(world)
        await world.sender.deliver(world.reply(DirectMessage(text=LONG)))
        assert [step for step in log if step in {"watch", "contacts.find", "look", "call"}] == [
            *("watch", "contacts.find", "look", "call"),
            *("watch", "contacts.find", "look", "call"),
        ]

    async def test_the_time_in_which_a_person_goes_unseen_is_measured(self, world):
        await world.sender.deliver(world.reply())
        await world.sender.deliver(world.reply(origin="human"))
        assert world.value("delivery_unseen_seconds_count") == 1


class TestDisturbed:
    async def test_a_person_who_answers_while_the_send_is_announced_is_not_talked_over(self, world):
        event = world.reply()
        world.barrier.says = [False]
        world.barrier.during = person_takes_over(world)
        await world.sender.deliver(event)
        assert world.platform.asked == []
        assert (world.kinds(), world.published[0].data.reason) == (["suppressed"], "human_owns")
        assert world.row(event).parts[0].state == "waiting"
        assert world.value("delivery_disturbed_attempts_total") == 1

    async def test_what_the_customer_did_meanwhile_only_makes_it_begin_again(self, world):
        event = world.reply()
        world.barrier.says = [False, False, True]
        await world.sender.deliver(event)
        assert len(world.platform.sends()) == 1
        assert world.row(event).parts[0].attempts == 3
        assert world.row(event).parts[0].unknowns == 0

    async def test_a_conversation_that_does_not_rest_lets_its_lane_wait_and_leaves_nothing_begun(self, world):
        event = world.reply()
        world.barrier.says = [False] * MOST_DISTURBED
        with pytest.raises(Retryable) as wait:
            await world.sender.deliver(event)
        assert wait.value.after == 0.2
        assert world.row(event).state == "claimed"
        assert world.platform.asked == []
        await world.sender.deliver(event)
        assert world.kinds() == ["delivered"]

    async def test_what_cannot_be_found_out_in_time_is_not_sent_and_leaves_nothing_begun(self, world):
        event = world.reply()
        world.barrier.says = [Retryable("Kafka is away", after=3)]
        with pytest.raises(Retryable) as wait:
            await world.sender.deliver(event)
        assert (wait.value.after, world.row(event).state, world.platform.asked) == (3, "claimed", [])

    async def test_a_conversation_whose_observations_lag_behind_is_not_even_judged(self, world):
        event = world.reply()
        world.barrier.refuses = [Retryable("observations are behind", after=1)]
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        assert (world.contacts.calls, world.ledger.calls, world.barrier.log) == ([], [], [])

    async def test_nobody_waits_for_a_place_or_holds_one_while_the_conversation_is_watched_anew(self, make_world):
        world = make_world(places=1)
        world.barrier.says = [False]
        free = []
        world.barrier.entering = lambda: free.append(world.places_left())
        await world.sender.deliver(world.reply())
        assert free == [1, 1]

    async def test_an_echo_that_waits_for_the_call_is_read_once_the_attempt_is_taken_back(self, world):
        """The echo of a person waits while a call may have sent it; that must not become a wait for each other."""
        world.with_manychat()
        event = world.reply()
        echo = world.echo("mid.person", "I will take this one")
        waited = []

        async def echo_comes():
            with pytest.raises(Retryable):
                await world.echoes.read(echo, world.merchant())
            waited.append(True)

        async def echo_is_taken_in():
            if waited:
                await world.echoes.read(echo, world.merchant())

        world.barrier.says = [False]
        world.barrier.during = echo_comes
        world.barrier.entering = echo_is_taken_in
        await world.sender.deliver(event)
        assert waited == [True]
        assert world.platform.sends() == []
        assert world.kinds() == ["replied", "suppressed"]

    async def test_a_second_attempt_after_proof_of_absence_heeds_people_too(self, world):
        world.platform.script = [UnknownOutcome("reset")]
        event = world.reply()
        world.barrier.says = [True, False]
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        world.barrier.during = person_takes_over(world)
        await world.deliver_until_done(event)
        assert len(world.platform.sends()) == 1
        assert world.published[-1].data.reason == "human_owns"

    async def test_a_rest_that_a_person_cut_off_says_how_much_was_sent(self, world):
        event = world.reply(DirectMessage(text=LONG))
        world.barrier.says = [True, False]
        calls = []
        original = world.barrier.undisturbed

        async def undisturbed():
            calls.append(1)
            if len(calls) == 2:
                await person_takes_over(world)()
            return await original()

        world.barrier.undisturbed = undisturbed
        await world.sender.deliver(event)
        assert len(world.platform.sends()) == 1
        assert world.published[-1].data.reason == "human_owns"
        assert "1 of 2 parts had been sent" in world.published[-1].data.detail


class TestFrozen:
    async def test_a_process_that_slept_through_the_look_does_not_call(self, world):
        event = world.reply()
        world.barrier.during = lambda: world.clock.advance(timedelta(seconds=world.patience.settle + 0.1))
        with pytest.raises(Retryable, match="not begun in time"):
            await world.sender.deliver(event)
        assert (world.platform.asked, world.row(event).state) == ([], "claimed")


class TestSlowConnection:
    """A connection may take seconds, in which others act."""

    async def test_a_person_who_answers_meanwhile_is_not_talked_over(self, world):
        event = world.reply()
        world.barrier.says = [True, False]

        def connecting():
            world.clock.advance(timedelta(seconds=1))
            world.contacts.known[event.data.conversation_id] = replace(
                world.contacts.known.get(event.data.conversation_id, Contact(event.data.conversation_id)),
                owner="human",
                owner_by="person",
                owner_since=world.clock.now(),
            )

        world.platform.connecting = connecting
        await world.sender.deliver(event)
        assert world.platform.asked == []
        assert (world.row(event).state, world.published[-1].data.reason) == ("suppressed", "human_owns")
        assert world.value("delivery_disturbed_attempts_total") == 1

    async def test_a_call_whose_time_to_begin_is_over_is_not_made(self, world):
        event = world.reply()
        world.platform.connecting = lambda: world.clock.advance(timedelta(seconds=world.patience.settle + 0.1))
        with pytest.raises(Retryable, match="not begun in time"):
            await world.sender.deliver(event)
        assert (world.platform.asked, world.row(event).state) == ([], "claimed")

    async def test_a_call_for_a_partition_that_was_lost_meanwhile_is_not_made(self, world, record):
        hand(record)
        event = world.reply()

        def lose():
            record.owned = False

        world.platform.connecting = lose
        with pytest.raises(Retryable, match="another replica"):
            await world.sender.deliver(event)
        assert (world.platform.asked, world.row(event).state) == ([], "claimed")

    async def test_what_was_not_begun_says_nothing_about_the_api(self, world):
        for _ in range(20):
            event = world.reply()
            world.platform.connecting = lambda: world.clock.advance(timedelta(seconds=world.patience.settle + 0.1))
            with pytest.raises(Retryable, match="not begun in time"):
                await world.sender.deliver(event)
        world.platform.connecting = None
        await world.sender.deliver(event)
        assert world.row(event).state == "delivered"

    async def test_a_kept_connection_costs_no_second_look(self, world):
        await world.sender.deliver(world.reply())
        assert world.barrier.log.count("look") == 1
        assert world.kinds() == ["delivered"]


class TestOwnershipLost:
    async def test_nothing_is_announced_for_a_conversation_that_went_to_another_replica(self, world, record):
        hand(record)
        record.owned = False
        with pytest.raises(Retryable, match="another replica"):
            await world.sender.deliver(world.reply())
        assert (world.ledger.rows, world.platform.asked, world.published) == ({}, [], [])

    async def test_what_was_announced_is_taken_back_when_the_conversation_goes_before_the_call(self, world, record):
        hand(record)
        event = world.reply()

        def lose():
            record.owned = False

        world.barrier.during = lose
        with pytest.raises(Retryable, match="another replica"):
            await world.sender.deliver(event)
        assert (world.row(event).state, world.platform.asked) == ("claimed", [])

    async def test_what_happened_is_written_though_the_conversation_is_lost_and_its_next_owner_publishes_it(
        self, world, record
    ):
        hand(record)
        event = world.reply()

        def lose():
            record.owned = False

        world.platform.during = lose
        with pytest.raises(Retryable, match="another replica"):
            await world.sender.deliver(event)
        assert (world.row(event).state, world.published) == ("delivered", [])
        record.owned = True
        world.restart()
        await world.sender.deliver(event)
        assert (len(world.platform.sends()), world.kinds()) == (1, ["delivered"])
