"""Who and what exists in the sandbox: accounts, people, comments, messages, and each conversation as it went.

Anybody and any comment somebody asks for exists, because webhooks may reach Jawab without passing through here. What
the sandbox was told (through the control API or a webhook sent through it) it knows better, and then the platform's
rules apply: the 24-hour window, one private reply per comment, no reply to a hidden comment.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from devkit.ids import Ids, username_of
from devkit.sandbox.bounded import Bounded

WINDOW_SECONDS = 24 * 3600
HUMAN_WINDOW_SECONDS = 7 * 24 * 3600
PRIVATE_REPLY_SECONDS = 7 * 24 * 3600
LINES_A_CONVERSATION = 500

SUBSCRIBER_PRIME = 100_000_000_000_000_003
SUBSCRIBER_FACTOR = 48_271_000_003
"""A multiplication modulo a prime above every IGSID: its own inverse way back finds the person of a subscriber."""

ALL_FIELDS = (
    "comments",
    "live_comments",
    "message_echoes",
    "message_reactions",
    "messages",
    "messaging_handover",
    "messaging_optins",
    "messaging_postbacks",
    "messaging_referral",
    "messaging_seen",
    "standby",
)


ALL_PERMISSIONS = (
    "instagram_business_basic",
    "instagram_business_manage_comments",
    "instagram_business_manage_messages",
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What is known of one Graph token: when it was made and ends, in seconds since 1970, and whether it lasts long."""

    issued: float
    expires: float
    long: bool


@dataclass(slots=True)
class Account:
    """One professional account and how it is reached."""

    id: str
    username: str
    page_id: str = ""
    tokens: set[str] = field(default_factory=set)
    """The Graph tokens it answers to; none means any."""
    subscribed_fields: list[str] = field(default_factory=lambda: list(ALL_FIELDS))
    app_scoped_id: str = ""
    """How callbacks name who connected it; another id than the account's."""
    comment_author_id: str = ""
    """The id under which its own comments are listed: an Instagram-scoped one, not the account's."""
    account_type: str = "BUSINESS"
    permissions: set[str] = field(default_factory=lambda: set(ALL_PERMISSIONS))
    grants: dict[str, Grant] = field(default_factory=dict)
    """The tokens whose ages are known."""
    authorized: bool = True
    """Whether the app is still installed: without it no token opens anything."""

    def __post_init__(self) -> None:
        self.app_scoped_id = self.app_scoped_id or f"9{self.id[1:]}"
        self.comment_author_id = self.comment_author_id or f"8{self.id[1:]}"


@dataclass(slots=True)
class Person:
    """One customer as one account knows them. `last_message` is in seconds since 1970."""

    account: str
    id: str
    username: str
    name: str
    last_message: float | None = None
    commented: bool = False
    subscriber: bool = True
    linked: bool = True
    """Whether ManyChat's custom field holds their Instagram-scoped id already."""
    unavailable: bool = False
    missing: bool = False
    owned_by_other_app: bool = False
    profile_error: int | None = None
    email: str = ""
    phone: str = ""
    custom_fields: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)

    def window_is_open(self, now: float, seconds: float = WINDOW_SECONDS) -> bool:
        """Say whether they may be written to: unknown people may, those who only ever commented may not."""
        if self.last_message is None:
            return not self.commented
        return now - self.last_message < seconds

    def told(self) -> dict[str, Any]:
        """Return the person as JSON would have it."""
        return {**asdict(self), "subscriber_id": subscriber_of(self.id)}


@dataclass(slots=True)
class Comment:
    """One comment; `created` is in seconds since 1970, None when only somebody's call tells of it."""

    id: str
    account: str
    contact: str
    text: str = ""
    created: float | None = None
    product: str = "FEED"
    media: str = ""
    parent: str = ""
    hidden: bool = False
    deleted: bool = False
    privately_replied: bool = False
    replies: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing said or done in a conversation. `number` is the world's own count, rising."""

    number: int
    time: float
    direction: str
    """``in`` from the customer, ``out`` to them."""
    route: str
    """``webhook``, ``graph``, ``manychat``, ``messenger`` (a ManyChat send without its type) or ``app``."""
    kind: str
    text: str
    id: str = ""
    comment: str = ""


@dataclass(slots=True)
class Conversation:
    """One account and one person, in order."""

    account: str
    contact: str
    version: int = 0
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=LINES_A_CONVERSATION))


@dataclass(frozen=True, slots=True)
class Message:
    """A direct message that can be read back; `created` is in seconds since 1970."""

    id: str
    account: str
    contact: str
    outgoing: bool
    text: str
    created: float
    kinds: tuple[str, ...] = ()
    """The types of its attachments; none for plain text."""


def subscriber_of(contact: str) -> int:
    """Return the ManyChat subscriber id of a person, always the same one and never equal to the IGSID."""
    if contact.isdigit() and 0 < int(contact) < SUBSCRIBER_PRIME:
        return int(contact) * SUBSCRIBER_FACTOR % SUBSCRIBER_PRIME
    return SUBSCRIBER_PRIME + int.from_bytes(hashlib.sha256(contact.encode()).digest()[:6], "big")


def contact_of(subscriber: int) -> str | None:
    """Return the IGSID whose subscriber this is, or None for ids that no numeric IGSID has."""
    if not 0 < subscriber < SUBSCRIBER_PRIME:
        return None
    return str(subscriber * pow(SUBSCRIBER_FACTOR, -1, SUBSCRIBER_PRIME) % SUBSCRIBER_PRIME)


def name_of(username: str) -> str:
    """Return a full name that goes with a user name."""
    return username.strip("0123456789").replace("_", " ").replace(".", " ").title()


class World:
    """Everything that exists, and the rules for finding it. Bounded: the oldest is forgotten first."""

    def __init__(
        self,
        *,
        account: Account,
        ids: Ids,
        now: Callable[[], float] = time.time,
        app_secret: str = "",
    ) -> None:
        self.ids = ids
        self.now = now
        self.app_secret = app_secret
        self.default_account = account.id
        self.accounts: Bounded[str, Account] = Bounded(10_000)
        self.accounts[account.id] = account
        self.people: Bounded[tuple[str, str], Person] = Bounded(100_000)
        self.comments: Bounded[str, Comment] = Bounded(50_000)
        self.messages: Bounded[str, Message] = Bounded(50_000)
        self.conversations: Bounded[tuple[str, str], Conversation] = Bounded(20_000)
        self.revoked: Bounded[str, bool] = Bounded(10_000)
        """Tokens that opened an account once; any other one that nobody told of opens the sandbox's own."""
        self.version = 0
        self._threads: Bounded[str, tuple[str, str]] = Bounded(20_000)
        self._account_of: Bounded[str, str] = Bounded(100_000)
        self._contact_of: Bounded[int, str] = Bounded(100_000)

    # Finding

    def account(self, id_: str) -> Account:
        """Return the account, which exists if somebody asks for it."""
        account = self.accounts.get(id_)
        if account is None:
            account = self.accounts[id_] = Account(id_, username_of(id_))
        return account

    def account_by_token(self, token: str) -> Account | None:
        """Return the account this Graph token was registered for, or None."""
        return next((account for account in self.accounts.values() if token in account.tokens), None)

    def replace_tokens(self, account: Account, tokens: Iterable[str]) -> None:
        """Let these tokens open this account and no other; what opened it until now opens nothing any more."""
        former, account.tokens = account.tokens, set(tokens)
        for token in former - account.tokens:
            self.revoked[token] = True
        for token in account.tokens:
            self.revoked.pop(token, None)

    def account_by_page(self, page: str) -> Account | None:
        """Return the account of this ManyChat page, or None."""
        return next((account for account in self.accounts.values() if account.page_id == page), None)

    def account_of(self, contact: str) -> str:
        """Return the account this person last had to do with, else the sandbox's own."""
        return self._account_of.get(contact, self.default_account)

    def person(self, account: str, contact: str) -> Person:
        """Return the person, who exists if somebody asks for them."""
        person = self.people.get((account, contact))
        if person is None:
            username = username_of(contact)
            person = Person(account, contact, username, name_of(username))
            self.people[account, contact] = person
            self._account_of[contact] = account
            self._contact_of[subscriber_of(contact)] = contact
        return person

    def person_by_subscriber(self, subscriber: int, account: str = "") -> Person | None:
        """Return the person behind a subscriber id, or None where no person can be."""
        contact = self.contact_by_subscriber(subscriber)
        if contact is None:
            return None
        return self.person(account or self.account_of(contact), contact)

    def contact_by_subscriber(self, subscriber: int) -> str | None:
        """Return the IGSID behind a subscriber id, or None where no person can be."""
        return self._contact_of.get(subscriber) or contact_of(subscriber)

    def comment(self, id_: str, account: str) -> Comment:
        """Return the comment; one nobody told of was written by somebody its id decides."""
        comment = self.comments.get(id_)
        if comment is None:
            digest = int.from_bytes(hashlib.sha256(id_.encode()).digest()[:8], "big")
            comment = Comment(id_, account, str(10**15 + digest % (9 * 10**15)))
            self.comments[id_] = comment
        return comment

    def thread_of(self, account: str, contact: str) -> str:
        """Return the id of their conversation in the Conversations API."""
        digest = hashlib.sha256(f"{account}:{contact}".encode()).hexdigest()
        return f"aWdfZAG06{digest[:40]}ZD"

    def conversation_by_thread(self, thread: str) -> Conversation | None:
        """Return the conversation of such an id, or None."""
        key = self._threads.get(thread)
        return None if key is None else self.conversations.get(key)

    def messages_of(self, account: str, contact: str, limit: int = 20) -> list[Message]:
        """Return their newest messages, newest first; the platform gives twenty at most."""
        conversation = self.conversations.get((account, contact))
        if conversation is None:
            return []
        found = (self.messages.get(line.id) for line in reversed(conversation.lines) if line.id)
        return [message for message in found if message is not None][:limit]

    # Happening

    def receive(self, account: str, contact: str, kind: str, text: str, *, id_: str = "", at: float) -> None:
        """Note a direct message from a customer; it opens their window."""
        person = self.person(account, contact)
        person.last_message = max(person.last_message or 0.0, at)
        self._account_of[contact] = account
        self.add_line(account, contact, direction="in", route="webhook", kind=kind, text=text, id_=id_)
        if id_:
            self.messages[id_] = Message(id_, account, contact, outgoing=False, text=text, created=at)

    def receive_comment(self, comment: Comment) -> None:
        """Note a comment, by a customer or by the account itself."""
        self.comments[comment.id] = comment
        if comment.contact != comment.account:
            self.person(comment.account, comment.contact).commented = True
            self._account_of[comment.contact] = comment.account
            self.add_line(
                comment.account,
                comment.contact,
                direction="in",
                route="webhook",
                kind="comment",
                text=comment.text,
                id_=comment.id,
            )

    def deliver(
        self, person: Person, *, route: str, kind: str, text: str, comment: str = "", kinds: Sequence[str] = ()
    ) -> Message:
        """Note a message that reached a customer, and return it with its new id."""
        message = Message(
            self.ids.message(person.account), person.account, person.id, outgoing=True, text=text,
            created=self.now(), kinds=tuple(kinds),
        )  # fmt: skip
        self.messages[message.id] = message
        self.add_line(
            person.account, person.id, direction="out", route=route, kind=kind, text=text, id_=message.id,
            comment=comment,
        )  # fmt: skip
        return message

    def add_line(
        self,
        account: str,
        contact: str,
        *,
        direction: str,
        route: str,
        kind: str,
        text: str,
        id_: str = "",
        comment: str = "",
    ) -> None:
        """Write one line into a conversation."""
        key = (account, contact)
        conversation = self.conversations.get(key)
        if conversation is None:
            conversation = self.conversations[key] = Conversation(account, contact)
            self._threads[self.thread_of(account, contact)] = key
        self.version += 1
        conversation.version = self.version
        conversation.lines.append(Line(self.version, self.now(), direction, route, kind, text, id_, comment))

    def told(self, *, since: int = 0, account: str = "", contact: str = "") -> list[dict[str, Any]]:
        """Return the conversations that changed after version `since`, the latest first."""
        chosen = [
            c
            for c in self.conversations.values()
            if c.version > since and (not account or c.account == account) and (not contact or c.contact == contact)
        ]
        chosen.sort(key=lambda c: c.version, reverse=True)
        told = []
        for conversation in chosen:
            person = self.person(conversation.account, conversation.contact)
            told.append(
                {
                    "account": conversation.account,
                    "account_username": self.account(conversation.account).username,
                    "contact": conversation.contact,
                    "name": person.name,
                    "username": person.username,
                    "version": conversation.version,
                    "lines": [asdict(line) for line in conversation.lines],
                }
            )
        return told

    def forget(self) -> None:
        """Forget people, comments, messages and conversations; accounts stay."""
        for kept in (self.people, self.comments, self.messages, self.conversations, self._threads):
            kept.clear()
        self._account_of.clear()
        self._contact_of.clear()
