"""One thing said in, one decision stored, the same events out: whatever crashes, and however often it comes."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.answer import Answer, Lead
from ai.apology import APOLOGIES
from ai.completion import ModelFailed, Usage
from ai.decisions import Decision
from ai.history import Conversation, Line
from ai.incoming import Incoming
from ai.instagram_ai import ModelAnswer
from ai.media.download import Fetched
from ai.media.hearing import Ears
from ai.media.links import AllowedHosts
from ai.media.sight import Sight
from ai.media.transcription import AudioUsage, Transcribed
from ai.messages import Stored
from ai.orchestrator import ConversationAIOrchestrator
from common.clock import ManualClock
from common.errors import Retryable
from common.events.replies import CommentReply, DirectMessage, OperatorNotification
from common.kafka.hold import OwnershipLost, hand
from common.merchants import Merchant, Rule, Then, When

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = Merchant(id="dar", name="Dar", account_id="1", price_link="https://shop.example/p")


class CrashError(Exception):
    """The process died here."""


class World:
    """The database and the model of one test; raises at one step, before or after it took effect."""

    def __init__(self, *, crash_at=None, after=False):
        self.crash_at, self.after = crash_at, after
        self.steps = 0
        self.messages, self.conversations, self.decisions = {}, {}, {}
        self.model_calls, self.spent, self.published = [], [], []
        self.answer = ModelAnswer("answer", Answer(reply="answer", language="en"), "m", Usage(10, 5))
        self.observed = []
        self.thinks = 0
        self.spoken, self.transcribed, self.listened = "bikam hadha", [], []

    async def publish(self, replies):
        self.published.extend(replies)

    def step(self, act):
        self.steps += 1
        crash = self.steps == self.crash_at
        if crash and not self.after:
            raise CrashError
        result = act()
        if crash:
            raise CrashError
        return result


class FakeMessages:
    def __init__(self, world):
        self.world = world

    async def store(self, said, *, merchant_id, now):
        def act():
            known = self.world.messages.get(said.id)
            if known is not None and known.get("stored_at"):
                return Stored(
                    fresh=False,
                    stored_at=known["stored_at"],
                    text=known["text"],
                    unsent="unsent" in known,
                    transcript=known.get("transcript"),
                )
            known = self.world.messages.setdefault(said.id, {"text": said.text})
            known["stored_at"] = now
            return Stored(fresh=True, stored_at=now, text=known["text"], unsent="unsent" in known)

        return self.world.step(act)

    async def heard(self, message_id, transcript):
        self.world.step(lambda: self.world.messages[message_id].update(transcript=transcript))


class FakeEars:
    """A recording's server and the transcription, in one step."""

    def __init__(self, world):
        self.world = world

    async def fetch(self, url, *, kinds):
        return Fetched(b"OggS", "audio/ogg")

    async def transcribe(self, recording, ending, *, account=""):
        def act():
            self.world.transcribed.append(recording)
            return Transcribed(self.world.spoken, AudioUsage(seconds=2.0))

        return self.world.step(act)

    def heard(self, result, seconds, usage): ...

    def listened(self, merchant_id, at, usage):
        self.world.listened.append((merchant_id, usage))


class FakeConversations:
    def __init__(self, world, length=20):
        self.world, self.length = world, length

    async def record(self, said, *, merchant_id, language, stored_at, closes, now):
        def act():
            have = self.world.conversations.get(said.conversation_id, Conversation(said.conversation_id))
            if all(line.id != said.id for line in have.recent) and not have.awaits(said.id):
                waits = () if said.standby else (said.unanswered(stored_at=stored_at, closes=closes),)
                have = replace(
                    have,
                    recent=(*have.recent, said.line())[-self.length :],
                    unanswered=(*have.unanswered, *waits),
                    language=language or have.language,
                )
            self.world.conversations[said.conversation_id] = have
            return have

        return self.world.step(act)

    async def reopen(self, conversation_id, message):
        def act():
            have = self.world.conversations[conversation_id]
            if not have.awaits(message.id):
                have = replace(have, unanswered=(*have.unanswered, message))
            self.world.conversations[conversation_id] = have
            return have

        return self.world.step(act)

    async def begin(self, conversation, turn):
        def act():
            have = self.world.conversations[conversation.id]
            if have.unanswered != conversation.unanswered:
                raise Retryable("changed")
            closed = tuple(replace(m, closes=m.closes or m.id == turn.trigger.id) for m in have.unanswered)
            self.world.conversations[conversation.id] = replace(have, unanswered=closed)

        return self.world.step(act)

    async def find(self, conversation_id):
        return self.world.step(lambda: self.world.conversations.get(conversation_id))

    async def record_decision(self, decision, *, now):
        def act():
            have = self.world.conversations[decision.conversation_id]
            if have.awaits(decision.covers[-1]):
                lines = [
                    Line(reply.id, "assistant", reply.data.action.text, decision.at)
                    for reply in decision.replies
                    if not isinstance(reply.data.action, OperatorNotification)
                ]
                have = replace(have.without(decision.covers), recent=(*have.recent, *lines))
            self.world.conversations[decision.conversation_id] = have

        return self.world.step(act)


class FakeDecisions:
    def __init__(self, world):
        self.world = world

    async def covering(self, event_id):
        return self.world.step(lambda: next((d for d in self.world.decisions.values() if event_id in d.covers), None))

    async def store(self, decision):
        def act():
            if decision.id in self.world.decisions:
                return self.world.decisions[decision.id], False
            # What is read back is what was written: through the document, as with a real database.
            self.world.decisions[decision.id] = Decision.from_document(decision.to_document())
            return decision, True

        return self.world.step(act)


class FakeAI:
    def __init__(self, world):
        self.world = world

    async def answer(self, question):
        def act():
            self.world.model_calls.append(question)
            if isinstance(self.world.answer, Exception):
                raise self.world.answer
            return self.world.answer

        for _ in range(self.world.thinks):
            await asyncio.sleep(0)
        return self.world.step(act)


class FakeObserver:
    def __init__(self, world):
        self.world = world
        self.in_progress = 0

    def decided(self, origin, match, usage, *, person_needed):
        self.world.observed.append((origin, match, person_needed))

    def asking(self, by):
        self.in_progress += by

    def rule_skipped(self, cause):
        self.world.observed.append(("skipped", cause))


class FakeSpending:
    def __init__(self, world):
        self.world = world

    def spent(self, merchant_id, at, usage):
        self.world.spent.append((merchant_id, usage))


def orchestrator(world, clock=None, **more):
    clock = clock or ManualClock(NOW)
    outside = FakeEars(world)
    ears = Ears(
        fetching=outside,
        transcribing=outside,
        transcripts=FakeMessages(world),
        spending=outside,
        observer=outside,
        clock=clock,
        concurrency=2,
        patience=60.0,
    )
    return ConversationAIOrchestrator(
        ears=ears,
        **more,
        messages=FakeMessages(world),
        conversations=FakeConversations(world),
        decisions=FakeDecisions(world),
        answering=FakeAI(world),
        spending=FakeSpending(world),
        observer=FakeObserver(world),
        publish=world.publish,
        clock=clock,
    )


def voice(**more):
    about = {"prefix": "[voice message]", "shown": "[voice message]", "recordings": ("https://a/1",)}
    return replace(said("", **more), **about)


def said(text="do you have size M", *, id_="e1", channel="direct_message", **more):
    return Incoming(
        id=id_,
        account_id="1",
        contact_id="5",
        conversation_id="1:5",
        channel=channel,
        at=NOW,
        text=text,
        shown=text,
        comment_id="c1" if channel == "comment" else None,
        **more,
    )


def rule(name, match, value, *, reply):
    when = When(channel="direct_message", match=match, values=(value,))
    return Rule(name=name, when=when, then=Then(reply={"en": reply}))


def kinds(result):
    return [event.data.action.kind for event in result.events]


def reasons(result):
    return [e.data.action.reason for e in result.events if isinstance(e.data.action, OperatorNotification)]


async def test_an_answered_message_takes_four_steps_of_the_database_and_one_of_the_model():
    world = World()
    result = await orchestrator(world).respond(SHOP, said())
    assert result.outcome == "answered"
    assert [e.data.action for e in result.events] == [DirectMessage(text="answer")]
    assert world.steps == 5
    assert world.spent == [("dar", Usage(10, 5))]
    assert world.observed == [("model", None, False)]
    (decision,) = world.decisions.values()
    assert decision.covers == ("e1",)
    assert (decision.origin, decision.model, decision.usage) == ("model", "m", Usage(10, 5))


async def test_a_rule_answers_without_the_model_and_costs_nothing():
    world = World()
    result = await orchestrator(world).respond(SHOP, said("prix ?"))
    assert "https://shop.example/p" in result.events[0].data.action.text
    assert result.events[0].data.origin == "rule"
    assert (world.model_calls, world.spent, world.steps) == ([], [], 4)
    assert next(iter(world.decisions.values())).rule == "price"
    assert world.observed == [("rule", "any_of", False)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("crash_at", [1, 2, 3, 4, 5])
async def test_a_crash_at_any_step_repeats_to_the_same_decision(crash_at, after):
    world = World(crash_at=crash_at, after=after)
    with pytest.raises(CrashError):
        await orchestrator(world).respond(SHOP, said())
    decided = list(world.decisions.values())
    first = await orchestrator(world).respond(SHOP, said())  # another process
    second = await orchestrator(world).respond(SHOP, said())  # and a redelivery
    assert first.events == second.events
    assert [event.to_json() for event in first.events] == [event.to_json() for event in second.events]
    assert len(world.decisions) == 1
    assert decided in ([], list(world.decisions.values()))
    assert [line.role for line in world.conversations["1:5"].recent] == ["customer", "assistant"]
    # An answer that died with its process before it was stored is the only one that is asked for twice.
    lost = (crash_at == 3 and after) or (crash_at == 4 and not after)
    assert len(world.model_calls) == (2 if lost else 1)
    assert len(world.spent) == (0 if crash_at == 4 and after else 1)


@pytest.mark.parametrize("crash_at", [1, 2, 4, 5])
async def test_while_the_database_is_away_the_model_is_asked_once(crash_at):
    world = World(crash_at=crash_at)
    one = orchestrator(world)
    with pytest.raises(CrashError):
        await one.respond(SHOP, said())
    result = await one.respond(SHOP, said())
    assert kinds(result) == ["direct_message"]
    assert len(world.model_calls) == 1
    assert len(world.spent) == 1


async def test_what_was_stored_without_an_acknowledgement_is_counted_when_it_is_found():
    world = World(crash_at=4, after=True)
    one = orchestrator(world)
    with pytest.raises(CrashError):
        await one.respond(SHOP, said())
    await one.respond(SHOP, said())
    await one.respond(SHOP, said())
    assert len(world.spent) == 1


@given(st.lists(st.tuples(st.sampled_from(["e1", "e2", "e3"]), st.none() | st.integers(1, 7)), max_size=12))
def test_however_often_messages_come_and_processes_die_each_gets_one_decision(deliveries):
    world = World()
    published = {}

    async def play():
        for id_, crash in [*deliveries, ("e1", None), ("e2", None), ("e3", None)]:
            world.steps, world.crash_at = 0, crash
            try:
                result = await orchestrator(world).respond(SHOP, said(f"question {id_}", id_=id_))
            except CrashError:
                continue
            for event in result.events:
                published.setdefault(event.id, set()).add(event.to_json())

    asyncio.run(play())
    assert sorted(id_ for decision in world.decisions.values() for id_ in decision.covers) == ["e1", "e2", "e3"]
    assert [len(versions) for versions in published.values()] == [1, 1, 1]
    ids = [line.id for line in world.conversations["1:5"].recent]
    assert len(ids) == len(set(ids)) == 6


async def test_when_the_model_fails_the_customer_hears_an_apology_and_a_person_is_called():
    world = World()
    world.answer = ModelFailed("timeout", Usage(7, 0))
    result = await orchestrator(world).respond(SHOP, said("vous avez la taille M ?"))
    assert kinds(result) == ["direct_message", "operator_notification"]
    assert result.events[0].data.action.text == APOLOGIES["fr"]
    assert result.events[0].data.origin == "apology"
    assert reasons(result) == ["model_unavailable"]
    (decision,) = world.decisions.values()
    assert (decision.reasons, decision.attention, decision.usage) == (("timeout",), "model_unavailable", Usage(7, 0))
    assert world.spent == [("dar", Usage(7, 0))]


async def test_an_apology_is_not_taken_back_when_the_model_is_well_again():
    world = World()
    world.answer = ModelFailed("unavailable")
    first = await orchestrator(world).respond(SHOP, said())
    world.answer = ModelAnswer("answer", Answer(reply="answer"), "m", Usage())
    assert (await orchestrator(world).respond(SHOP, said())).events == first.events


@pytest.mark.parametrize(("language", "text"), [("ar", "عندكم مقاس كبير؟"), ("en", "do you have it in large?")])
async def test_the_apology_speaks_the_customers_language(language, text):
    world = World()
    world.answer = ModelFailed("quota")
    result = await orchestrator(world).respond(SHOP, said(text))
    assert result.events[0].data.action.text == APOLOGIES[language]


async def test_an_answer_that_needs_a_person_calls_one_and_keeps_what_is_known_of_the_customer():
    world = World()
    answer = Answer(reply="a colleague will write", escalate=True, intent="complaint", lead=Lead(phone="0770"))
    world.answer = ModelAnswer(answer.reply, answer, "m", Usage())
    result = await orchestrator(world).respond(SHOP, said())
    assert kinds(result) == ["direct_message", "operator_notification"]
    assert reasons(result) == ["escalated"]
    (decision,) = world.decisions.values()
    assert (decision.attention, decision.lead, decision.intent) == ("escalated", {"phone": "0770"}, "complaint")
    assert world.observed == [("model", None, True)]


async def test_what_a_person_answers_is_stored_and_not_answered():
    world = World()
    world.conversations["1:5"] = Conversation("1:5", human_until=NOW + timedelta(hours=12))
    result = await orchestrator(world).respond(SHOP, said("prix"))
    assert (result.outcome, result.events) == ("observed", ())
    assert world.steps == 2
    assert [line.text for line in world.conversations["1:5"].recent] == ["prix"]


async def test_after_the_pause_the_bot_answers_again():
    world = World()
    world.conversations["1:5"] = Conversation("1:5", human_until=NOW + timedelta(hours=1))
    clock = ManualClock(NOW)
    assert (await orchestrator(world, clock).respond(SHOP, said(id_="e1"))).outcome == "observed"
    clock.advance(timedelta(hours=1))
    assert (await orchestrator(world, clock).respond(SHOP, said(id_="e2"))).outcome == "answered"


@pytest.mark.parametrize("given_back", [{"answers_from": NOW - timedelta(minutes=5)}, {"human_until": NOW}])
async def test_what_a_person_had_to_answer_is_not_answered_because_it_is_handled_late(given_back):
    """A backlog: ingest received it while a person owned the conversation, it is read when that is over."""
    world = World()
    world.conversations["1:5"] = Conversation("1:5", **given_back)
    before, after = (int((NOW - timedelta(minutes=m)).timestamp() * 1000) for m in (6, 4))
    late = orchestrator(world, ManualClock(NOW + timedelta(minutes=1)))
    for _ in range(2):
        assert (await late.respond(SHOP, said(id_="e1", received_at_ms=before))).outcome == "observed"
    new = said(id_="e2", received_at_ms=after if "answers_from" in given_back else 0)
    assert (await late.respond(SHOP, new)).outcome == "answered"
    assert [decision.covers for decision in world.decisions.values()] == [("e2",)]


async def test_a_redelivery_after_the_release_does_not_answer_what_a_person_dealt_with():
    world = World()
    clock = ManualClock(NOW)
    world.conversations["1:5"] = Conversation("1:5", human_until=NOW + timedelta(hours=12))
    await orchestrator(world, clock).respond(SHOP, said())
    released = NOW + timedelta(minutes=5)
    world.conversations["1:5"] = replace(world.conversations["1:5"], human_until=None, answers_from=released)
    clock.advance(timedelta(minutes=6))
    assert (await orchestrator(world, clock).respond(SHOP, said())).outcome == "observed"
    assert (await orchestrator(world, clock).respond(SHOP, said(id_="e2"))).outcome == "answered"
    assert len([line for line in world.conversations["1:5"].recent if line.id == "e1"]) == 1


async def test_a_copy_of_what_a_person_dealt_with_long_ago_gets_no_line_again():
    world = World()
    world.messages["e1"] = {"text": "hello", "stored_at": NOW - timedelta(hours=1)}
    world.conversations["1:5"] = Conversation("1:5", answers_from=NOW)
    assert (await orchestrator(world).respond(SHOP, said("hello"))).outcome == "observed"
    assert world.conversations["1:5"].recent == ()


@pytest.mark.parametrize("crash_at", [None, *range(1, 6)])
async def test_what_is_taken_up_again_after_a_release_is_decided_once_also_after_a_crash(crash_at):
    world = World(crash_at=crash_at, after=True)
    waits = said(id_="e1").unanswered(stored_at=NOW, closes=False)
    world.conversations["1:5"] = Conversation("1:5", recent=(said().line(),), unanswered=(waits,))
    for _ in range(2):
        try:
            await orchestrator(world).resume(SHOP, said(), world.conversations["1:5"])
        except CrashError:
            continue
    (decision,) = world.decisions.values()
    assert {event.id for event in world.published} == {reply.id for reply in decision.replies}
    assert world.conversations["1:5"].unanswered == ()
    its_answer_was_lost = crash_at == 3
    assert len(world.model_calls) == 1 + its_answer_was_lost


async def test_who_lost_the_conversation_asks_no_model():
    class Lost:
        owned = False

        def later(self, wanted):
            return False

        async def later_within(self, wanted, seconds):
            return False

    async def respond():
        hand(Lost())
        with pytest.raises(OwnershipLost):
            await orchestrator(world).respond(SHOP, said())

    world = World()
    await asyncio.create_task(respond())
    assert (world.model_calls, world.published) == ([], [])


async def test_in_standby_another_app_answers():
    world = World()
    assert (await orchestrator(world).respond(SHOP, said("prix", standby=True))).outcome == "observed"
    assert world.steps == 2


async def test_a_message_taken_back_before_it_came_is_not_answered():
    world = World()
    world.messages["e1"] = {"text": "", "unsent": True}
    assert (await orchestrator(world).respond(SHOP, said("prix"))).outcome == "observed"
    assert world.conversations == {}


async def test_a_message_changed_before_it_came_is_answered_as_changed():
    world = World()
    world.messages["e1"] = {"text": "prix"}
    result = await orchestrator(world).respond(SHOP, said("prox"))
    assert result.events[0].data.origin == "rule"
    assert world.conversations["1:5"].recent[0].text == "prix"


async def test_the_model_gets_the_history_without_the_message_itself():
    world = World()
    one = orchestrator(world)
    await one.respond(SHOP, said("do you have it in red", id_="e1"))
    await one.respond(SHOP, said("and in blue", id_="e2"))
    assert [line.text for line in world.model_calls[1].history] == ["do you have it in red", "answer"]
    assert world.model_calls[1].text == "and in blue"


async def test_a_message_without_words_is_answered_in_the_conversations_language():
    world = World()
    one = orchestrator(world)
    await one.respond(SHOP, said("vous avez la taille M", id_="e1"))
    await one.respond(SHOP, replace(said("", id_="e2"), shown="[image]"))
    assert world.model_calls[1].language == "fr"
    assert world.model_calls[1].text == "[image]"


async def test_praise_under_a_post_is_thanked_in_public_in_its_language():
    world = World()
    result = await orchestrator(world).respond(SHOP, said("Génial !", channel="comment"))
    assert isinstance(result.events[0].data.action, CommentReply)
    assert "Merci" in result.events[0].data.action.text


async def test_a_complaint_under_a_post_calls_a_person_and_is_not_answered_in_public():
    world = World()
    result = await orchestrator(world).respond(SHOP, said("Super déçu", channel="comment"))
    assert kinds(result) == ["operator_notification"]
    assert reasons(result) == ["negative_comment"]
    assert next(iter(world.decisions.values())).attention == "negative_comment"


async def test_a_merchants_own_rules_replace_the_defaults():
    world = World()
    own = rule("hours", "contains", "open", reply="10-22")
    shop = SHOP.model_copy(update={"rules": (own,)})
    one = orchestrator(world)
    assert (await one.respond(shop, said("are you open", id_="e1"))).events[0].data.action.text == "10-22"
    assert (await one.respond(shop, said("prix", id_="e2"))).events[0].data.origin == "model"


async def test_a_rule_that_cannot_be_tried_is_noted_and_the_model_answers():
    world = World()
    bad = rule("bad", "regex", "(", reply="x")
    result = await orchestrator(world).respond(SHOP.model_copy(update={"rules": (bad,)}), said())
    assert result.events[0].data.origin == "model"
    assert world.observed[0] == ("skipped", "not_compiled")
    (decision,) = world.decisions.values()
    assert decision.skipped_rules == ("bad",)


async def test_two_processes_that_decide_at_once_publish_the_same():
    world = World()
    decisions = FakeDecisions(world)
    await orchestrator(world).respond(SHOP, said())
    stored = next(iter(world.decisions.values()))
    world.messages.clear()  # the other process saw the message first, too
    world.answer = ModelAnswer("another", Answer(reply="another"), "m", Usage(1, 1))
    late = await orchestrator(world).respond(SHOP, said())
    assert late.events == stored.replies
    assert world.spent == [("dar", Usage(10, 5))]
    assert (await decisions.covering("e1")) == stored


async def test_rules_hear_what_a_voice_message_says():
    world = World()
    result = await orchestrator(world).respond(SHOP, voice())
    assert result.events[0].data.origin == "rule"
    assert "https://shop.example/p" in result.events[0].data.action.text
    assert (world.conversations["1:5"].recent[0].text, world.listened) == (
        "[voice message] bikam hadha",
        [("dar", AudioUsage(seconds=2.0))],
    )
    assert world.steps == 6  # the four of any answer, the transcription itself, and its keeping


async def test_the_model_is_told_that_a_voice_message_could_not_be_heard():
    world = World()
    world.spoken = ""
    await orchestrator(world).respond(SHOP, voice())
    assert world.model_calls[0].text == "[voice message that could not be heard]"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("crash_at", [1, 2, 3, 4, 5, 6, 7])
async def test_a_crash_at_any_step_of_a_voice_turn_repeats_to_the_same_decision(crash_at, after):
    world = World(crash_at=crash_at, after=after)
    world.spoken = "do you have size M"
    with pytest.raises(CrashError):
        await orchestrator(world).respond(SHOP, voice())
    first = await orchestrator(world).respond(SHOP, voice())
    second = await orchestrator(world).respond(SHOP, voice())
    assert [event.to_json() for event in first.events] == [event.to_json() for event in second.events]
    assert len(world.decisions) == 1
    assert world.conversations["1:5"].recent[0].text == "[voice message] do you have size M"
    assert world.model_calls[-1].text == "[voice message] do you have size M"
    # Only a transcript that died with its process before it was stored is paid for twice.
    lost = (crash_at == 2 and after) or (crash_at == 3 and not after)
    assert len(world.transcribed) == (2 if lost else 1)


async def test_while_the_database_is_away_a_recording_is_transcribed_once():
    world = World(crash_at=3)
    one = orchestrator(world)
    with pytest.raises(CrashError):
        await one.respond(SHOP, voice())
    await one.respond(SHOP, voice())
    assert (len(world.transcribed), len(world.listened)) == (1, 1)


async def test_a_voice_message_taken_back_before_it_came_is_not_listened_to():
    world = World()
    world.messages["e1"] = {"text": "", "unsent": True}
    assert (await orchestrator(world).respond(SHOP, voice())).outcome == "observed"
    assert world.transcribed == []


async def test_the_model_sees_the_images_of_the_turn_and_of_a_moment_ago():
    world = World()
    one = orchestrator(world, sight=Sight(AllowedHosts(["x.example.com"]), "high"))
    links = ("https://x.example.com/1", "https://evil.example/2")
    await one.respond(SHOP, replace(said("have it?", id_="e1"), images=links))
    await one.respond(SHOP, said("and in blue?", id_="e2"))
    assert (world.model_calls[0].images, world.model_calls[0].detail) == (("https://x.example.com/1",), "high")
    assert world.model_calls[1].images == ()
    assert world.model_calls[1].history[0].images == ("https://x.example.com/1",)


async def test_without_sight_the_model_is_shown_no_images():
    world = World()
    one = orchestrator(world)
    await one.respond(SHOP, replace(said("have it?", id_="e1"), images=("https://x.example.com/1",)))
    await one.respond(SHOP, said("and in blue?", id_="e2"))
    assert [(call.images, [line.images for line in call.history]) for call in world.model_calls] == [
        ((), []),
        ((), [(), ()]),
    ]


async def test_the_model_is_shown_what_a_message_answers():
    world = World()
    answer = Line("r1", "assistant", f"we have it in red {'x' * 300}", NOW, mids=("m7",))
    world.conversations["1:5"] = Conversation("1:5", recent=(answer,))
    one = orchestrator(world)
    await one.respond(SHOP, said("this one?", id_="e1", reply_to="m7"))
    await one.respond(SHOP, said("and this?", id_="e2", reply_to="forgotten"))
    assert world.model_calls[0].text.startswith("[in reply to: «we have it in red xxx")
    assert world.model_calls[0].text.endswith("…»] this one?")
    assert world.model_calls[1].text == "and this?"


async def test_typing_is_shown_before_the_model_is_asked_and_for_no_rule():
    world, shown = World(), []

    async def show(events):
        shown.append(([event.data.action.kind for event in events], len(world.published)))

    world.thinks = 3
    one = orchestrator(world, courtesies=show)
    await one.respond(SHOP, said(id_="e1"))
    assert shown == [(["typing"], 0)]
    await one.respond(SHOP, said("prix ?", id_="e2"))
    assert len(shown) == 1
    assert [event.data.action.kind for event in world.published] == ["direct_message", "direct_message"]
