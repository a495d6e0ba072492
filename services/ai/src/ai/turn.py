"""A turn: the messages of one customer that are answered together, by one decision. Pure.

People write in bursts: "hello", "the red dress", "size M?". A message that has another one of the customer behind it in
its lane leaves the answer to that one; the last waits for the merchant's pause, then answers all that wait. What waits
stands in the conversation itself (`unanswered`), so a crash between two messages of a turn forgets none of them, and
whichever of the customer's records is handled last finds what was left to it: also a copy of an old message, or one
that was taken back meanwhile and has nothing to say itself.

The first thing that is written about an answer is where its turn ends (`closes`), before the rules and the model are
asked. Whoever repeats it after a crash, or at the same time in another replica, answers exactly this turn, whatever
came in since; decisions are stored under an id derived from its last message, so only one of them is kept.

While the model makes an answer the customer may write on. What it made is then thrown away, unless it is stored, and
the turn grows by the next message: one answer to both. A turn grows at most `MAX_GROWTHS` times and for
`MAX_GROWTH_SECONDS` from its first message on; what is written later is answered after it, in order.

Bounds: a turn waits at most `LONGEST_PAUSES` pauses and at most `LONGEST_WAIT` seconds from its first message on (a
customer who never stops typing is answered too), and has at most `MOST_MESSAGES` messages. Comments are answered each
by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Final

from ai.history import Conversation, Unanswered
from ai.incoming import Incoming, incoming
from common.events import AnyEvent
from common.events.interactions import MessageReceived, PostbackReceived

LONGEST_PAUSES: Final = 4
LONGEST_WAIT: Final = 120.0
"""Seconds."""
MOST_MESSAGES: Final = 10
MAX_GROWTHS: Final = 2
"""Answers that are thrown away for one turn: each was paid for."""
MAX_GROWTH_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Turn:
    """Messages that are answered together, oldest first, at least one."""

    messages: tuple[Unanswered, ...]

    @property
    def trigger(self) -> Unanswered:
        """The message that the answer replies to: the last one."""
        return self.messages[-1]

    @property
    def since(self) -> datetime:
        """When the first of its messages was stored that does not wait again."""
        return next(message.stored_at for message in self.messages if not message.again)

    @property
    def begun(self) -> bool:
        """Whether its end is written down: no message can join it any more."""
        return self.trigger.closes

    @property
    def covers(self) -> tuple[str, ...]:
        """The ids of its messages, in order."""
        return tuple(message.id for message in self.messages)


@dataclass(frozen=True)
class Left:
    """What is remembered of a turn that was left to a later message: when its first one was stored, and its growths."""

    since: datetime
    growths: int = 0


def may_grow(turn: Turn, left: Left, *, most_messages: int, now: datetime) -> bool:
    """Tell whether a turn whose answer is made, and not stored, may still take in another message."""
    return (
        len(turn.messages) < most_messages
        and left.growths < MAX_GROWTHS
        and (now - left.since).total_seconds() < MAX_GROWTH_SECONDS
    )


def next_turn(conversation: Conversation, said: Incoming) -> Turn | None:
    """Return the turn that is to be answered next where `said` was said: the oldest one begun, else all that waits.

    None when nothing waits for Jawab: what came in while a person owned the conversation is that person's, and what
    waits again, because the account could not send its answer, waits for the customer's next message.
    """
    waiting = [
        message
        for message in conversation.unanswered
        if not conversation.human_owned(message.came_in, message.position)
        and (message.channel == "direct_message" if said.in_thread else message.id == said.id)
    ]
    open_ended = list(takewhile(lambda message: not message.closes, waiting))
    messages = waiting[: len(open_ended) + 1]
    return Turn(tuple(messages)) if messages and not messages[-1].again else None


def left_waiting(conversation: Conversation) -> Incoming | None:
    """Return the last direct message that waits for Jawab, as far as the conversation remembers it; None: none does."""
    waits = [
        message
        for message in conversation.unanswered
        if message.channel == "direct_message"
        and not message.again
        and not conversation.human_owned(message.came_in, message.position)
    ]
    if not waits:
        return None
    last = waits[-1]
    account_id, _, contact_id = conversation.id.partition(":")
    thread = Incoming(
        id=last.id,
        account_id=account_id,
        contact_id=contact_id,
        conversation_id=conversation.id,
        channel=last.channel,
        at=last.at,
        text="",
        shown="",
    )
    return thread.recalled(last, next((line for line in conversation.recent if line.id == last.id), None))


def continues(said: Incoming) -> Callable[[AnyEvent], bool]:
    """Return what tells whether an event is another message that will be answered where `said` is to be answered.

    The copies of `said` itself are not: they wait in the lane whenever a webhook is delivered twice. Nor is a message
    that nobody can read: an agent is called to it, and nothing is answered with it.
    """

    def another(event: AnyEvent) -> bool:
        if not isinstance(event, MessageReceived | PostbackReceived) or event.id == said.id:
            return False
        if isinstance(event, MessageReceived) and event.data.unreadable:
            return False
        later = incoming(event)
        return later is not None and later.in_thread and later.conversation_id == said.conversation_id

    return another


def seconds_to_wait(pause: float, *, since: datetime | None, now: datetime) -> float:
    """Return how long the last message of a turn waits for another one; `since` is when its first one was stored."""
    if since is None:
        return pause
    left = min(pause * LONGEST_PAUSES, LONGEST_WAIT) - (now - since).total_seconds()
    return max(0.0, min(pause, left))
