"""A delivery service without Kafka, MongoDB or the internet: small classes that behave, and the real code between."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from common.accounts import Standing, is_news, replaces
from common.breaker import BreakerMetrics, Breakers
from common.clock import ManualClock, Monotonic
from common.errors import Retryable
from common.events import Event
from common.events.control import LogPosition
from common.events.ids import USERNAME_CONTACT, conversation_id, outcome_id
from common.events.interactions import Echo, EchoReceived
from common.events.replies import (
    Action,
    Buttons,
    Cards,
    CommentReply,
    DirectMessage,
    Flow,
    Heart,
    HideComment,
    MediaMessage,
    MentionReply,
    PrivateReply,
    Reply,
    ReplyGenerated,
    SharedPost,
    Typing,
)
from common.merchants import Merchant
from common.sealing import Sealer
from delivery.consequences import APIS, Consequences
from delivery.contacts import Contact, Owner
from delivery.dead_replies import DeadReplies
from delivery.echoes import EchoReader
from delivery.first_seen import FirstSeen
from delivery.ledger import (
    AHEAD,
    FLOW,
    IN_PUBLIC,
    IN_THE_THREAD,
    LONGEST_LIFE,
    MOST_ROWS,
    TRANSITIONS,
    CommentTaken,
    Row,
    only_waits,
)
from delivery.message_lookup import MessageLookup
from delivery.metrics import DeliveryMetrics, PaceMetrics
from delivery.mongo import MAY_HAVE_ARRIVED
from delivery.observations import Observer
from delivery.own_comments import OwnComments
from delivery.pace.pacing import pacing
from delivery.pace.pauses import PauseMetrics, Pauses
from delivery.pace.rate_limits import NAMES, Limit, Limits
from delivery.patience import Patience
from delivery.platforms.calls import look_last
from delivery.platforms.graph_requests import NORMAL, Manner
from delivery.platforms.operator import Notice
from delivery.platforms.outside import Outside
from delivery.platforms.reading import Reading, ReadMessage, Shown
from delivery.platforms.sending import Refused, Sent
from delivery.read_receipts import ReadReceipts
from delivery.reports import Reports
from delivery.resolution import Eyes
from delivery.rules.opt_ins import MOST_KEPT, OptInToken
from delivery.sender import InstagramMessageSender
from delivery.stopping import StopMetrics, Stops
from delivery.sweeper import Sweeper

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ACCOUNT = "17841400000000001"
CONTACT = "1000000000000007"
CONVERSATION = conversation_id(ACCOUNT, CONTACT)
ABANDONED_AFTER = timedelta(hours=1, minutes=6)


class Crash(BaseException):
    """The process died here."""


class MemoryLedger:
    """The ledger's rules without a database: compare-and-set, unique ids, one reply of a kind per comment."""

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
        for way in ("private_reply_to", "public_reply_to"):
            comment = getattr(row, way)
            if comment and any(getattr(one, way) == comment for one in self.rows.values()):
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

    async def left_behind(self, before: datetime, most: int, *, waiting_before: datetime) -> list[Row]:
        self._called("left_behind")
        untold = [row for row in self.rows.values() if row.untold]
        unfinished = [
            row
            for row in self.rows.values()
            if not row.finished and row.at < (waiting_before if only_waits(row) else before)
        ]
        return [*sorted(untold, key=lambda row: row.at), *sorted(unfinished, key=lambda row: row.at)][:most]

    async def around(self, conversation_id: str, at: datetime) -> list[Row]:
        self._called("around")
        return self._latest(row for row in self.rows.values() if self._is_near(row, conversation_id, at))

    async def possible_senders(
        self, conversation_id: str, account_id: str, at: datetime, message_id: str, keys: Sequence[str]
    ) -> list[Row]:
        self._called("possible_senders")
        return self._latest(
            row
            for row in self.rows.values()
            if (message_id in row.message_ids and row.account_id == account_id)
            or (
                self._is_near(row, conversation_id, at)
                and (row.state == "attempting" or row.kind == FLOW or any(part.key in keys for part in row.parts))
            )
        )

    async def private_replies_by_username(
        self, account_id: str, at: datetime, message_id: str, keys: Sequence[str]
    ) -> list[Row]:
        self._called("private_replies_by_username")
        return self._latest(
            row
            for row in self.rows.values()
            if row.account_id == account_id
            and (
                message_id in row.message_ids
                or (
                    row.state in MAY_HAVE_ARRIVED
                    and row.kind == "private_reply"
                    and (row.contact_id or "").startswith(USERNAME_CONTACT)
                    and any(part.key in keys for part in row.parts)
                    and at - LONGEST_LIFE <= row.at <= at + AHEAD
                )
            )
        )

    async def public_replies_under_way(self, account_id: str, key: str) -> list[Row]:
        self._called("public_replies_under_way")
        return self._latest(
            row
            for row in self.rows.values()
            if row.account_id == account_id
            and row.state in {"attempting", "unknown"}
            and row.kind in IN_PUBLIC
            and any(part.key == key for part in row.parts)
        )

    async def public_replies_below(
        self, account_id: str, comment_id: str, at: datetime, key: str, message_ids: Sequence[str]
    ) -> list[Row]:
        self._called("public_replies_below")
        return self._latest(
            row
            for row in self.rows.values()
            if row.account_id == account_id
            and (
                set(message_ids) & set(row.message_ids)
                or (
                    row.state in MAY_HAVE_ARRIVED
                    and row.public_reply_under == comment_id
                    and any(part.key == key for part in row.parts)
                    and at - LONGEST_LIFE <= row.at <= at + AHEAD
                )
            )
        )

    async def mark_seen(self, conversation_id: str, *, upto: datetime, at: datetime) -> None:
        self._called("mark_seen")
        for row in list(self.rows.values()):
            sent = row.state == "delivered" and all(part.attempted_at <= upto for part in row.parts)
            ours = row.conversation_id == conversation_id and row.kind in IN_THE_THREAD and row.at <= upto
            if sent and ours and (row.seen_at is None or row.seen_at > at):
                self.rows[row.reply_id] = replace(row, seen_at=at, fence=row.fence + 1)

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
        self.opted_out_at: dict[str, datetime] = {}
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

    async def remember_subscriber(
        self, conversation_id: str, subscriber_id: int | None, *, confirmed_at: datetime | None = None
    ) -> None:
        self.calls.append("contacts.remember_subscriber")
        self._change(conversation_id, subscriber_id=subscriber_id, subscriber_at=confirmed_at)

    async def met_subscriber(self, conversation_id: str, subscriber_id: int) -> None:
        self.calls.append("contacts.met_subscriber")
        known = self.known.get(conversation_id)
        if known is None or known.subscriber_id != subscriber_id:
            self._change(conversation_id, subscriber_id=subscriber_id, subscriber_at=None)

    async def is_the_account_itself(self, conversation_id: str) -> None:
        self.calls.append("contacts.is_the_account_itself")
        self._change(conversation_id, is_self=True)

    def _opt_ins(self, conversation_id: str) -> dict[str, OptInToken]:
        known = self.known.get(conversation_id)
        return {one.token: one for one in known.opt_ins} if known else {}

    async def opted_in(self, conversation_id: str, token: OptInToken) -> None:
        self.calls.append("contacts.opted_in")
        kept = self._opt_ins(conversation_id)
        old, out_at = kept.get(token.token), self.opted_out_at.get(conversation_id)
        if (old is None or old.given_at < token.given_at) and (out_at is None or out_at < token.given_at):
            latest = [*(one for one in kept.values() if one is not old), token][-MOST_KEPT:]
            self._change(conversation_id, opt_ins=tuple(latest))

    async def opted_out(self, conversation_id: str, at: datetime) -> None:
        self.calls.append("contacts.opted_out")
        self.opted_out_at[conversation_id] = max(at, self.opted_out_at.get(conversation_id, at))
        kept = self._opt_ins(conversation_id).values()
        self._change(conversation_id, opt_ins=tuple(one for one in kept if one.given_at > at))

    async def use_opt_in(self, conversation_id: str, token: str, reply_id: str) -> bool:
        self.calls.append("contacts.use_opt_in")
        kept = self._opt_ins(conversation_id)
        if token not in kept or kept[token].used_by not in {None, reply_id}:
            return False
        kept[token] = replace(kept[token], used_by=reply_id)
        self._change(conversation_id, opt_ins=tuple(kept.values()))
        return True

    async def give_back_opt_in(self, conversation_id: str, reply_id: str) -> None:
        self.calls.append("contacts.give_back_opt_in")
        kept = self._opt_ins(conversation_id).values()
        free = tuple(replace(one, used_by=None) if one.used_by == reply_id else one for one in kept)
        if conversation_id in self.known:
            self._change(conversation_id, opt_ins=free)

    async def comment_hidden(self, conversation_id: str, comment_id: str, *, hidden: bool) -> None:
        self.calls.append("contacts.comment_hidden")
        known = self.known.get(conversation_id, Contact(conversation_id)).hidden_comments
        self._change(conversation_id, hidden_comments=known | {comment_id} if hidden else known - {comment_id})


def kinds_of(action: Action) -> tuple[str, ...]:
    """Return the types of the attachments under which the platform shows an action."""
    match action:
        case MediaMessage(media=media, urls=urls):
            return (media,) * len(urls)
        case Heart():
            return ("like_heart",)
        case SharedPost():
            return ("ig_post",)
    return ("template",)


class Platform:
    """Instagram as both APIs reach it: what arrived is in `thread`, and what was asked for in `asked`."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.asked: list[tuple[Any, ...]] = []
        self.thread: list[Shown] = []
        self.replies: list[Shown] = []
        self.elsewhere: list[Shown] = []
        self.manners: list[Manner] = []
        self.read_below: list[str] = []
        self.script: list[Any] = []
        self.subscribers: dict[str, int] = {}
        self.lookup: list[Exception] = []
        self.readable = True
        self.messages: dict[str, ReadMessage | Exception] = {}
        self.during: Callable[[], None] = lambda: None
        self.connecting: Callable[[], Any] | None = None

    def arrives(
        self,
        text: str,
        place: list[Shown] | None = None,
        *,
        from_account: bool = True,
        kinds: tuple[str, ...] = (),
    ) -> str:
        mid = f"mid.{len(self.thread) + len(self.replies) + len(self.elsewhere) + 1}"
        shown = Shown(mid, text, from_account, self.clock.now(), kinds)
        (self.thread if place is None else place).append(shown)
        return mid

    async def message(self, token: str, mid: str) -> ReadMessage:
        self.asked.append(("read_message", token, mid))
        found = self.messages.get(mid, Refused("not_accepted"))
        if isinstance(found, Exception):
            raise found
        return found

    async def send(self, token: str, account: str, contact: str, action: Action, manner: Manner = NORMAL) -> Sent:
        self.manners.append(manner)
        match action:
            case DirectMessage(text=text):
                return await self.direct_message(token, account, contact, text)
            case PrivateReply(comment_id=comment, text=text):
                return await self.private_reply(token, account, comment, text)
            case CommentReply(text=text):
                return await self.comment_reply(token, action.under, text)
            case HideComment(comment_id=comment, hidden=hidden):
                return await self.hide_comment(token, comment, hidden=hidden)
            case Typing(on=on):
                return await self.typing(token, account, contact, on=on)
            case MentionReply(text=text):
                return await self._send(action.kind, token, account, action, text=text, place=self.elsewhere)
            case MediaMessage() | Heart() | SharedPost() | Cards() | Buttons():
                return await self._send(action.kind, token, account, contact, action, text="", kinds=kinds_of(action))
        return self._do(action.kind, token, account, contact, action)

    async def send_to_subscriber(self, key: str, subscriber: int, action: Action, tag: str | None = None) -> Sent:
        match action:
            case DirectMessage(text=text):
                return await self.send_text(key, subscriber, text, tag)
            case MediaMessage() | Cards() | Buttons():
                asked = ("manychat", key, subscriber, action, tag)
                return await self._send(*asked, text="", kinds=kinds_of(action), tells_id=False)
            case Flow(flow_ns=flow):
                return await self._send("manychat", key, subscriber, flow, tag, text="from the flow", tells_id=False)
        return self._do("manychat", key, subscriber, action)

    async def set_field(self, key: str, subscriber: int, field_id: int, value: str) -> None:
        self._do("set_field", key, subscriber, field_id, value)

    def _do(self, *asked: Any) -> Sent:
        self.asked.append(asked)
        if self.script:
            raise self.script.pop(0)
        return Sent()

    async def _send(
        self,
        *asked: Any,
        text: str,
        place: list[Shown] | None = None,
        tells_id: bool = True,
        kinds: tuple[str, ...] = (),
    ) -> Sent:
        """Do what the script says next: an error before anything arrives, `("arrives", error)`, or just work."""
        if self.connecting is not None:
            self.connecting()
        await look_last()
        self.asked.append(asked)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, BaseException):
            raise step
        mid = self.arrives(text, place, kinds=kinds)
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
        question = Shown("in.0", "Hello?", from_account=False, at=self.clock.now() - timedelta(hours=1))
        return self._read([question, *self.thread])

    async def comment_replies(self, token: str, account: str, comment: str) -> Reading:
        self.read_below.append(comment)
        return self._read(self.replies)

    def sends(self) -> list[tuple[Any, ...]]:
        """What was asked for and would be seen by a customer."""
        unseen = {"find_subscriber", "typing", "hide_comment", "set_field"}
        return [one for one in self.asked if one[0] not in unseen]


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


class MemoryStandings:
    """Standings in a dictionary."""

    def __init__(self) -> None:
        self.known: dict[str, Standing] = {}
        self.fails: list[Exception] = []

    async def of(self, account_id: str) -> Standing:
        return self.known.get(account_id, Standing(account_id))

    async def note_news(self, standing: Standing) -> bool:
        if self.fails:
            raise self.fails.pop(0)
        known = self.known.get(standing.account_id)
        if known is not None and not (replaces(standing, known) and is_news(standing, known)):
            return False
        connected_at = known.connected_at if known is not None else None
        self.known[standing.account_id] = replace(standing, connected_at=connected_at)
        return True

    def connect(self, account_id: str, at: datetime) -> None:
        self.known[account_id] = Standing(account_id, since=at, connected_at=at)


@dataclass
class World:
    """One delivery service and everything around it."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(NOON))
    patience: Patience = field(default_factory=Patience)
    places: int = 100
    limits: Limits = field(default_factory=lambda: dict.fromkeys(NAMES, Limit(1_000_000, 1)))
    sealer: Sealer = field(default_factory=lambda: Sealer(["k" * 32]))

    def __post_init__(self) -> None:
        self.platform = Platform(self.clock)
        self.ledger = MemoryLedger()
        self.contacts = MemoryContacts()
        self.people = People()
        self.published: list[Event] = []
        self.publish_fails: list[Exception] = []
        self.appends_before_failing: list[Exception] = []
        self.directory = Directory(self.merchant())
        self.registry = CollectorRegistry()
        self.metrics = DeliveryMetrics(self.registry)
        self.breaker_metrics = BreakerMetrics(self.registry)
        self.pause_metrics = PauseMetrics(self.registry)
        self.stop_metrics = StopMetrics(self.registry)
        self.standings = MemoryStandings()
        self.barrier = Barrier()
        self.numbers = 0
        self.log_ends: dict[str, LogPosition] = {}
        self.restart()

    def merchant(self, **changes: Any) -> Merchant:
        plain = {
            "id": "shop",
            "name": "Shop",
            "account_id": ACCOUNT,
            "username": "shop.in.tests",
            "access_token": self.sealer.seal("graph-token", changes.get("account_id", ACCOUNT), "access_token"),
            "routes": ("manychat", "graph"),
        }
        return Merchant.model_validate({**plain, **changes})

    def with_manychat(self, **changes: Any) -> Merchant:
        """Give the merchant ManyChat, with the contact as subscriber 77."""
        own = {
            "manychat_api_key": self.sealer.seal("page:key", ACCOUNT, "manychat_api_key"),
            "manychat_igsid_field": 5,
            **changes,
        }
        merchant = self.merchant(**own)
        self.directory.merchants = [merchant]
        self.platform.subscribers[CONTACT] = 77
        return merchant

    def restart(self, clock: Any = None) -> None:
        """Start the service again, on a machine with another `clock` if one is given: its memory is gone."""
        clock = clock or self.clock
        self.first_seen = FirstSeen(lambda: Monotonic(self.clock.now().timestamp()))
        self.pacing = pacing(self.limits, places=self.places, metrics=PaceMetrics(CollectorRegistry()))
        self.pauses = Pauses(clock=clock, metrics=self.pause_metrics, apis=APIS)
        self.stops = Stops(
            standings=self.standings,
            merchants=self.directory,
            operator=self.people,
            clock=clock,
            metrics=self.stop_metrics,
        )
        self.graph_breakers = Breakers("graph", clock=clock, metrics=self.breaker_metrics)
        self.manychat_breakers = Breakers("manychat", clock=clock, metrics=self.breaker_metrics)
        outside = self.outside = Outside(
            graph=self.platform,
            manychat=self.platform,
            operator=self.people,
            graph_breakers=self.graph_breakers,
            manychat_breakers=self.manychat_breakers,
            consequences=Consequences(pauses=self.pauses, stops=self.stops, clock=clock, metrics=self.metrics),
            pacing=self.pacing,
        )
        reports = Reports(publish=self.publish, merchants=self.directory, operator=self.people, metrics=self.metrics)
        self.sender = InstagramMessageSender(
            merchants=self.directory,
            contacts=self.contacts,
            ledger=self.ledger,
            outside=outside,
            reports=reports,
            sealer=self.sealer,
            clock=clock,
            metrics=self.metrics,
            patience=self.patience,
            margin=timedelta(seconds=60),
            pacing=self.pacing,
            barrier=self.barrier,
            stops=self.stops,
            first_seen=self.first_seen,
        )
        self.sweeper = Sweeper(
            ledger=self.ledger,
            contacts=self.contacts,
            eyes=Eyes(merchants=self.directory, sealer=self.sealer, reader=outside, ledger=self.ledger),
            reports=reports,
            clock=clock,
            metrics=self.metrics,
            abandoned_after=ABANDONED_AFTER,
        )
        self.dead = DeadReplies(
            ledger=self.ledger,
            contacts=self.contacts,
            merchants=self.directory,
            reports=reports,
            clock=clock,
            metrics=self.metrics,
        )
        self.echoes = EchoReader(
            ledger=self.ledger,
            contacts=self.contacts,
            publish=self.publish,
            clock=clock,
            metrics=self.metrics,
            patience=self.patience,
            first_seen=self.first_seen,
            app_id="4242",
        )
        self.observer = Observer(
            merchants=self.directory,
            contacts=self.contacts,
            echoes=self.echoes,
            own_comments=OwnComments(ledger=self.ledger, clock=clock, metrics=self.metrics),
            reads=ReadReceipts(ledger=self.ledger, patience=self.patience, first_seen=self.first_seen),
            lookup=MessageLookup(
                reader=outside,
                sealer=self.sealer,
                publish=self.publish,
                metrics=self.metrics,
                ticks=lambda: Monotonic(self.clock.now().timestamp()),
            ),
            reports=reports,
            stops=self.stops,
            clock=clock,
            metrics=self.metrics,
            patience=self.patience,
        )

    async def log_end(self, conversation_id: str) -> LogPosition | None:
        """Return how far the log of the conversation's interactions reaches."""
        return self.log_ends.get(conversation_id)

    def places_left(self) -> int:
        """Return how many places the Graph API's route has left."""
        return self.pacing._places.free("graph")

    async def publish(self, events: Sequence[Event]) -> None:
        self.ledger.before("publish")
        if self.publish_fails:
            raise self.publish_fails.pop(0)
        self.published.extend(events)
        if self.appends_before_failing:
            raise self.appends_before_failing.pop(0)

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
