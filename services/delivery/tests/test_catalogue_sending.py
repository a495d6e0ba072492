"""The whole catalogue through the real sender: routes, limits, fallback, unknown outcomes, and what may be repeated."""

from datetime import timedelta

import pytest

from common.breaker import BreakerOpen
from common.errors import Retryable, Throttled, UnknownOutcome
from common.events.replies import (
    Button,
    Buttons,
    Card,
    Cards,
    DeleteComment,
    DirectMessage,
    Flow,
    Heart,
    HideComment,
    MarkSeen,
    MediaMessage,
    MentionReply,
    MessageReaction,
    QuickReply,
    SharedPost,
    SubscriberChange,
)
from delivery.platforms.graph_requests import Manner
from delivery.platforms.sending import Refused
from delivery.rules.opt_ins import OptInToken

ACCOUNT = "17841400000000001"
CONTACT = "1000000000000007"
CONVERSATION = f"{ACCOUNT}:{CONTACT}"
URL = "https://shop.example/a.png"

IMAGE = MediaMessage(media="image", urls=(URL,))
SILENT = [IMAGE, Heart(), SharedPost(media_id="17"), Cards(cards=(Card(title="Lamp", subtitle="Red"),))]
REPEATABLE = [
    MessageReaction(mid="in.1"),
    MarkSeen(),
    HideComment(comment_id="c"),
    DeleteComment(comment_id="c"),
    SubscriberChange(change="add_tag", name="buyer"),
]


def by_kind(action):
    return action.kind


def open_breaker(breakers):
    while breakers.state(ACCOUNT) != "open":
        breakers.ask(ACCOUNT).failed()


async def told(world, shown):
    """Let the echo of a shown message come."""
    echo = world.echo(shown.id, shown.text, at=shown.at, attachments=[{"type": kind} for kind in shown.kinds])
    await world.echoes.read(echo, world.merchant())


class TestRoutes:
    @pytest.mark.parametrize(
        ("action", "route"),
        [
            (IMAGE, "manychat"),
            (MediaMessage(media="image", urls=(URL, URL)), "graph"),
            (MediaMessage(media="video", urls=(URL.replace("png", "mp4"),)), "graph"),
            (Heart(), "graph"),
            (Flow(flow_ns="content1"), "manychat"),
            (SubscriberChange(change="add_tag", name="buyer"), "manychat"),
            (DirectMessage(text="?", quick_replies=(QuickReply(title="Red", payload="flow:f"),)), "manychat"),
            (DirectMessage(text="?", quick_replies=(QuickReply(title="Red", payload="red"),)), "graph"),
            (Buttons(text="?", buttons=(Button(title="Shop", url=URL),)), "manychat"),
            (Buttons(text="?", buttons=(Button(title="Yes", payload="yes"),)), "graph"),
        ],
    )
    async def test_an_action_takes_the_first_route_that_can_do_it_and_takes_its_content(self, world, action, route):
        world.with_manychat()
        event = world.reply(action)
        await world.sender.deliver(event)
        assert (world.kinds(), world.row(event).route) == (["delivered"], route)

    async def test_what_only_manychat_does_cannot_be_done_without_it(self, world):
        await world.sender.deliver(world.reply(Flow(flow_ns="content1")))
        assert (world.kinds(), world.published[0].data.reason) == (["failed"], "no_route")
        assert world.platform.asked == []

    @pytest.mark.parametrize("action", [Heart(), Flow(flow_ns="f"), MarkSeen(), MessageReaction(mid="m")], ids=by_kind)
    async def test_what_goes_to_nobody_fails(self, world, action):
        await world.sender.deliver(world.reply(action, contact_id=None))
        assert (world.kinds(), world.published[0].data.reason) == (["failed"], "no_such_recipient")

    async def test_quick_replies_stand_under_the_last_part(self, world):
        choices = (QuickReply(title="Red", payload="red"),)
        sent = []
        original = world.platform.send

        async def send(token, account, contact, action, manner):
            sent.append(action.quick_replies)
            return await original(token, account, contact, action, manner)

        world.platform.send = send
        await world.sender.deliver(world.reply(DirectMessage(text="word " * 300, quick_replies=choices)))
        assert sent == [(), choices]


class TestLimits:
    @pytest.mark.parametrize(
        ("action", "reason"),
        [
            (MediaMessage(media="image", urls=("http://shop.example/a.png",)), "link_not_https"),
            (MediaMessage(media="image", urls=(URL,) * 11), "too_many_media"),
            (SharedPost(media_id="CxYz"), "id_not_a_number"),
            (Cards(cards=(Card(title="Lamp"),)), "card_too_bare"),
            (DirectMessage(text="x" * 10_001), "text_too_long"),
            (HideComment(comment_id=""), "id_missing"),
        ],
        ids=lambda value: value if isinstance(value, str) else value.kind,
    )
    async def test_content_beyond_a_limit_fails_by_its_own_name_and_never_goes_out(self, world, action, reason):
        event = world.reply(action)
        await world.sender.deliver(event)
        outcome = world.published[0].data
        assert (world.kinds(), outcome.reason, world.row(event).state) == (["failed"], reason, "failed")
        assert outcome.detail
        assert (world.platform.asked, world.row(event).parts[0].attempts) == ([], 0)

    async def test_content_that_one_route_does_not_take_goes_by_the_other(self, world):
        """Twelve quick replies are too many for ManyChat, and these name no flow either."""
        world.with_manychat()
        choices = tuple(QuickReply(title=str(n), payload=str(n)) for n in range(12))
        await world.sender.deliver(world.reply(DirectMessage(text="?", quick_replies=choices)))
        assert [one[0] for one in world.platform.sends()] == ["graph"]


class TestFallback:
    async def test_an_open_breaker_sends_by_the_next_route(self, world):
        world.with_manychat()
        await world.sender.deliver(world.reply())
        open_breaker(world.manychat_breakers)
        await world.sender.deliver(world.reply())
        assert [one[0] for one in world.platform.sends()] == ["manychat", "graph"]

    async def test_two_open_breakers_are_waited_for_and_nothing_is_announced(self, world):
        world.with_manychat()
        await world.sender.deliver(world.reply())
        open_breaker(world.manychat_breakers)
        open_breaker(world.graph_breakers)
        event = world.reply()
        with pytest.raises(BreakerOpen):
            await world.sender.deliver(event)
        assert event.data.reply_id not in world.ledger.rows

    async def test_the_only_route_is_waited_for_behind_its_breaker(self, world):
        world.with_manychat(routes=("manychat",))
        await world.sender.deliver(world.reply())
        open_breaker(world.manychat_breakers)
        event = world.reply()
        with pytest.raises(BreakerOpen):
            await world.sender.deliver(event)
        assert await world.deliver_until_done(event) > 0
        assert {one[0] for one in world.platform.sends()} == {"manychat"}

    @pytest.mark.parametrize("error", [Retryable("ConnectError"), Throttled("429", after=1)])
    async def test_a_moments_failure_is_no_reason_to_change_the_route(self, world, error):
        world.with_manychat()
        world.platform.script = [error]
        await world.deliver_until_done(world.reply())
        assert {one[0] for one in world.platform.sends()} == {"manychat"}

    @pytest.mark.parametrize("reason", ["window_closed", "refused"])
    async def test_a_refusal_that_another_route_would_repeat_ends_the_reply(self, world, reason):
        world.with_manychat()
        world.platform.script = [Refused(reason)]
        await world.sender.deliver(world.reply())
        assert (world.kinds(), len(world.platform.sends())) == (["failed"], 1)

    @pytest.mark.parametrize("arrived", [True, False])
    async def test_an_unknown_outcome_takes_no_other_route_even_when_it_is_proven_absent(self, world, arrived):
        world.with_manychat()
        lost = UnknownOutcome("reset")
        world.platform.script = [("arrives", lost) if arrived else lost]
        await world.deliver_until_done(world.reply())
        assert {one[0] for one in world.platform.sends()} == {"manychat"}
        assert len(world.platform.thread) == 1

    async def test_what_was_proven_absent_waits_for_its_own_route_to_come_back(self, world):
        world.with_manychat()
        world.platform.script = [UnknownOutcome("reset")]
        event = world.reply()
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        world.clock.advance(timedelta(seconds=world.patience.first_look))
        open_breaker(world.manychat_breakers)
        with pytest.raises(BreakerOpen):
            await world.sender.deliver(event)
        await world.deliver_until_done(event)
        assert [one[0] for one in world.platform.sends()] == ["manychat", "manychat"]

    async def test_a_refusal_after_an_unknown_outcome_takes_no_other_route_either(self, world):
        world.with_manychat()
        world.platform.script = [UnknownOutcome("reset"), Refused("channel_failed", elsewhere=True)]
        await world.deliver_until_done(world.reply())
        assert [one[0] for one in world.platform.sends()] == ["manychat", "manychat"]
        assert world.kinds()[-1] == "failed"

    async def test_a_message_whose_first_part_went_one_way_goes_on_by_the_other_when_that_one_is_away(self, world):
        world.with_manychat()
        world.platform.script = [None, Refused("no_subscriber", elsewhere=True)]
        event = world.reply(DirectMessage(text="word " * 300))
        await world.sender.deliver(event)
        assert [one[0] for one in world.platform.sends()] == ["manychat", "manychat", "graph"]
        assert world.row(event).state == "delivered"


class TestUnknownOutcomes:
    @pytest.mark.parametrize("action", SILENT, ids=by_kind)
    @pytest.mark.parametrize("by_manychat", [False, True])
    async def test_what_has_no_words_is_found_by_its_echo(self, world, action, by_manychat):
        if by_manychat:
            world.with_manychat()
        world.platform.script = [("arrives", UnknownOutcome("reset"))]
        event = world.reply(action)
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        await told(world, world.platform.thread[0])
        await world.sender.deliver(event)
        assert (world.row(event).message_ids, len(world.platform.thread)) == (("mid.1",), 1)
        assert "replied" not in world.kinds()

    @pytest.mark.parametrize("action", SILENT, ids=by_kind)
    async def test_what_has_no_words_is_found_by_reading(self, world, action):
        world.platform.script = [("arrives", UnknownOutcome("reset"))]
        event = world.reply(action)
        await world.deliver_until_done(event)
        assert (world.row(event).state, len(world.platform.sends())) == ("delivered", 1)

    @pytest.mark.parametrize("action", SILENT, ids=by_kind)
    async def test_what_is_proven_absent_is_sent_once_more(self, world, action):
        world.platform.script = [UnknownOutcome("reset")]
        await world.deliver_until_done(world.reply(action))
        assert (len(world.platform.sends()), len(world.platform.thread)) == (2, 1)

    async def test_a_twin_without_a_name_leaves_it_to_a_person(self, world):
        """ManyChat tells no ids: of two pictures and one that arrived nobody can say whose it is."""
        world.with_manychat()
        await world.sender.deliver(world.reply(IMAGE))
        world.platform.script = [UnknownOutcome("reset")]
        second = world.reply(IMAGE)
        await world.deliver_until_done(second)
        assert world.row(second).state == "handed_to_human"
        assert len(world.platform.sends()) == 2

    async def test_a_twin_that_was_named_by_its_echo_leaves_it_to_a_person_too(self, world):
        world.with_manychat()
        await world.sender.deliver(world.reply(IMAGE))
        await told(world, world.platform.thread[0])
        world.clock.advance(timedelta(seconds=20))
        world.platform.script = [UnknownOutcome("reset")]
        second = world.reply(IMAGE)
        await world.deliver_until_done(second)
        assert (world.row(second).state, len(world.platform.thread)) == ("handed_to_human", 1)

    async def test_what_the_platform_shows_as_something_else_leaves_it_to_a_person(self, world):
        world.platform.script = [("arrives", UnknownOutcome("reset"))]
        event = world.reply(MediaMessage(media="audio", urls=("https://shop.example/a.m4a",)))
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        shown = world.platform.thread[0]
        world.platform.thread[0] = type(shown)(shown.id, shown.text, shown.from_account, shown.at, ("unknown",))
        await world.deliver_until_done(event)
        assert (world.row(event).state, len(world.platform.sends())) == ("handed_to_human", 1)

    @pytest.mark.parametrize("action", [Flow(flow_ns="f"), MentionReply(media_id="17", text="Thanks")], ids=by_kind)
    @pytest.mark.parametrize("arrived", [True, False])
    async def test_what_nobody_can_look_for_goes_to_a_person_and_never_out_again(self, world, action, arrived):
        world.with_manychat()
        lost = UnknownOutcome("reset")
        world.platform.script = [("arrives", lost) if arrived else lost]
        event = world.reply(action)
        await world.deliver_until_done(event)
        assert (world.row(event).state, len(world.platform.sends())) == ("handed_to_human", 1)
        assert [notice.reason for notice in world.people.told] == ["outcome_unknown"]


class TestPicturesOfPeople:
    async def test_a_persons_picture_is_not_taken_for_ours_while_the_answer_is_awaited(self, world):
        """Our picture is under way over the Graph API, which tells its id: until then the echo waits."""
        waited = []
        original = world.platform._send

        async def send(*asked, **how):
            sent = await original(*asked, **how)
            world.platform.arrives("", kinds=("image",))
            for shown in world.platform.thread:
                with pytest.raises(Retryable):
                    await told(world, shown)
                waited.append(shown.id)
            return sent

        world.platform._send = send
        event = world.reply(IMAGE)
        await world.sender.deliver(event)
        for shown in world.platform.thread:
            await told(world, shown)
        assert waited == ["mid.1", "mid.2"]
        assert world.row(event).message_ids == ("mid.1",)
        assert [one.data.mid for one in world.published if one.type.endswith("human.replied.v1")] == ["mid.2"]


class TestRepeating:
    @pytest.mark.parametrize("action", REPEATABLE, ids=by_kind)
    async def test_what_may_be_repeated_is_done_again_after_a_crash(self, world, action, crash):
        world.with_manychat()
        event = world.reply(action)
        world.ledger.before = lambda step: died(step, world, crash)
        with pytest.raises(crash):
            await world.sender.deliver(event)
        assert world.row(event).state == "attempting"
        world.ledger.before = lambda _: None
        await world.sender.deliver(event)
        assert (world.kinds(), world.row(event).parts[0].attempts) == (["delivered"], 2)

    async def test_a_comment_that_an_earlier_attempt_deleted_is_deleted(self, world, crash):
        event = world.reply(DeleteComment(comment_id="c"))
        world.ledger.before = lambda step: died(step, world, crash)
        with pytest.raises(crash):
            await world.sender.deliver(event)
        world.ledger.before = lambda _: None
        world.platform.script = [Refused("no_such_recipient")]
        await world.sender.deliver(event)
        assert world.kinds() == ["delivered"]

    async def test_a_comment_that_was_never_there_is_told_as_such(self, world):
        world.platform.script = [Refused("no_such_recipient")]
        await world.sender.deliver(world.reply(DeleteComment(comment_id="c")))
        assert (world.kinds(), world.published[0].data.reason) == (["failed"], "no_such_recipient")


def died(step, world, crash):
    """Die when the call's result is about to be written."""
    if step == "ledger.put" and world.platform.asked:
        raise crash


class TestManner:
    async def test_inside_the_window_a_message_goes_out_as_any_other(self, world):
        await world.sender.deliver(world.reply(origin="human"))
        assert world.platform.manners == [Manner()]

    async def test_on_a_token_a_message_goes_out_to_the_token(self, world):
        await world.contacts.opted_in(CONVERSATION, OptInToken("leave", world.clock.now() - timedelta(days=3)))
        await world.sender.deliver(world.reply(Heart(), in_reply_to=None, customer_acted_at=None))
        assert world.platform.manners == [Manner(opt_in_token="leave")]

    async def test_on_a_token_a_text_of_two_messages_does_not_go_out(self, world):
        await world.contacts.opted_in(CONVERSATION, OptInToken("leave", world.clock.now() - timedelta(days=3)))
        long = DirectMessage(text="word " * 300)
        await world.sender.deliver(world.reply(long, in_reply_to=None, customer_acted_at=None))
        assert (world.kinds(), world.platform.asked) == (["failed"], [])
