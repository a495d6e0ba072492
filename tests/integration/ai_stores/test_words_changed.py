"""What is edited or taken back after it was written: everywhere, in whatever order it is told."""

from dataclasses import replace
from typing import Any

import pytest
from ai_scene import NOW, WHO, CommandCount, Crashing, FakeModel, Scene, event, message, outcome, play, turns
from pymongo.errors import AutoReconnect

from ai.answer import Answer, Lead
from ai.completion import Completion, Usage
from ai.incoming import incoming
from common.accounts import Standing
from common.events.interactions import (
    Attachment,
    Edit,
    MessageEdited,
    MessageUnsent,
    Unsend,
)
from common.events.outcomes import (
    Delivered,
    ReplyDelivered,
)
from common.mongo import CONVERSATIONS, DECISIONS, MESSAGES, Database


def edit(text: str, number: int) -> Any:
    return event(MessageEdited, Edit(**WHO, mid="m1", text=text, num_edit=number), f"1:edit:m1:{number}")


async def stored_text(scene: Scene) -> str:
    stored = await scene.db[MESSAGES].find_one({"_id": "1:msg:m1"})
    assert stored is not None
    return str(stored["text"])


async def test_an_edit_changes_the_message_and_its_line_and_an_older_one_does_not(scene: Scene):
    await scene.handle(message("old"))
    assert await scene.handle(edit("new", 2)) == 3
    assert await scene.handle(edit("middle", 1)) == 1
    assert await stored_text(scene) == "new"
    assert (await scene.conversation())["recent"][0]["text"] == "new"
    assert await scene.handle(edit("new", 2)) == 3  # redelivered: a crash may have come between its two writes


async def test_an_edit_does_not_bring_back_what_was_taken_back(scene: Scene):
    await scene.handle(message("my secret"))
    await scene.handle(event(MessageUnsent, Unsend(**WHO, mid="m1"), "1:del:m1"))
    await scene.handle(edit("my other secret", 1))
    assert await stored_text(scene) == ""
    assert "secret" not in str(await scene.conversation())


async def test_a_line_is_appended_once_whoever_asks(scene: Scene):
    said = incoming(message())
    assert said is not None
    for _ in range(2):
        conversation = await scene.handlers.conversations.record(
            said, merchant_id="dar", language=None, stored_at=NOW, closes=False, now=NOW
        )
        assert [line.id for line in conversation.recent] == ["1:msg:m1"]


async def test_an_edit_that_overtook_its_message_wins(scene: Scene):
    await scene.handle(event(MessageEdited, Edit(**WHO, mid="m1", text="prix", num_edit=1), "1:edit:m1:1"))
    await scene.handle(message("prox"))
    assert "https://shop.example/p" in scene.texts()[0]
    stored = await scene.db[MESSAGES].find_one({"_id": "1:msg:m1"})
    assert stored is not None
    assert (stored["text"], stored["mid"]) == ("prix", "m1")


async def test_an_edit_leaves_what_came_along_with_the_text(scene: Scene):
    picture = {"type": "image", "url": "https://cdn.example/x"}
    await scene.handle(message("prox", reply_to={"story_id": "9"}, attachments=(picture,)))
    for number, text in ((1, "price"), (2, "the price")):
        await scene.handle(edit(text, number))
        line = (await scene.conversation())["recent"][0]
        assert line["text"] == f"[story reply] [image] {text}"
        assert line["text"][line["placeholder"] :] == text


async def test_an_edit_that_overtook_its_message_costs_it_no_media(scene: Scene):
    await scene.handle(edit("prix", 1))
    await scene.handle(message("prox", attachments=({"type": "image", "url": "https://cdn.example/x"},)))
    stored = await scene.db[MESSAGES].find_one({"_id": "1:msg:m1"})
    assert stored is not None
    assert (stored["text"], stored["attachments"]) == ("prix", [{"type": "image", "url": "https://cdn.example/x"}])


async def test_what_is_taken_back_waits_no_more_also_when_its_line_has_grown_old(db: Database, count: CommandCount):
    scene = Scene(db, count, history=2)
    scene.standings.known["1"] = Standing("1", state="needs_reconnection")
    for number in range(4):
        await scene.handle(message(f"question {number}", mid=f"m{number}"))
    await scene.handle(event(MessageUnsent, Unsend(**WHO, mid="m0"), "1:del:m0"))
    assert [one["id"] for one in (await scene.conversation())["unanswered"]] == ["1:msg:m1", "1:msg:m2", "1:msg:m3"]


async def test_what_was_learnt_goes_also_when_forgetting_it_was_interrupted_and_where_it_was_learnt_again(scene: Scene):
    lead = Lead(phone="0770")
    scene.model.answer = Completion(Answer(reply="answer", language="en", lead=lead), "m", Usage(10, 5))
    await scene.handle(message("my number is 0770"))
    await scene.handle(message("thanks", mid="m2"))  # the model sees the number above, and tells it again
    unsent = event(MessageUnsent, Unsend(**WHO, mid="m1"), "1:del:m1")
    for crash_at in (2, 3, 4):
        steps = [0]
        dying = replace(
            scene.handlers,
            decisions=Crashing(scene.handlers.decisions, steps, crash_at, after=False),  # type: ignore[arg-type]
            conversations=Crashing(scene.handlers.conversations, steps, crash_at, after=False),  # type: ignore[arg-type]
        )
        with pytest.raises(AutoReconnect):
            await dying.handle(unsent)
    await scene.handle(unsent)
    assert (await scene.conversation())["lead"] == {}
    assert [one["lead"] async for one in scene.db[DECISIONS].find({})] == [{}, {}]


async def test_an_unsent_message_is_gone_from_both_places(scene: Scene):
    await scene.handle(message("my secret", attachments=({"type": "image", "url": "https://cdn.example/x"},)))
    unsent = event(MessageUnsent, Unsend(**WHO, mid="m1"), "1:del:m1")
    assert await scene.handle(unsent) == 3
    stored = await scene.db[MESSAGES].find_one({"_id": "1:msg:m1"})
    assert stored is not None
    assert (stored["text"], stored["attachments"]) == ("", [])
    assert "my secret" not in str(await scene.conversation())
    await scene.handle(message("my secret"))
    assert "my secret" not in str(await scene.conversation())
    assert "my secret" not in str(await scene.db[MESSAGES].find_one({"_id": "1:msg:m1"}))


async def test_a_message_that_was_taken_back_before_it_came_leaves_nothing(scene: Scene):
    await scene.handle(event(MessageUnsent, Unsend(**WHO, mid="m1"), "1:del:m1"))
    await scene.handle(message("my secret"))
    assert scene.published == []
    assert "my secret" not in str(await scene.db[MESSAGES].find_one({"_id": "1:msg:m1"}))
    assert await scene.db[CONVERSATIONS].find_one({"_id": "1:5"}) is None


async def test_a_message_that_comes_after_its_unsend_leaves_nothing_to_see(scene: Scene):
    await scene.handle(event(MessageUnsent, Unsend(**WHO, mid="m1"), "1:del:m1"))
    await scene.handle(message(None, attachments=(Attachment(type="image", url="https://cdn.example/private.jpg"),)))
    stored = await scene.db[MESSAGES].find_one({"_id": "1:msg:m1"})
    assert stored is not None
    assert (stored["unsent"], stored["text"], stored["attachments"]) == (True, "", [])


async def test_what_the_account_took_back_is_forgotten(scene: Scene):
    await scene.handle(message())
    await scene.handle(outcome(ReplyDelivered, Delivered, scene.published[0].id, route="graph", message_ids=("p1",)))
    assert await scene.handle(event(MessageUnsent, Unsend(**WHO, mid="p1", from_account=True), "1:del:p1")) == 1
    assert [line["text"] for line in (await scene.conversation())["recent"]] == ["do you have size M", ""]


async def test_what_is_taken_back_waits_for_no_answer_any_more(scene: Scene):
    first, second = message("my secret"), message("question", mid="m2")
    await play(scene, first, event(MessageUnsent, Unsend(**WHO, mid="m1"), "1:del:m1"), second)
    assert await turns(scene) == [["1:msg:m2"]]


class Edits:
    """A model during whose call the customer changes the message."""

    def __init__(self, scene: Scene, edited: Any) -> None:
        self.scene, self.edited, self.asked = scene, edited, ""

    async def complete(self, messages: Any, *, merchant: str = "") -> Completion:
        self.asked = str(messages)
        await self.scene.handlers.handle(self.edited)
        return Completion(Answer(reply="answer", language="en"), "m", Usage(10, 5))


async def test_an_edit_during_the_models_call_is_history_and_no_second_answer(scene: Scene):
    model = Edits(scene, edit("do you have size L", 1))
    scene.model = model  # type: ignore[assignment]
    scene.handlers = scene.process()
    await scene.handle(message("do you have size M"))
    assert "size M" in model.asked
    assert scene.texts() == ["answer"]
    assert (await scene.conversation())["recent"][0]["text"] == "do you have size L"
    await scene.handle(message("do you have size M"))
    assert await stored_text(scene) == "do you have size L"
    assert len({published.to_json() for published in scene.published}) == 1


async def test_an_edit_after_the_answer_changes_the_history_and_answers_nothing(scene: Scene):
    await scene.handle(message("do you have size M"))
    await scene.handle(edit("do you have size L", 1))
    assert scene.texts() == ["answer"]
    assert [line["text"] for line in (await scene.conversation())["recent"]] == ["do you have size L", "answer"]


async def test_edits_that_came_before_their_message_and_out_of_order_leave_the_latest(scene: Scene):
    for text, number in (("third", 2), ("second", 1)):
        await scene.handle(edit(text, number))
    await scene.handle(message("first"))
    assert await stored_text(scene) == "third"
    assert (await scene.conversation())["recent"][0]["text"] == "third"


async def test_an_edit_of_what_waits_for_the_rest_of_its_turn_is_what_is_answered(scene: Scene):
    asked: list[str] = []

    class Noting(FakeModel):
        async def complete(self, messages: Any, *, merchant: str = "") -> Completion:
            asked.append(str(messages))
            return await super().complete(messages)

    scene.model = Noting()
    scene.handlers = scene.process()
    await play(scene, message("size M"), edit("size L", 1), message("please", mid="m2"))
    assert len(asked) == 1
    assert "size L" in asked[0]
    assert "size M" not in asked[0]
