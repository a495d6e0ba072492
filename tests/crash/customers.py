"""Speaks as the customers and as the platform: webhooks, signed, and delivered again until they are answered with 200.

What was begun and what was acknowledged, and when, is remembered here: it is what the oracle holds Jawab to.
"""

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import httpx2
from history import Channel, Erased, PersonWrote, Said
from steps import (
    THREAD,
    Edit,
    Erase,
    Item,
    PersonAnswers,
    Say,
    Unsend,
    Webhook,
    conversation_of,
)

from devkit.sandbox.client import SandboxClient
from devkit.signing import serialise, signed_headers, signed_request
from devkit.simulator import Simulator
from devkit.updates import Update, body_of
from devkit.webhook_sender import WebhookSender

WORDS = ("is it still there", "do you have it in black", "which days are you open", "can I come by tomorrow")
SENTENCE = "here is more about it than anybody would ever want to read in one message " * 9
SCRIPTS = (
    ("at length", f"First, {{tags}}: {SENTENCE[:660].strip()}. Second, {{tags}}: {SENTENCE[:560].strip()}."),
    ("", "We read {tags} and will gladly help."),
)
"""What the model answers: long enough for two messages where a customer wants to know everything."""
NO_SUBSCRIBER_EVERY = 3
"""Every third customer is none in ManyChat, so that both routes are used."""
POST_SECONDS = 8.0
RESEND_SECONDS = (0.2, 0.4, 0.8, 1.5)
OK, UNAVAILABLE = 200, 503


@dataclass
class Sent:
    """What was said and by whom, and when it was acknowledged, by tag."""

    said: dict[str, Said] = field(default_factory=dict)
    people: dict[str, PersonWrote] = field(default_factory=dict)
    erased: list[Erased] = field(default_factory=list)


class Customers:
    """Everybody who writes. `url` is ingest's webhook; `still` says whether it is worth trying again,
    `pauses` how many seconds later; the last of them for good."""

    def __init__(
        self,
        simulator: Simulator,
        sandbox: SandboxClient,
        client: httpx2.AsyncClient,
        *,
        url: str,
        secret: str,
        counts: Counter[str],
        still: Callable[[], bool],
        pauses: Sequence[float] = RESEND_SECONDS,
    ) -> None:
        self.sent = Sent()
        self._simulator = simulator
        self._sandbox = sandbox
        self._client = client
        self._url = url
        self._secret = secret
        self._counts = counts
        self._still = still
        self._pauses = pauses
        self._sender = WebhookSender(url, secret, client, timeout_seconds=POST_SECONDS)
        self._contacts: dict[int, str] = defaultdict(simulator.contact)
        self._met: set[int] = set()
        self._learnt: set[Item] = set()
        self._updates: dict[str, Update] = {}
        self._turns: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def script(self) -> None:
        """Lay down what the model answers."""
        for contains, reply in SCRIPTS:
            await self._sandbox.script(contains, reply=reply)
        await self._sandbox.behave(reads=False)

    async def deliver(self, webhook: Webhook) -> None:
        """Deliver a webhook of the plan until it is acknowledged; a forged one once."""
        async with contextlib.AsyncExitStack() as turns:
            if not (webhook.loose or webhook.forged):
                for number in sorted({conversation_of(item) for item in webhook.items}):
                    await turns.enter_async_context(self._turns[number])
            updates = [update for item in webhook.items if (update := self._update(item)) is not None]
            for item in webhook.items:
                if isinstance(item, Erase):
                    await self._erase(self._contacts[item.conversation])
            if webhook.forged:
                await self._deliver_forged(webhook, updates)
            elif updates:
                await self._deliver(webhook, updates)

    async def echo_again(self, contact: str, text: str, mid: str) -> None:
        """Deliver an echo of ours once more, once."""
        with contextlib.suppress(httpx2.TransportError):
            await self._sender.send(self._simulator.echo(contact, text, mid=mid))

    async def _deliver(self, webhook: Webhook, updates: list[Update]) -> None:
        # A copy may overtake the first delivery, which waits for its conversation's turn.
        if new := set(webhook.items) - self._learnt:
            self._learnt |= new
            await self._sandbox.webhook(*updates, deliver=False)
            await self._meet({conversation_of(item) for item in webhook.items} - self._met)
        now = time.time()
        for item in webhook.items:
            self._begin(item, now)
        async with asyncio.TaskGroup() as group:
            copies = [group.create_task(self._until_acknowledged(updates)) for _ in range(webhook.copies)]
        acknowledged = [at for copy in copies if (at := copy.result()) is not None]
        if acknowledged:
            for item in webhook.items:
                self._acknowledge(item, min(acknowledged))

    async def _meet(self, conversations: set[int]) -> None:
        """Tell the world who is no subscriber, before anybody looks."""
        self._met |= conversations
        for number in conversations:
            if number % NO_SUBSCRIBER_EVERY == 0:
                await self._sandbox.tell_person(self._contacts[number], subscriber=False)

    async def _until_acknowledged(self, updates: list[Update]) -> float | None:
        """Return when it was answered with 200, None if never."""
        self._counts["webhooks sent"] += 1
        tries = 0
        while self._still():
            tries += 1
            with contextlib.suppress(httpx2.TransportError):
                if await self._sender.send(*updates) == OK:
                    self._counts["webhooks acknowledged"] += 1
                    return time.time()
            self._counts["webhooks sent again"] += 1
            await asyncio.sleep(self._pauses[min(tries, len(self._pauses)) - 1])
        self._counts["webhooks given up"] += 1
        return None

    async def _deliver_forged(self, webhook: Webhook, updates: list[Update]) -> None:
        raw = serialise(body_of(*updates))
        for item in webhook.items:
            self._begin(item, time.time(), forged=True)
        with contextlib.suppress(httpx2.TransportError):
            headers = signed_headers(raw, "a guess")
            response = await self._client.post(self._url, content=raw, headers=headers, timeout=POST_SECONDS)
            for item in webhook.items:
                if isinstance(item, Say) and response.status_code != UNAVAILABLE:
                    known = self.sent.said[item.tag]
                    self.sent.said[item.tag] = replace(known, statuses=(*known.statuses, response.status_code))

    async def _erase(self, contact: str) -> None:
        """Ask for an erasure as Meta does, until it is accepted."""
        sent_at = time.time()
        payload = {"user_id": contact, "algorithm": "HMAC-SHA256", "issued_at": int(sent_at)}
        form = {"signed_request": signed_request(payload, self._secret)}
        tries, accepted_at = 0, None
        while self._still() and accepted_at is None:
            tries += 1
            with contextlib.suppress(httpx2.TransportError):
                response = await self._client.post(f"{self._url}/data-deletion", data=form, timeout=POST_SECONDS)
                if response.status_code == OK:
                    accepted_at = time.time()
                    self._counts["erasures"] += 1
                    break
            await asyncio.sleep(self._pauses[min(tries, len(self._pauses)) - 1])
        self.sent.erased.append(Erased(contact, sent_at, accepted_at))

    def _update(self, item: Item) -> Update | None:
        """Return what the platform says of it: of the same thing always the same."""
        contact = self._contacts[conversation_of(item)]
        match item:
            case Say():
                return self._updates.get(item.tag) or self._updates.setdefault(item.tag, self._saying(item, contact))
            case PersonAnswers():
                text = f"{item.tag} I will see to it myself."
                return self._updates.setdefault(item.tag, self._simulator.echo(contact, text))
            case Edit(say=say):
                known = self._updates.get(say.tag)
                return known and self._simulator.edit(contact, known.id, f"{say.tag} sorry, I meant the blue one")
            case Unsend(say=say):
                known = self._updates.get(say.tag)
                return known and self._simulator.unsend(contact, known.id)
            case Erase():
                return None

    def _saying(self, say: Say, contact: str) -> Update:
        text = f"{say.tag} {WORDS[(say.conversation + say.number) % len(WORDS)]}"
        match say.how:
            case "text":
                return self._simulator.text(contact, text)
            case "long":
                return self._simulator.text(contact, f"{text}, tell me at length")
            case "story":
                return self._simulator.story_reply(contact, text)
            case "postback":
                return self._simulator.postback(contact, text, f"PAYLOAD{say.number}")
            case "comment":
                return self._simulator.comment(contact, text)
            case "live":
                return self._simulator.live_comment(contact, text)

    def _begin(self, item: Item, now: float, *, forged: bool = False) -> None:
        contact = self._contacts[conversation_of(item)]
        said, people = self.sent.said, self.sent.people
        match item:
            case Say():
                in_thread = item.how in THREAD
                channel: Channel = "thread" if in_thread else "comment"
                comment = "" if in_thread else self._updates[item.tag].id
                said.setdefault(item.tag, Said(item.tag, contact, "", channel, comment, sent_at=now, forged=forged))
            case PersonAnswers():
                people.setdefault(item.tag, PersonWrote(item.tag, contact, now))
            case Edit() | Unsend() | Erase():
                pass

    def _acknowledge(self, item: Item, at: float) -> None:
        said, people = self.sent.said, self.sent.people
        match item:
            case Say():
                one = said[item.tag]
                said[item.tag] = replace(one, acknowledged_at=min(at, one.acknowledged_at or at))
            case PersonAnswers():
                person = people[item.tag]
                people[item.tag] = replace(person, acknowledged_at=min(at, person.acknowledged_at or at))
            case Unsend(say=say) if say.tag in said:
                one = said[say.tag]
                said[say.tag] = replace(one, unsent_at=min(at, one.unsent_at or at))
            case _:
                pass
