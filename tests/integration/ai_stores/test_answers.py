"""What an answer writes, once whatever crashes or comes again, and how many calls of the database that takes."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ai_scene import NOW, WHO, Behind, CommandCount, Crashing, Scene, comment, event, message, play, turns
from pymongo.errors import AutoReconnect

from ai.answer import Answer, Lead
from ai.completion import Completion, ModelFailed, Usage
from ai.incoming import incoming
from ai.turn import next_turn
from ai.usage import UsageTally
from common.errors import Retryable
from common.events.interactions import (
    MessageUnsent,
    Referral,
    ReferralOpened,
    ReferralReceived,
    Unsend,
)
from common.kafka.hold import hand
from common.mongo import DECISIONS, MESSAGES, USAGE, Database


async def test_an_answered_message_takes_four_calls_and_leaves_everything_once(scene: Scene):
    scene.model.answer = Completion(
        Answer(reply="answer", language="en", lead=Lead(phone="0770"), intent="order"), "m", Usage(10, 5)
    )
    assert await scene.handle(message()) == 4
    assert scene.texts() == ["answer"]
    conversation = await scene.conversation()
    assert [(line["role"], line["text"]) for line in conversation["recent"]] == [
        ("customer", "do you have size M"),
        ("assistant", "answer"),
    ]
    assert (conversation["merchant_id"], conversation["language"]) == ("dar", "en")
    assert conversation["lead"] == {"phone": "0770"}
    assert conversation["counters"] == {"received": 1, "decisions": 1, "replies": 1}
    assert conversation["last_customer_at"] == NOW
    stored = await scene.db[MESSAGES].find_one({"_id": "1:msg:m1"})
    assert stored is not None
    assert (stored["text"], stored["conversation_id"], stored["mid"]) == ("do you have size M", "1:5", "m1")
    decision = await scene.db[DECISIONS].find_one({"covers": "1:msg:m1"})
    assert decision is not None
    assert (decision["origin"], decision["intent"], decision["usage"]["input_tokens"]) == ("model", "order", 10)


async def test_a_redelivery_is_answered_with_the_same_bytes_and_changes_nothing(scene: Scene):
    await scene.handle(message())
    before = await scene.conversation()
    for _ in range(2):
        await scene.handle(message())
    assert len({published.to_json() for published in scene.published}) == 1
    assert len(scene.published) == 3
    assert scene.model.calls == 1
    assert await scene.conversation() == before
    assert await scene.db[DECISIONS].count_documents({}) == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("crash_at", [1, 2, 3, 4])
async def test_a_crash_between_any_two_writes_repeats_to_one_decision(scene: Scene, crash_at: int, after: bool):
    steps = [0]
    dying = scene.process(lambda store: Crashing(store, steps, crash_at, after=after))
    with pytest.raises(AutoReconnect):
        await dying.handle(message())
    await scene.handle(message())
    await scene.handle(message())
    assert len({published.to_json() for published in scene.published}) == 1
    assert scene.model.calls == (2 if crash_at == 3 and not after else 1)
    conversation = await scene.conversation()
    assert [line["role"] for line in conversation["recent"]] == ["customer", "assistant"]
    assert conversation["counters"] == {"received": 1, "decisions": 1, "replies": 1}
    await scene.tally.flush()
    spent = await scene.db[USAGE].find_one({"_id": "dar:2026-11-21"})
    assert spent is None if crash_at == 3 and after else spent is not None and spent["answers"] == 1


async def test_history_is_bounded_and_an_old_redelivery_does_not_come_back_into_it(db: Database, count: CommandCount):
    scene = Scene(db, count, history=4)
    for number in range(5):
        await scene.handle(message(f"question {number}", mid=f"m{number}"))
    await scene.handle(message("question 0", mid="m0"))
    lines = [line["text"] for line in (await scene.conversation())["recent"]]
    assert lines == ["question 3", "answer", "question 4", "answer"]
    assert scene.model.calls == 5


async def test_comments_and_messages_of_one_person_are_one_conversation(scene: Scene):
    assert await scene.handle(comment("Génial !")) == 4
    await scene.handle(message())
    channels = [line["channel"] for line in (await scene.conversation())["recent"]]
    assert channels == ["comment", "comment", "direct_message", "direct_message"]


async def test_a_negative_comment_leaves_the_conversation_waiting_for_a_person(scene: Scene):
    await scene.handle(comment("Super déçu"))
    conversation = await scene.conversation()
    assert conversation["attention"] == "negative_comment"
    assert [line["role"] for line in conversation["recent"]] == ["customer"]
    await scene.handle(comment("Super déçu"))
    assert (await scene.conversation())["counters"] == {"received": 1, "decisions": 1, "replies": 0}


async def test_a_failing_model_leaves_an_apology_and_the_reason(scene: Scene):
    scene.model.answer = ModelFailed("quota")
    await scene.handle(message())
    conversation = await scene.conversation()
    assert conversation["attention"] == "model_unavailable"
    decision = await scene.db[DECISIONS].find_one({})
    assert decision is not None
    assert decision["reasons"] == ["quota"]
    assert [published.data.action.kind for published in scene.published] == [  # type: ignore[attr-defined]
        "direct_message",
        "operator_notification",
    ]


async def test_a_referral_takes_one_call(scene: Scene):
    await scene.handle(message())
    opened = ReferralOpened(**WHO, referral=Referral(ref="summer", ad_id="7"))
    assert await scene.handle(event(ReferralReceived, opened, "1:ref:1")) == 1
    assert (await scene.conversation())["referral"] == {"ref": "summer", "ad_id": "7"}


async def test_tokens_are_added_up_by_merchant_and_day(scene: Scene):
    scene.tally.spent("dar", NOW, Usage(10, 5))
    scene.tally.spent("dar", NOW, Usage(1, 1))
    scene.tally.spent("other", NOW + timedelta(days=1), Usage(2, 2))
    await scene.tally.flush()
    scene.tally.spent("dar", NOW, Usage(100, 0))
    await scene.tally.flush()
    await scene.tally.flush()
    rows = {row["_id"]: row async for row in scene.db[USAGE].find({})}
    assert set(rows) == {"dar:2026-11-21", "other:2026-11-22"}
    dar = rows["dar:2026-11-21"]
    assert (dar["answers"], dar["input_tokens"], dar["output_tokens"]) == (3, 111, 6)
    assert dar["at"] == datetime(2026, 11, 21, tzinfo=UTC)


async def test_what_is_spent_is_written_when_the_service_ends(scene: Scene):
    async with UsageTally(scene.db, interval=60).running() as _:
        pass
    tally = UsageTally(scene.db, interval=60)
    async with tally.running():
        tally.spent("dar", NOW, Usage(1, 2))
    assert await scene.db[USAGE].count_documents({}) == 1


class Away:
    """A collection of a database that cannot be reached."""

    async def bulk_write(self, *_: Any, **__: Any) -> None:
        raise AutoReconnect("away")


async def test_tokens_that_could_not_be_written_are_kept_for_the_next_time(db: Database):
    tally = UsageTally({USAGE: Away()})  # type: ignore[arg-type]
    tally.spent("dar", NOW, Usage(3, 4))
    await tally.flush()
    tally.spent("dar", NOW, Usage(1, 0))
    tally._collection = db[USAGE]
    await tally.flush()
    row = await db[USAGE].find_one({"_id": "dar:2026-11-21"})
    assert row is not None
    assert (row["answers"], row["input_tokens"], row["output_tokens"]) == (2, 4, 4)


async def test_a_turn_takes_two_calls_for_what_is_left_and_four_for_its_answer(scene: Scene):
    said = [message(f"question {mid}", mid=mid) for mid in ("m1", "m2", "m3")]
    assert await play(scene, *said) == [2, 2, 4]
    assert await turns(scene) == [[one.id for one in said]]
    conversation = await scene.conversation()
    assert [line["role"] for line in conversation["recent"]] == ["customer"] * 3 + ["assistant"]
    assert conversation["unanswered"] == []
    assert conversation["counters"] == {"received": 3, "decisions": 1, "replies": 1}
    await play(scene, *said)
    assert len({published.to_json() for published in scene.published}) == 1
    assert await turns(scene) == [[one.id for one in said]]


async def test_what_was_left_to_a_copy_or_to_what_was_taken_back_is_answered_all_the_same(scene: Scene):
    unsent = event(MessageUnsent, Unsend(**WHO, mid="m3"), "1:del:m3")
    first, second, third = (message(f"question {mid}", mid=mid) for mid in ("m1", "m2", "m3"))
    await play(scene, first, unsent)
    await play(scene, second, third, first)
    assert await turns(scene) == [["1:msg:m1"], ["1:msg:m2"]]
    assert (await scene.conversation())["unanswered"] == []


async def test_the_end_of_a_turn_is_written_once(scene: Scene):
    """Another process that has read the same conversation finds it changed, and comes again."""
    await play(scene, message(), message("behind", mid="m2"))
    first = message("question", mid="m3")
    hand(Behind(message(mid="m4")))
    await scene.handle(first)
    conversations = scene.handlers.conversations
    said = incoming(first)
    before = await conversations.find("1:5")
    assert said is not None
    assert before is not None
    turn = next_turn(before, said)
    assert turn is not None
    later = incoming(message(mid="m4"))
    assert later is not None
    await conversations.record(later, merchant_id="dar", language=None, stored_at=NOW, closes=False, now=NOW)
    with pytest.raises(Retryable):
        await conversations.begin(before, turn)
    after = await conversations.find("1:5")
    assert after is not None
    turn = next_turn(after, said)
    assert turn is not None
    await conversations.begin(after, turn)
    begun = await conversations.find("1:5")
    assert begun is not None
    assert [one.closes for one in begun.unanswered] == [False, True]


async def test_a_dead_letter_calls_a_person_and_ends_the_waiting(scene: Scene):
    first, dead = message("question"), message("deadly", mid="m2")
    hand(Behind(dead))
    await scene.handle(first)
    record = SimpleNamespace(topic="interactions.received.v1", partition=0, offset=1, key=b"1:5", value=dead.to_json())
    for _ in range(2):
        await scene.handlers.dead_lettered(record, "failed 5 times: ValueError")
    conversation = await scene.conversation()
    assert (conversation["attention"], conversation["unanswered"]) == ("dead_lettered", [])
    assert len({published.id for published in scene.published}) == 1
    hand(Behind())
    await scene.handle(dead)  # replayed by an operator
    assert await turns(scene) == [["1:msg:m2"]]


async def test_a_message_written_while_the_answer_is_made_is_answered_with_it(scene: Scene):
    class Lane(Behind):
        def comes(self, one: Any) -> None:
            self._behind = (*self._behind, one)

    lane, complete, later = Lane(), scene.model.complete, message("and in red", "m2")

    async def meanwhile(messages: Any, *, merchant: str = "") -> Any:
        if not scene.model.calls:
            lane.comes(later)
        return await complete(messages)

    scene.model.complete = meanwhile  # type: ignore[method-assign]
    hand(lane)
    await scene.handle(message())
    assert [one["id"] for one in (await scene.conversation())["unanswered"]] == ["1:msg:m1"]
    assert scene.published == []
    hand(Behind())
    await scene.handle(later)
    decision = await scene.db[DECISIONS].find_one({})
    assert decision is not None
    assert decision["covers"] == ["1:msg:m1", "1:msg:m2"]
    assert scene.texts() == ["answer"]
    assert (await scene.conversation())["unanswered"] == []
