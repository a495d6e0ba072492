"""A delivery service without Kafka, MongoDB or the internet: small classes that behave, and the real code between."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from common.breaker import BreakerMetrics, Breakers
from common.clock import ManualClock
from common.errors import Retryable
from common.events import Event
from common.events.ids import conversation_id, outcome_id
from common.events.interactions import Echo, EchoReceived
from common.events.replies import Action, DirectMessage, Reply, ReplyGenerated
from common.merchants import Merchant
from common.sealing import Sealer
from delivery.contacts import Contact, Owner
from delivery.dead_replies import DeadReplies
from delivery.echoes import EchoReader
from delivery.ledger import AHEAD, LONGEST_LIFE, MOST_ROWS, TRANSITIONS, CommentTaken, Row
from delivery.metrics import DeliveryMetrics
from delivery.observations import Observer
from delivery.operator import Notice
from delivery.outside import Outside
from delivery.pacing import Places
from delivery.patience import Patience
from delivery.reading import Reading, Shown
from delivery.reports import Reports
from delivery.resolution import Eyes
from delivery.sender import InstagramMessageSender
from delivery.sending import Refused, Sent
from delivery.sweeper import Sweeper

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ACCOUNT = "17841400000000001"
CONTACT = "1000000000000007"
CONVERSATION = conversation_id(ACCOUNT, CONTACT)
ABANDONED_AFTER = timedelta(hours=1, minutes=6)


class Crash(BaseException):
    """The process died here."""


class MemoryLedger:
    """The ledger's rules without a database: compare-and-set, unique ids, one private reply per comment."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _: None

    def _called(self, name: str) -> None:
        self.before(f"ledger.{name}")
        self.calls.append(f"ledger.{name}")

    async def insert(self, row: Row) -> Row | CommentTaken | None:
        self._called("insert")
        if row.reply_id in self.rows:
            return self.rows[row.reply_id]
        if row.private_reply_to and any(r.private_reply_to == row.private_reply_to for r in self.rows.values()):
            return CommentTaken()
        self.rows[row.reply_id] = row
        return None

    async def find(self, reply_id: str) -> Row | None:
        self._called("find")
        return self.rows.get(reply_id)

    async def put(self, row: Row, *, over: Row) -> bool:
        self._called("put")
        stored = self.rows.get(row.reply_id)
        if stored is None or (stored.state, stored.fence) != (over.state, over.fence):
            return False
        assert row.fence == over.fence + 1
        assert row.state in TRANSITIONS[over.state] or row.state == over.state
        self.rows[row.reply_id] = row
        return True

    async def discard(self, row: Row) -> bool:
        self._called("discard")
        stored = self.rows.get(row.reply_id)
        if stored is None or (stored.state, stored.fence) != (row.state, row.fence):
            return False
        del self.rows[row.reply_id]
        return True

    async def left_behind(self, before: datetime, most: int) -> list[Row]:
        self._called("left_behind")
        untold = [row for row in self.rows.values() if row.untold]
        unfinished = [row for row in self.rows.values() if not row.finished and row.at < before]
        return [*sorted(untold, key=lambda row: row.at), *sorted(unfinished, key=lambda row: row.at)][:most]

    async def around(self, conversation_id: str, at: datetime) -> list[Row]:
        self._called("around")
        return self._latest(row for row in self.rows.values() if self._is_near(row, conversation_id, at))

    async def possible_senders(
        self, conversation_id: str, account_id: str, at: datetime, message_id: str, key: str | None
    ) -> list[Row]:
        self._called("possible_senders")
        return self._latest(
            row
            for row in self.rows.values()
            if (message_id in row.message_ids and row.account_id == account_id)
            or (
                self._is_near(row, conversation_id, at)
                and (row.state == "attempting" or (key is not None and any(part.key == key for part in row.parts)))
            )
        )

    @staticmethod
    def _is_near(row: Row, conversation_id: str, at: datetime) -> bool:
        return row.conversation_id == conversation_id and at - LONGEST_LIFE <= row.at <= at + AHEAD

    @staticmethod
    def _latest(found: Iterable[Row]) -> list[Row]:
        return sorted(found, key=lambda row: (-row.at.timestamp(), row.reply_id))[:MOST_ROWS]


class MemoryContacts:
    """Contacts in a dictionary."""

    def __init__(self) -> None:
        self.known: dict[str, Contact] = {}
        self.calls: list[str] = []

    async def find(self, conversation_id: str) -> Contact | None:
        self.calls.append("contacts.find")
        return self.known.get(conversation_id)

    def _change(self, conversation_id: str, **changes: Any) -> None:
        old = self.known.get(conversation_id, Contact(conversation_id))
        self.known[conversation_id] = Contact(**{**vars(old), **changes})

    async def customer_acted(self, conversation_id: str, at: datetime) -> None:
        self.calls.append("contacts.customer_acted")
        old = self.known.get(conversation_id)
        last = max(at, old.last_customer_at) if old and old.last_customer_at else at
        self._change(conversation_id, last_customer_at=last)

    async def set_owner(
        self, conversation_id: str, owner: Owner, *, by: str, since: datetime, until: datetime | None
    ) -> None:
        self.calls.append("contacts.set_owner")
        old = self.known.get(conversation_id)
        if old is None or old.owner_since is None or old.owner_since < since:
            self._change(conversation_id, owner=owner, owner_by=by, owner_since=since, owner_until=until)

    async def remember_subscriber(self, conversation_id: str, subscriber_id: int | None) -> None:
        self.calls.append("contacts.remember_subscriber")
        self._change(conversation_id, subscriber_id=subscriber_id)


class Platform:
    """Instagram as both APIs reach it: what arrived is in `thread`, and what was asked for in `asked`."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.asked: list[tuple[Any, ...]] = []
        self.thread: list[Shown] = []
        self.replies: list[Shown] = []
        self.script: list[Any] = []
        self.subscribers: dict[str, int] = {}
        self.lookup: list[Exception] = []
        self.readable = True
        self.during: Callable[[], None] = lambda: None

    def arrives(self, text: str, place: list[Shown] | None = None, *, from_account: bool = True) -> str:
        mid = f"mid.{len(self.thread) + len(self.replies) + 1}"
        (self.thread if place is None else place).append(Shown(mid, text, from_account, self.clock.now()))
        return mid

    async def _send(self, *asked: Any, text: str, place: list[Shown] | None = None, tells_id: bool = True) -> Sent:
        """Do what the script says next: an error before anything arrives, `("arrives", error)`, or just work."""
        self.asked.append(asked)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, BaseException):
            raise step
        mid = self.arrives(text, place)
        self.during()
        if isinstance(step, tuple):
            raise step[1]
        return Sent(mid if tells_id else None)

    async def direct_message(self, token: str, account: str, contact: str, text: str) -> Sent:
        return await self._send("graph", token, account, contact, text, text=text)

    async def private_reply(self, token: str, account: str, comment: str, text: str) -> Sent:
        return await self._send("private_reply", token, account, comment, text, text=text)

    async def comment_reply(self, token: str, comment: str, text: str) -> Sent:
        return await self._send("comment_reply", token, comment, text, text=text, place=self.replies)

    async def hide_comment(self, token: str, comment: str, *, hidden: bool) -> Sent:
        self.asked.append(("hide_comment", comment, hidden))
        if self.script:
            raise self.script.pop(0)
        return Sent()

    async def typing(self, token: str, account: str, contact: str, *, on: bool) -> Sent:
        self.asked.append(("typing", contact, on))
        if self.script:
            raise self.script.pop(0)
        return Sent()

    async def send_text(self, key: str, subscriber: int, text: str, tag: str | None = None) -> Sent:
        return await self._send("manychat", key, subscriber, text, tag, text=text, tells_id=False)

    async def find_subscriber(self, key: str, field_id: int, contact: str) -> int | None:
        self.asked.append(("find_subscriber", field_id, contact))
        if self.lookup:
            raise self.lookup.pop(0)
        return self.subscribers.get(contact)

    def _read(self, place: list[Shown]) -> Reading:
        if not self.readable:
            raise Retryable("cannot be read")
        return Reading(tuple(place), complete=True)

    async def conversation(self, token: str, account: str, contact: str) -> Reading:
        return self._read(self.thread)

    async def comment_replies(self, token: str, account: str, comment: str) -> Reading:
        return self._read(self.replies)

    def sends(self) -> list[tuple[Any, ...]]:
        """What was asked for and would be seen by a customer."""
        return [one for one in self.asked if one[0] not in {"find_subscriber", "typing", "hide_comment"}]


class Barrier:
    """The read barrier as a script: what each look back says, or raises. Without a script nothing ever happened."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.says: list[bool | Exception] = []
        self.refuses: list[Exception] = []
        self.during: Callable[[], Any] = lambda: None
        self.entering: Callable[[], Any] = lambda: None

    @asynccontextmanager
    async def watching(self, conversation_id: str) -> AsyncIterator["Barrier"]:
        if self.refuses:
            raise self.refuses.pop(0)
        happened = self.entering()
        if happened is not None:
            await happened
        self.log.append("watch")
        try:
            yield self
        finally:
            self.log.append("end")

    async def undisturbed(self) -> bool:
        self.log.append("look")
        happened = self.during()
        if happened is not None:
            await happened
        said = self.says.pop(0) if self.says else True
        if isinstance(said, Exception):
            raise said
        return said


class People:
    """The merchant's people."""

    def __init__(self) -> None:
        self.told: list[Notice] = []
        self.reachable = True

    async def notify(self, merchant: Merchant, notice: Notice) -> Sent:
        if not self.reachable:
            raise Refused("operator_unreachable", "nobody took it")
        self.told.append(notice)
        return Sent()


class Directory:
    """Merchants in a list."""

    def __init__(self, *merchants: Merchant) -> None:
        self.merchants = list(merchants)

    async def of_account(self, account_id: str) -> Merchant | None:
        return next((one for one in self.merchants if one.account_id == account_id), None)

    async def by_id(self, merchant_id: str) -> Merchant | None:
        return next((one for one in self.merchants if one.id == merchant_id), None)


@dataclass
class World:
    """One delivery service and everything around it."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(NOON))
    patience: Patience = field(default_factory=Patience)
    places: int = 100
    sealer: Sealer = field(default_factory=lambda: Sealer(["k" * 32]))

    def __post_init__(self) -> None:
        self.platform = Platform(self.clock)
        self.ledger = MemoryLedger()
        self.contacts = MemoryContacts()
        self.people = People()
        self.published: list[Event] = []
        self.publish_fails: list[Exception] = []
        self.directory = Directory(self.merchant())
        self.registry = CollectorRegistry()
        self.metrics = DeliveryMetrics(self.registry)
        self.breaker_metrics = BreakerMetrics(self.registry)
        self.barrier = Barrier()
        self.numbers = 0
        self.restart()

    def merchant(self, **changes: Any) -> Merchant:
        plain = {
            "id": "shop",
            "name": "Shop",
            "account_id": ACCOUNT,
            "access_token": self.sealer.seal("graph-token"),
            "routes": ("manychat", "graph"),
        }
        return Merchant.model_validate({**plain, **changes})

    def with_manychat(self, **changes: Any) -> Merchant:
        """Give the merchant ManyChat, with the contact as subscriber 77."""
        own = {"manychat_api_key": self.sealer.seal("page:key"), "manychat_igsid_field": 5, **changes}
        merchant = self.merchant(**own)
        self.directory.merchants = [merchant]
        self.platform.subscribers[CONTACT] = 77
        return merchant

    def restart(self) -> None:
        """Start the service again: what it kept in memory is gone."""
        self.all_places = Places(self.places)
        self.graph_breakers = Breakers("graph", clock=self.clock, metrics=self.breaker_metrics)
        self.manychat_breakers = Breakers("manychat", clock=self.clock, metrics=self.breaker_metrics)
        outside = Outside(
            graph=self.platform,
            manychat=self.platform,
            operator=self.people,
            graph_breakers=self.graph_breakers,
            manychat_breakers=self.manychat_breakers,
        )
        reports = Reports(publish=self.publish, merchants=self.directory, operator=self.people, metrics=self.metrics)
        self.sender = InstagramMessageSender(
            merchants=self.directory,
            contacts=self.contacts,
            ledger=self.ledger,
            outside=outside,
            reports=reports,
            sealer=self.sealer,
            clock=self.clock,
            metrics=self.metrics,
            patience=self.patience,
            margin=timedelta(seconds=60),
            places=self.all_places,
            barrier=self.barrier,
        )
        self.sweeper = Sweeper(
            ledger=self.ledger,
            eyes=Eyes(merchants=self.directory, sealer=self.sealer, reader=outside, ledger=self.ledger),
            reports=reports,
            clock=self.clock,
            metrics=self.metrics,
            abandoned_after=ABANDONED_AFTER,
        )
        self.dead = DeadReplies(
            ledger=self.ledger,
            merchants=self.directory,
            reports=reports,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.echoes = EchoReader(
            ledger=self.ledger,
            contacts=self.contacts,
            publish=self.publish,
            clock=self.clock,
            metrics=self.metrics,
            patience=self.patience,
            app_id="4242",
        )
        self.observer = Observer(
            merchants=self.directory,
            contacts=self.contacts,
            echoes=self.echoes,
            clock=self.clock,
            metrics=self.metrics,
            patience=self.patience,
        )

    def places_left(self) -> int:
        """Return how many places the Graph API's route has left."""
        return self.all_places._free["graph"]._value

    async def publish(self, events: Sequence[Event]) -> None:
        self.ledger.before("publish")
        if self.publish_fails:
            raise self.publish_fails.pop(0)
        self.published.extend(events)

    def reply(self, action: Action | None = None, **changes: Any) -> ReplyGenerated:
        """Return a reply to a customer who wrote a second ago."""
        self.numbers += 1
        own = {
            "reply_id": f"rep_{self.numbers}",
            "decision_id": f"dec_{self.numbers}",
            "merchant_id": "shop",
            "account_id": ACCOUNT,
            "contact_id": CONTACT,
            "origin": "model",
            "action": action or DirectMessage(text=f"Answer {self.numbers}"),
            "in_reply_to": f"{ACCOUNT}:msg:in.{self.numbers}",
            "customer_acted_at": self.clock.now() - timedelta(seconds=1),
            "received_at_ms": int(self.clock.now().timestamp() * 1000) - 900,
        }
        at = changes.pop("time", self.clock.now())
        return ReplyGenerated(
            id=f"evt_{self.numbers}",
            source="/ai",
            subject=CONVERSATION,
            time=at,
            partitionkey=CONVERSATION,
            data=Reply.model_validate({**own, **changes}),
        )

    def echo(self, mid: str, text: str | None, **changes: Any) -> EchoReceived:
        """Return the echo of a message of the account."""
        at = changes.pop("at", self.clock.now())
        data = Echo(account_id=ACCOUNT, contact_id=CONTACT, mid=mid, text=text, **changes)
        return EchoReceived(
            id=f"{ACCOUNT}:msg:{mid}",
            source="/ingest/instagram",
            subject=CONVERSATION,
            time=at,
            partitionkey=CONVERSATION,
            data=data,
        )

    async def deliver_until_done(self, event: ReplyGenerated, *, most: int = 200) -> int:
        """Deliver as a lane would, waiting as long as it is asked to; return how often it was tried."""
        for attempt in range(1, most + 1):
            try:
                await self.sender.deliver(event)
            except Retryable as wait:
                self.clock.advance(timedelta(seconds=wait.after if wait.after is not None else 0.5))
            else:
                return attempt
        raise AssertionError("the reply never came to an end")

    def outcome(self, event: ReplyGenerated, outcome: str) -> list[Event]:
        """Return the published outcomes of that kind."""
        return [one for one in self.published if one.id == outcome_id(event.data.reply_id, outcome)]

    def kinds(self) -> list[str]:
        """Return the last part of each published outcome's type, in order."""
        return [one.type.split(".")[-2] for one in self.published]

    def row(self, event: ReplyGenerated) -> Row:
        return self.ledger.rows[event.data.reply_id]

    def value(self, name: str, **labels: str) -> float:
        """Return a metric's value."""
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def world() -> World:
    """One delivery service and everything around it."""
    return World()


@pytest.fixture(scope="session")
def make_world() -> type[World]:
    """The class itself, for tests that need a fresh world for each example."""
    return World


@pytest.fixture(scope="session")
def crash() -> type[Crash]:
    """The exception that stands for SIGKILL."""
    return Crash
