"""A lane as the ai service sees it, without Kafka and MongoDB: what outlives a process, and processes that may die."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from prometheus_client import CollectorRegistry

from ai.announcing import Announcer
from ai.answer import Answer
from ai.completion import Usage
from ai.decisions import Decision
from ai.handlers import Handlers
from ai.held_back import HeldBack
from ai.history import Conversation, Line
from ai.instagram_ai import ModelAnswer
from ai.messages import Edited, Stored
from ai.metrics import AIMetrics
from ai.notices import Notices
from ai.orchestrator import ConversationAIOrchestrator
from ai.rules import RuleEngine
from ai.ruling import Rulings
from ai.unreadable import Unreadable
from common.accounts import Standing
from common.clock import ManualClock
from common.errors import Retryable
from common.events.control import Control
from common.events.interactions import (
    Comment,
    CommentReceived,
    Edit,
    Message,
    MessageEdited,
    MessageReceived,
    MessageUnsent,
    Unsend,
)
from common.kafka.hold import hand, hold
from common.merchants import Merchant

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

SHOP = Merchant(id="dar", name="Dar", account_id="1", rules=())

WHO = {"account_id": "1", "contact_id": "5"}


class CrashError(Exception):
    """The process died here."""


class World:
    """What outlives a process: the database, Kafka, and a count of steps at one of which something goes wrong."""

    def __init__(self):
        self.messages, self.conversations, self.decisions = {}, {}, {}
        self.published, self.asked = [], []
        self.written_meanwhile, self.clock_jumps, self.grown = [], timedelta(0), 0
        self.unsent, self.persons, self.dead = set(), set(), set()
        self.clock = ManualClock(NOW)
        self.steps, self.fail_at, self.after, self.error = 0, None, False, CrashError
        self.halt_at, self.halted, self.go_on = None, asyncio.Event(), asyncio.Event()
        self.model_answer = ModelAnswer("answer", Answer(reply="answer", language="en"), "m", Usage(10, 5))

    async def step(self, act):
        self.steps += 1
        fails = self.steps == self.fail_at
        if self.steps == self.halt_at:
            self.halted.set()
            await self.go_on.wait()
        if fails and not self.after:
            raise self.error("died")
        result = act()
        if fails:
            raise self.error("died")
        return result

    def conversation(self):
        return self.conversations.setdefault("1:5", Conversation("1:5"))


class Messages:
    def __init__(self, world):
        self.world = world

    async def store(self, said, *, merchant_id, now):
        def act():
            known = self.world.messages.setdefault(said.id, {"text": said.text})
            fresh = "stored_at" not in known
            known.setdefault("stored_at", now)
            if fresh:
                known["announced"] = said.announced
            return Stored(fresh, known["stored_at"], known["text"], unsent="unsent" in known)

        return await self.world.step(act)

    async def edit(self, message_id, text, *, number, about):
        def act():
            known = self.world.messages.setdefault(message_id, {})
            if "unsent" in known or known.get("edits", 0) > number:
                return Edited.NOTHING
            again = known.get("announced") and known.get("edits") == number
            known.update(text=text, edits=number)
            return Edited.REWORDED if "stored_at" in known and not again else Edited.ANNOUNCED

        return await self.world.step(act)

    async def note_hidden(self, message_id, *, hidden): ...

    async def erase(self, message_id, *, about):
        def act():
            self.world.messages.setdefault(message_id, {}).update(text="", unsent=True)
            self.world.unsent.add(message_id)

        await self.world.step(act)


class Conversations:
    def __init__(self, world):
        self.world = world

    async def change(self, act):
        def changed():
            have = act(self.world.conversation())
            self.world.conversations["1:5"] = have
            return have

        return await self.world.step(changed)

    async def record(self, said, *, merchant_id, language, stored_at, closes, now):
        def act(have):
            if have.awaits(said.id) or any(line.id == said.id for line in have.recent):
                return have
            waits = () if said.standby else (said.unanswered(stored_at=stored_at, closes=closes),)
            return replace(have, recent=(*have.recent, said.line()), unanswered=(*have.unanswered, *waits))

        return await self.change(act)

    async def reopen(self, conversation_id, message):
        def act(have):
            return have if have.awaits(message.id) else replace(have, unanswered=(*have.unanswered, message))

        return await self.change(act)

    async def begin(self, conversation, turn):
        def act(have):
            if have.unanswered != conversation.unanswered:
                raise Retryable("changed")
            closed = (replace(m, closes=m.closes or m.id == turn.trigger.id) for m in have.unanswered)
            return replace(have, unanswered=tuple(closed))

        await self.change(act)

    async def reopen_turn(self, conversation_id, trigger_id):
        ended = any(m.id == trigger_id and m.closes for m in self.world.conversation().unanswered)

        def act(have):
            opened = (replace(m, closes=m.closes and m.id != trigger_id) for m in have.unanswered)
            return replace(have, unanswered=tuple(opened))

        await self.change(act)
        self.world.grown += ended
        return ended

    async def find(self, conversation_id):
        return await self.world.step(lambda: self.world.conversations.get(conversation_id))

    async def record_decision(self, decision, *, now):
        def act(have):
            if not have.awaits(decision.covers[-1]):
                return have
            lines = [Line(r.id, "assistant", "answer", decision.at) for r in decision.replies]
            return replace(have.without(decision.covers), recent=(*have.recent, *lines))

        await self.change(act)

    async def reword(self, conversation_id, line_id, text):
        def act(have):
            lines = (replace(line, text=text, placeholder=0) if line.id == line_id else line for line in have.recent)
            return replace(have, recent=tuple(lines))

        await self.change(act)

    async def erase(self, conversation_id, line_id):
        def act(have):
            lines = tuple(replace(line, text="") if line.id == line_id else line for line in have.recent)
            return replace(have.without([line_id]), recent=lines)

        await self.change(act)

    async def take_over(self, *, conversation, at, until, now):
        await self.change(lambda have: replace(have, human_until=max(until, have.human_until or until)))

    async def release(self, conversation_id, *, at, now, log=None):
        def act(have):
            if have.human_until is None or have.human_until <= at:
                return have
            self.world.persons |= {m.id for m in have.unanswered}
            return replace(have, human_until=None, answers_from=at, unanswered=())

        await self.change(act)

    async def person_wrote(self, line, *, conversation, until, now):
        def act(have):
            if have.answers_from is not None and have.answers_from >= line.at:
                return have
            return replace(have, human_until=max(until, have.human_until or until))

        await self.change(act)

    async def opened_by(self, conversation_id, referral, *, now): ...

    async def erase_sent(self, mid, *, conversation, now): ...

    async def reword_sent(self, conversation_id, mid, text, *, number): ...

    async def request_agent(self, said, *, merchant_id, reason, now):
        await self.change(lambda have: replace(have, attention=reason))

    async def given_up(self, said, *, merchant_id, reason, now):
        def act(have):
            lost = {m.id for m in have.unanswered if m.channel == "direct_message"} if said.in_thread else set()
            self.world.dead |= lost | {said.id}
            return have.without([*lost, said.id])

        await self.change(act)


class Decisions:
    def __init__(self, world):
        self.world = world

    async def covering(self, event_id):
        return await self.world.step(
            lambda: next((d for d in self.world.decisions.values() if event_id in d.covers), None)
        )

    async def learnt_from(self, event_id):
        return ()

    async def store(self, decision):
        def act():
            if decision.id in self.world.decisions:
                return self.world.decisions[decision.id], False
            self.world.decisions[decision.id] = Decision.from_document(decision.to_document())
            return decision, True

        return await self.world.step(act)


class Model:
    def __init__(self, world):
        self.world = world

    async def answer(self, question):
        self.world.clock.advance(self.world.clock_jumps)
        if self.world.written_meanwhile:
            hold().behind.append(self.world.written_meanwhile.pop(0))

        def act():
            self.world.asked.append(question)
            if isinstance(self.world.model_answer, Exception):
                raise self.world.model_answer
            return self.world.model_answer

        return await self.world.step(act)


class Nothing:
    def spent(self, merchant_id, at, usage): ...


class Directory:
    def __init__(self, merchant):
        self.merchant = merchant

    async def of_account(self, account_id):
        return self.merchant if account_id == "1" else None

    async def by_id(self, merchant_id):
        return self.merchant


class Working:
    """Standings of accounts that all work, until one is noted."""

    def __init__(self):
        self.known = {}

    async def of(self, account_id):
        return self.known.get(account_id, Standing(account_id))

    async def note(self, standing):
        self.known[standing.account_id] = standing
        return True


class Held:
    """A record in its lane: what lies behind it so far, and what comes while it waits."""

    partition = 0

    def __init__(self, behind=(), coming=(), *, owned=True):
        self.behind, self.coming, self.owned = list(behind), list(coming), owned
        self.waited = []

    def later(self, wanted):
        return any(map(wanted, self.behind))

    async def later_within(self, wanted, seconds):
        self.waited.append(seconds)
        self.behind += self.coming
        return self.later(wanted)


def process(world, merchant=SHOP, **more):
    """Return the handlers as a new process has them."""

    async def publish(events):
        await world.step(lambda: world.published.extend(events))

    metrics = AIMetrics(CollectorRegistry())
    announcer = Announcer(decisions=Decisions(world), spending=Nothing(), observer=metrics, publish=publish)
    return Handlers(
        merchants=Directory(merchant),
        standings=Working(),
        notices=Notices(
            messages=Messages(world),
            lines=Conversations(world),
            rulings=Rulings(RuleEngine(), observer=metrics, clock=world.clock),
            announcer=announcer,
            observer=metrics,
            clock=world.clock,
        ),
        unreadable=Unreadable(
            conversations=Conversations(world),
            rulings=Rulings(RuleEngine(), observer=metrics, clock=world.clock),
            announcer=announcer,
            clock=world.clock,
        ),
        held_back=HeldBack(Messages(world), Conversations(world), Decisions(world), publish, world.clock),
        orchestrator=ConversationAIOrchestrator(
            messages=Messages(world),
            conversations=Conversations(world),
            decisions=Decisions(world),
            answering=Model(world),
            spending=Nothing(),
            observer=metrics,
            publish=publish,
            clock=world.clock,
            **more,
        ),
        messages=Messages(world),
        conversations=Conversations(world),
        ownership=Conversations(world),
        decisions=Decisions(world),
        publish=publish,
        metrics=metrics,
        clock=world.clock,
        human_pause=timedelta(hours=12),
    )


async def handle(handlers, event, held):
    """Handle an event as the lane does: with what is known of it in hand."""
    hand(held)
    await handlers.handle(event)


async def play(world, *events, handlers=None, merchant=SHOP):
    """Handle events that all lie in the lane already."""
    handlers = handlers or process(world, merchant)
    for place, event in enumerate(events):
        world.clock.advance(timedelta(seconds=1))
        await handle(handlers, event, Held(events[place + 1 :]))


def event(kind, data, id_, at=NOW):
    return kind(id=id_, source="/ingest/instagram", subject="1:5", time=at, partitionkey="1:5", data=data)


def message(mid, text=None, **more):
    return event(MessageReceived, Message(**WHO, mid=mid, text=text or f"text {mid}", **more), f"1:msg:{mid}")


def unsend(mid):
    return event(MessageUnsent, Unsend(**WHO, mid=mid), f"1:del:{mid}")


def edit(mid, text):
    return event(MessageEdited, Edit(**WHO, mid=mid, text=text, num_edit=1), f"1:edit:{mid}")


def comment(number):
    return event(CommentReceived, Comment(**WHO, comment_id=number, text="nice shop"), f"1:cm:{number}")


def control(kind, at=NOW):
    return event(kind, Control(merchant_id="dar", by="ali", **WHO), f"{kind.__name__}:{at}", at)


def record(event=None, *, key=b"1:5", value=b"?"):
    value = event.to_json() if event is not None else value
    return SimpleNamespace(topic="interactions.received.v1", partition=3, offset=7, key=key, value=value)


def covers(world):
    """Return what each decision covers, by the platform's ids."""
    return [[id_.removeprefix("1:msg:") for id_ in decision.covers] for decision in world.decisions.values()]


A, B, C = message("a"), message("b"), message("c")
