"""What customers write while their account cannot answer."""

from datetime import timedelta
from typing import Any

import pytest
from ai_scene import NOW, WHO, Scene, comment, event, message

from ai.turn import MOST_MESSAGES
from common.accounts import AccountState, Standing
from common.events.interactions import MessageUnsent, Unsend
from common.events.outcomes import (
    Failed,
    HumanReplied,
    HumanReply,
    ReplyFailed,
    ReplySuppressed,
    Suppressed,
)
from common.mongo import CONVERSATIONS, DECISIONS, MESSAGES


def holds_back(scene: Scene, state: AccountState = "needs_reconnection", reason: str = "token_expired") -> None:
    scene.standings.known["1"] = Standing("1", state, reason, "connect it again", since=NOW)


def calls(scene: Scene) -> list[tuple[str, str]]:
    """Return the id and the reason of every call for a person that was published."""
    actions = [(event.id, event.data.action) for event in scene.published]  # type: ignore[attr-defined]
    return [(id_, action.reason) for id_, action in actions if action.kind == "operator_notification"]


async def test_an_account_that_cannot_answer_keeps_what_customers_write_and_calls_a_person_once(scene: Scene):
    holds_back(scene)
    for mid in ("m1", "m2", "m1"):
        await scene.handle(message(f"text {mid}", mid))
    assert scene.model.calls == 0
    assert [reason for _, reason in calls(scene)] == ["token_expired"]
    conversation = await scene.conversation()
    assert conversation["attention"] == "token_expired"
    assert [line["text"] for line in conversation["recent"]] == ["text m1", "text m2"]
    assert await scene.db[MESSAGES].count_documents({}) == 2


async def test_once_the_account_is_connected_the_next_message_is_answered_with_all_that_waited(scene: Scene):
    holds_back(scene)
    await scene.handle(message("first", "m1"))
    await scene.handle(message("second", "m2"))
    scene.standings.known.clear()
    await scene.handle(message("third", "m3"))
    assert scene.model.calls == 1
    decision = await scene.db[DECISIONS].find_one({})
    assert decision is not None
    assert decision["covers"] == ["1:msg:m1", "1:msg:m2", "1:msg:m3"]
    assert (await scene.conversation())["attention"] == "token_expired"  # the person still sees it


async def test_what_a_person_answered_while_the_account_could_not_is_not_answered_again(scene: Scene):
    holds_back(scene)
    await scene.handle(message("first", "m1"))
    scene.clock.advance(timedelta(minutes=1))
    replied = HumanReply(merchant_id="dar", mid="p1", text="from the app", **WHO)
    await scene.handle(event(HumanReplied, replied, "1:human:p1", NOW + timedelta(minutes=1)))
    scene.standings.known.clear()
    scene.clock.advance(timedelta(hours=13))
    await scene.handle(message("second", "m2", NOW + timedelta(hours=13)))
    decision = await scene.db[DECISIONS].find_one({})
    assert decision is not None
    assert decision["covers"] == ["1:msg:m2"]


async def test_a_comment_that_cannot_be_answered_is_a_persons_and_waits_for_nobody_else(scene: Scene):
    holds_back(scene, "restricted", "account_restricted")
    await scene.handle(comment("price?"))
    await scene.handle(comment("hello?", "c2"))
    assert [reason for _, reason in calls(scene)] == ["account_restricted"]
    conversation = await scene.conversation()
    assert (conversation["attention"], conversation["unanswered"]) == ("account_restricted", [])


async def test_a_copy_of_what_was_answered_before_calls_nobody_and_says_the_same(scene: Scene):
    await scene.handle(message())
    holds_back(scene)
    await scene.handle(message())
    assert calls(scene) == []
    assert len({published.to_json() for published in scene.published}) == 1


async def test_a_call_for_a_person_that_is_repeated_after_a_crash_is_the_same_call(scene: Scene):
    holds_back(scene)
    await scene.handle(message())
    await scene.db[CONVERSATIONS].update_one({"_id": "1:5"}, {"$set": {"attention": None}})
    await scene.handle(message())
    assert len(calls(scene)) == 2
    assert len({id_ for id_, _ in calls(scene)}) == 1


async def test_another_trouble_of_the_account_is_another_call(scene: Scene):
    holds_back(scene)
    await scene.handle(message())
    holds_back(scene, "restricted", "account_restricted")
    await scene.handle(message("more", "m2"))
    assert len({id_ for id_, _ in calls(scene)}) == 2


def unsendable(scene: Scene, kind: type[ReplySuppressed] | type[ReplyFailed] = ReplySuppressed, **more: Any) -> Any:
    """Return the outcome of the last answer: the account has no way to send it."""
    reply = next(
        one.data  # type: ignore[attr-defined]
        for one in reversed(scene.published)
        if one.data.action.kind == "direct_message"  # type: ignore[attr-defined]
    )
    about = {"merchant_id": "dar", "reply_id": reply.reply_id, "decision_id": reply.decision_id, **WHO}
    about |= {"kind": "direct_message", "reason": "needs_reconnection", "account_stopped": True, **more}
    data = Failed(**about, route="graph") if kind is ReplyFailed else Suppressed(**about)
    return event(kind, data, f"out_{reply.reply_id}")


async def covers(scene: Scene) -> list[list[str]]:
    found = [decision async for decision in scene.db[DECISIONS].find({})]
    return [[id_.removeprefix("1:msg:") for id_ in one["covers"]] for one in sorted(found, key=lambda d: d["at"])]


@pytest.mark.parametrize("kind", [ReplySuppressed, ReplyFailed])
async def test_what_was_answered_in_vain_is_answered_with_the_next_message(scene: Scene, kind: Any):
    await scene.handle(message("do you have it in red", "m1"))
    await scene.handle(unsendable(scene, kind))
    scene.clock.advance(timedelta(minutes=5))
    await scene.handle(message("?", "m2", NOW + timedelta(minutes=5)))
    assert await covers(scene) == [["m1"], ["m1", "m2"]]
    assert scene.model.calls == 2
    assert (await scene.conversation())["unanswered"] == []


async def test_the_outcome_may_come_again_or_late_and_a_copy_of_the_message_changes_nothing(scene: Scene):
    await scene.handle(message("do you have it in red", "m1"))
    outcome = unsendable(scene)
    for one in (outcome, outcome, message("do you have it in red", "m1"), outcome):
        await scene.handle(one)
    assert [one["id"] for one in (await scene.conversation())["unanswered"]] == ["1:msg:m1"]
    assert scene.model.calls == 1
    await scene.handle(message("?", "m2"))
    await scene.handle(outcome)
    await scene.handle(message("still there?", "m3"))
    assert await covers(scene) == [["m1"], ["m1", "m2"], ["m3"]]


async def test_what_was_taken_back_is_too_old_or_is_no_message_does_not_wait_again(scene: Scene):
    await scene.handle(message("do you have it in red", "m1"))
    outcome = unsendable(scene)
    await scene.handle(event(MessageUnsent, Unsend(**WHO, mid="m1"), "1:del:m1"))
    await scene.handle(outcome)
    await scene.handle(message("hello?", "m2"))
    late = unsendable(scene)
    scene.clock.advance(timedelta(hours=25))
    await scene.handle(late)
    await scene.handle(message("and now?", "m3", NOW + timedelta(hours=25)))
    await scene.handle(unsendable(scene, account_stopped=False, reason="bad_request"))
    assert (await scene.conversation())["unanswered"] == []


async def test_no_more_wait_again_than_one_turn_answers(scene: Scene):
    for number in range(14):
        await scene.handle(message(f"text {number}", f"m{number}"))
        await scene.handle(unsendable(scene))
        assert len((await scene.conversation())["unanswered"]) <= MOST_MESSAGES
    assert scene.model.calls <= 2 * 14
