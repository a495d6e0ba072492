"""The ai service on a real database, with a model and a directory that a test decides about."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry
from pymongo.errors import AutoReconnect
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from ai.announcing import Announcer
from ai.answer import Answer
from ai.completion import Completion, ModelFailed, Usage
from ai.conversations import MongoConversations
from ai.decisions import MongoDecisions
from ai.handlers import Handlers
from ai.held_back import HeldBack
from ai.instagram_ai import InstagramAIService
from ai.messages import MongoMessages
from ai.metrics import AIMetrics
from ai.notices import Notices
from ai.orchestrator import ConversationAIOrchestrator
from ai.ownership import MongoOwnership
from ai.rules import RuleEngine
from ai.ruling import Rulings
from ai.unreadable import Unreadable
from ai.usage import UsageTally
from common.accounts import Standing
from common.clock import ManualClock
from common.events import AnyEvent, Event
from common.events.interactions import (
    Comment,
    CommentReceived,
    Message,
    MessageReceived,
)
from common.kafka.hold import Wanted, hand
from common.merchants import Merchant
from common.mongo import CONVERSATIONS, DECISIONS, Database

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

    async def complete(self, messages: Any, *, merchant: str = "") -> Completion:
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
            unreadable=Unreadable(
                conversations=conversations,
                rulings=Rulings(RuleEngine(), observer=metrics, clock=self.clock),
                announcer=Announcer(
                    decisions=MongoDecisions(self.db), spending=self.tally, observer=metrics, publish=self.publish
                ),
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


def event(kind: Any, data: Any, id_: str, at: datetime = NOW) -> Any:
    return kind(id=id_, source="/ingest/instagram", subject="1:5", time=at, partitionkey="1:5", data=data)


def message(text: str | None = "do you have size M", mid: str = "m1", at: datetime = NOW, **more: Any) -> Any:
    return event(MessageReceived, Message(**{**WHO, "mid": mid, "text": text, **more}), f"1:msg:{mid}", at)


def comment(text: str, id_: str = "c1") -> Any:
    return event(CommentReceived, Comment(**WHO, comment_id=id_, text=text), f"1:cm:{id_}")


def outcome(kind: Any, data: Any, reply_id: str, **more: Any) -> Any:
    fields = {"merchant_id": "dar", "reply_id": reply_id, "kind": "direct_message", **WHO, **more}
    return event(kind, data(**fields), f"out_{reply_id}:{kind.__name__}")


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
