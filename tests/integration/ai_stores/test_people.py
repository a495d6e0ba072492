"""What people do to a conversation, and what calls them to one."""

from datetime import timedelta

from ai_scene import NOW, WHO, Scene, comment, event, message, outcome, turns

from common.events.control import Control, ConversationReleased, ConversationResolved, ConversationTakenOver
from common.events.outcomes import (
    Delivered,
    Failed,
    HumanReplied,
    HumanReply,
    OutcomeUnknown,
    ReplyDelivered,
    ReplyFailed,
    ReplyOutcomeUnknown,
)


async def test_a_person_who_writes_silences_the_bot_and_the_pause_ends(scene: Scene):
    await scene.handle(message())
    human = event(HumanReplied, HumanReply(merchant_id="dar", **WHO, mid="h1", text="I am here"), "1:human:h1")
    assert await scene.handle(human) == 1
    assert await scene.handle(human) == 2
    scene.published.clear()
    assert await scene.handle(message("hello?", mid="m2")) == 2
    assert scene.published == []
    roles = [line["role"] for line in (await scene.conversation())["recent"]]
    assert roles == ["customer", "assistant", "human", "customer"]
    scene.clock.advance(timedelta(hours=12))
    await scene.handle(message("hello again my friend", mid="m3", at=NOW + timedelta(hours=12)))
    assert len(scene.published) == 1


async def test_a_takeover_ends_with_the_release_and_a_late_echo_does_not_bring_it_back(scene: Scene):
    control = Control(merchant_id="dar", by="ali", **WHO)
    assert await scene.handle(event(ConversationTakenOver, control, "t1")) == 1
    scene.clock.advance(timedelta(hours=3))
    await scene.handle(message())
    assert scene.published == []
    scene.clock.advance(timedelta(minutes=1))
    released_at = scene.clock.now()
    assert await scene.handle(event(ConversationReleased, control, "r1", released_at)) == 1
    human = HumanReply(merchant_id="dar", **WHO, mid="h1", text="before the release")
    await scene.handle(event(HumanReplied, human, "1:human:h1", released_at - timedelta(minutes=1)))
    scene.clock.advance(timedelta(minutes=1))
    await scene.handle(message())  # redelivered: it was the person's
    assert scene.published == []
    await scene.handle(message("and now?", mid="m2"))
    assert len(scene.published) == 1


async def test_a_takeover_ends_by_itself_after_the_quiet_time(scene: Scene):
    await scene.handle(event(ConversationTakenOver, Control(merchant_id="dar", by="ali", **WHO), "t1"))
    scene.clock.advance(timedelta(hours=12))
    await scene.handle(message(at=scene.clock.now()))
    assert len(scene.published) == 1


async def test_a_release_that_changes_nothing_hides_nothing(scene: Scene):
    control = Control(merchant_id="dar", by="ali", **WHO)
    await scene.handle(message("first"))
    await scene.handle(event(ConversationReleased, control, "r1", NOW + timedelta(hours=1)))
    assert "answers_from" not in await scene.conversation()


async def test_a_resolved_matter_is_no_context_any_more_and_is_resolved_once(scene: Scene):
    resolved = event(ConversationResolved, Control(merchant_id="dar", by="ali", **WHO), "x1")
    await scene.handle(comment("Super déçu"))
    assert await scene.handle(resolved) == 1
    conversation = await scene.conversation()
    assert (conversation["recent"], conversation["attention"]) == ([], None)
    scene.clock.advance(timedelta(minutes=1))
    await scene.handle(message())
    await scene.handle(resolved)
    assert len((await scene.conversation())["recent"]) == 2


async def test_what_failed_before_the_matter_was_closed_calls_nobody_when_it_is_told_after(scene: Scene):
    failed = outcome(ReplyFailed, Failed, "rep_persons_own", route="graph", reason="window_closed")
    await scene.handle(message())
    resolved_at = NOW + timedelta(seconds=1)
    control = Control(merchant_id="dar", by="ali", **WHO)
    await scene.handle(event(ConversationResolved, control, "x1", resolved_at))
    await scene.handle(failed)
    assert (await scene.conversation())["attention"] is None
    await scene.handle(failed.model_copy(update={"time": resolved_at + timedelta(seconds=1)}))
    assert (await scene.conversation())["attention"] == "window_closed"


async def test_a_person_is_called_no_more_when_a_persons_answer_through_jawab_arrived(scene: Scene):
    await scene.handle(comment("Super déçu"))
    assert (await scene.conversation())["attention"] == "negative_comment"
    delivered = outcome(ReplyDelivered, Delivered, "rep_p", route="graph", message_ids=("p1",), origin="human")
    program = outcome(ReplyDelivered, Delivered, "rep_a", route="graph", message_ids=("p2",), origin="api")
    early = delivered.model_copy(update={"time": NOW - timedelta(seconds=1)})
    for changes_nothing in (program, early):
        await scene.handle(changes_nothing)
        assert (await scene.conversation())["attention"] == "negative_comment"
    assert await scene.handle(delivered) == 1
    assert (await scene.conversation())["attention"] is None


async def test_what_became_of_a_reply_is_noted_once(scene: Scene):
    await scene.handle(message())
    reply = scene.published[0].id
    unknown = outcome(ReplyOutcomeUnknown, OutcomeUnknown, reply, route="graph", evidence="reset")
    assert await scene.handle(unknown) == 1
    conversation = await scene.conversation()
    assert (conversation["attention"], conversation["recent"][1]["state"]) == ("outcome_unknown", "unknown")
    delivered = outcome(ReplyDelivered, Delivered, reply, route="graph", message_ids=("p1", "p2"))
    assert await scene.handle(delivered) == 2
    assert await scene.handle(delivered) == 3
    await scene.handle(unknown)
    conversation = await scene.conversation()
    assert (conversation["attention"], conversation["recent"][1]["state"]) == (None, "delivered")
    assert conversation["counters"]["delivered"] == 1


async def test_a_delivered_reply_is_noted_in_one_call(scene: Scene):
    await scene.handle(message())
    delivered = outcome(ReplyDelivered, Delivered, scene.published[0].id, route="graph", message_ids=("p1",))
    assert await scene.handle(delivered) == 1
    assert (await scene.conversation())["recent"][1]["mids"] == ["p1"]


async def test_a_failed_notification_needs_a_person_too(scene: Scene):
    await scene.handle(message())
    failed = outcome(ReplyFailed, Failed, "rep_other", route="operator", reason="operator_away")
    assert await scene.handle(failed) == 2
    assert (await scene.conversation())["attention"] == "operator_away"


async def test_what_a_person_dealt_with_is_not_answered_after_the_release_whatever_the_clocks_say(scene: Scene):
    control = Control(merchant_id="dar", by="ali", **WHO)
    await scene.handle(event(ConversationTakenOver, control, "t1", NOW - timedelta(minutes=2)))
    await scene.handle(message())
    await scene.handle(event(ConversationReleased, control, "r1", NOW - timedelta(minutes=1)))
    await scene.handle(message("and now?", mid="m2"))
    assert await turns(scene) == [["1:msg:m2"]]


async def test_what_waits_when_a_conversation_is_given_back_is_answered_once(scene: Scene):
    """A backlog: the release is told after a message that was written after it."""
    control = Control(merchant_id="dar", by="ali", **WHO)
    await scene.handle(event(ConversationTakenOver, control, "t1", NOW))
    written = NOW + timedelta(minutes=2)
    scene.clock.advance(timedelta(hours=1))
    received = int(written.timestamp() * 1000)
    await scene.handle(message("and now?", mid="m2", at=written, received_at_ms=received))
    assert scene.published == []
    release = event(ConversationReleased, control, "r1", NOW + timedelta(minutes=1))
    for _ in range(2):
        await scene.handle(release)
    assert await turns(scene) == [["1:msg:m2"]]
    assert scene.model.calls == 1
    assert len({published.to_json() for published in scene.published}) == 1
