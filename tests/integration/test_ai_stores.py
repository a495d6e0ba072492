"""The ai service on the MongoDB wire: what is kept, that it is kept once, and how many calls that takes."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from ai.announcing import Announcer
from ai.answer import Answer, Lead
from ai.completion import Completion, ModelFailed, Usage
from ai.conversations import MongoConversations
from ai.decisions import MongoDecisions
from ai.handlers import Handlers
from ai.held_back import HeldBack
from ai.incoming import incoming
from ai.instagram_ai import InstagramAIService
from ai.messages import MongoMessages
from ai.metrics import AIMetrics
from ai.notices import Notices
from ai.orchestrator import ConversationAIOrchestrator
from ai.ownership import MongoOwnership
from ai.rules import RuleEngine
from ai.ruling import Rulings
from ai.turn import next_turn
from ai.usage import UsageTally
from common.accounts import AccountState, Standing
from common.clock import ManualClock
from common.errors import Retryable
from common.events import AnyEvent, Event
from common.events.control import Control, ConversationReleased, ConversationResolved, ConversationTakenOver
from common.events.interactions import (
    Attachment,
    Comment,
    CommentReceived,
    Edit,
    Message,
    MessageEdited,
    MessageReceived,
    MessageUnsent,
    Referral,
    ReferralOpened,
    ReferralReceived,
    Unsend,
)
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
from common.kafka.hold import Wanted, hand
from common.merchants import Merchant
from common.mongo import CONVERSATIONS, DECISIONS, MESSAGES, USAGE, Database, database, ensure_indexes

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = Merchant(id="dar", name="Dar", account_id="1", price_link="https://shop.example/p")
WHO = {"account_id": "1", "contact_id": "5"}
STORES = {"find", "insert", "update", "findAndModify", "aggregate", "delete", "bulkWrite"}


class CommandCount(CommandListener):
    """Counts the calls that reach the server."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in STORES:
            self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to note."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to note."""


class FakeModel:
    """Answers, or fails, and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.answer: Completion | ModelFailed = Completion(Answer(reply="answer", language="en"), "m", Usage(10, 5))

    async def complete(self, messages: Any) -> Completion:
        self.calls += 1
        if isinstance(self.answer, ModelFailed):
            raise self.answer
        return self.answer


class Directory:
    """Knows one merchant."""

    async def of_account(self, account_id: str) -> Merchant | None:
        return SHOP if account_id == "1" else None

    async def by_id(self, merchant_id: str) -> Merchant | None:
        return SHOP if merchant_id == "dar" else None


class Standings:
    """How each account stands: well, until something else is noted."""

    def __init__(self) -> None:
        self.known: dict[str, Standing] = {}

    async def of(self, account_id: str) -> Standing:
        return self.known.get(account_id, Standing(account_id))

    async def note(self, standing: Standing) -> bool:
        self.known[standing.account_id] = standing
        return True


class Scene:
    """The service's handlers over a real database, with a model and a Kafka of the test's own."""

    def __init__(self, db: Database, count: CommandCount, *, history: int = 20) -> None:
        self.db, self.count = db, count
        self.clock = ManualClock(NOW)
        self.model = FakeModel()
        self.published: list[Event] = []
        self.tally = UsageTally(db)
        self.history = history
        self.standings = Standings()
        self.handlers = self.process()

    def process(self, wrap: Callable[[Any], Any] = lambda store: store) -> Handlers:
        """Return the handlers as a new process has them."""
        messages = MongoMessages(self.db)
        conversations = MongoConversations(self.db, history_length=self.history)
        metrics = AIMetrics(CollectorRegistry())
        return Handlers(
            merchants=Directory(),
            standings=self.standings,
            held_back=HeldBack(messages, conversations, MongoDecisions(self.db), self.publish, self.clock),
            notices=Notices(
                messages=messages,
                lines=conversations,
                rulings=Rulings(RuleEngine(), observer=metrics, clock=self.clock),
                announcer=Announcer(
                    decisions=MongoDecisions(self.db), spending=self.tally, observer=metrics, publish=self.publish
                ),
                observer=metrics,
                clock=self.clock,
            ),
            orchestrator=ConversationAIOrchestrator(
                messages=wrap(messages),
                conversations=wrap(conversations),
                decisions=wrap(MongoDecisions(self.db)),
                answering=InstagramAIService(self.model),
                spending=self.tally,
                observer=metrics,
                publish=self.publish,
                clock=self.clock,
            ),
            messages=messages,
            conversations=conversations,
            ownership=MongoOwnership(self.db, history_length=self.history),
            decisions=MongoDecisions(self.db),
            publish=self.publish,
            metrics=metrics,
            clock=self.clock,
            human_pause=timedelta(hours=12),
        )

    async def publish(self, events: Any) -> None:
        self.published.extend(events)

    async def handle(self, event: AnyEvent) -> int:
        """Handle an event; return how many calls of the database it took."""
        self.count.names.clear()
        await self.handlers.handle(event)
        return len(self.count.names)

    async def conversation(self) -> dict[str, Any]:
        document = await self.db[CONVERSATIONS].find_one({"_id": "1:5"})
        assert document is not None
        return document

    def texts(self) -> list[str]:
        return [event.data.action.text for event in self.published]  # type: ignore[attr-defined]


@pytest.fixture
def count() -> CommandCount:
    return CommandCount()


@pytest.fixture
async def db(mongo_url: str, count: CommandCount) -> AsyncIterator[Database]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url, tz_aware=True, event_listeners=[count])
    await ensure_indexes(database(client), owner="ai")
    yield database(client)
    await client.close()


@pytest.fixture
def scene(db: Database, count: CommandCount) -> Scene:
    return Scene(db, count)


def event(kind: Any, data: Any, id_: str, at: datetime = NOW) -> Any:
    return kind(id=id_, source="/ingest/instagram", subject="1:5", time=at, partitionkey="1:5", data=data)


def message(text: str | None = "do you have size M", mid: str = "m1", at: datetime = NOW, **more: Any) -> Any:
    return event(MessageReceived, Message(**{**WHO, "mid": mid, "text": text, **more}), f"1:msg:{mid}", at)


def comment(text: str, id_: str = "c1") -> Any:
    return event(CommentReceived, Comment(**WHO, comment_id=id_, text=text), f"1:cm:{id_}")


def outcome(kind: Any, data: Any, reply_id: str, **more: Any) -> Any:
    fields = {"merchant_id": "dar", "reply_id": reply_id, "kind": "direct_message", **WHO, **more}
    return event(kind, data(**fields), f"out_{reply_id}:{kind.__name__}")


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


class Crashing:
    """A store whose calls count on a shared clock of steps; one of them dies, before or after it took effect."""

    def __init__(self, store: Any, steps: list[int], crash_at: int, *, after: bool) -> None:
        self._store, self._steps, self._crash_at, self._after = store, steps, crash_at, after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._steps[0] += 1
            crash = self._steps[0] == self._crash_at
            if crash and not self._after:
                raise AutoReconnect("died before")
            result = await method(*args, **kwargs)
            if crash:
                raise AutoReconnect("died after")
            return result

        return call


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


async def test_a_message_that_comes_after_its_unsend_leaves_nothing_to_see(scene: Scene):
    await scene.handle(event(MessageUnsent, Unsend(**WHO, mid="m1"), "1:del:m1"))
    await scene.handle(message(None, attachments=(Attachment(type="image", url="https://cdn.example/private.jpg"),)))
    stored = await scene.db[MESSAGES].find_one({"_id": "1:msg:m1"})
    assert stored is not None
    assert (stored["unsent"], stored["text"], stored["attachments"]) == (True, "", [])


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


async def test_what_the_account_took_back_is_forgotten(scene: Scene):
    await scene.handle(message())
    await scene.handle(outcome(ReplyDelivered, Delivered, scene.published[0].id, route="graph", message_ids=("p1",)))
    assert await scene.handle(event(MessageUnsent, Unsend(**WHO, mid="p1", from_account=True), "1:del:p1")) == 1
    assert [line["text"] for line in (await scene.conversation())["recent"]] == ["do you have size M", ""]


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


class Behind:
    """A record in its lane with others behind it."""

    owned, partition = True, 0

    def __init__(self, *behind: AnyEvent) -> None:
        self._behind = behind

    def later(self, wanted: Wanted) -> bool:
        return any(map(wanted, self._behind))

    async def later_within(self, wanted: Wanted, seconds: float) -> bool:
        return self.later(wanted)


async def play(scene: Scene, *events: Any) -> list[int]:
    """Handle events that all lie in one lane; return how many calls of the database each took."""
    calls = []
    for place, one in enumerate(events):
        hand(Behind(*events[place + 1 :]))
        calls.append(await scene.handle(one))
    return calls


async def turns(scene: Scene) -> list[list[str]]:
    return [decision["covers"] async for decision in scene.db[DECISIONS].find({})]


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


async def test_what_is_taken_back_waits_for_no_answer_any_more(scene: Scene):
    first, second = message("my secret"), message("question", mid="m2")
    await play(scene, first, event(MessageUnsent, Unsend(**WHO, mid="m1"), "1:del:m1"), second)
    assert await turns(scene) == [["1:msg:m2"]]


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


async def test_what_a_person_dealt_with_is_not_answered_after_the_release_whatever_the_clocks_say(scene: Scene):
    control = Control(merchant_id="dar", by="ali", **WHO)
    await scene.handle(event(ConversationTakenOver, control, "t1", NOW - timedelta(minutes=2)))
    await scene.handle(message())
    await scene.handle(event(ConversationReleased, control, "r1", NOW - timedelta(minutes=1)))
    await scene.handle(message("and now?", mid="m2"))
    assert await turns(scene) == [["1:msg:m2"]]


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


class Edits:
    """A model during whose call the customer changes the message."""

    def __init__(self, scene: Scene, edited: Any) -> None:
        self.scene, self.edited, self.asked = scene, edited, ""

    async def complete(self, messages: Any) -> Completion:
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
        async def complete(self, messages: Any) -> Completion:
            asked.append(str(messages))
            return await super().complete(messages)

    scene.model = Noting()
    scene.handlers = scene.process()
    await play(scene, message("size M"), edit("size L", 1), message("please", mid="m2"))
    assert len(asked) == 1
    assert "size L" in asked[0]
    assert "size M" not in asked[0]
