"""Mentions, feed changes and stories' figures: one decision each, however often they come."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ai.announcing import Announcer
from ai.decisions import Decision
from ai.messages import Stored
from ai.metrics import AIMetrics
from ai.notices import Notices
from ai.notices import mention as said_by
from ai.rules import RuleEngine
from ai.ruling import Rulings
from common.clock import ManualClock
from common.events.interactions import (
    FeedChange,
    FeedChanged,
    Mention,
    MentionReceived,
    StoryInsights,
    StoryInsightsReceived,
)
from common.events.replies import MentionReply, OperatorNotification
from common.merchants import Merchant, Rule, Then, When

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = Merchant(id="dar", name="Dar", account_id="1")


class World:
    """The database and Kafka of one test, and the figures."""

    def __init__(self):
        self.messages, self.lines, self.decisions, self.published = {}, [], {}, []
        self.publish_fails = False
        self.registry = CollectorRegistry()
        self.rulings = Rulings(RuleEngine(), observer=AIMetrics(CollectorRegistry()), clock=ManualClock(NOW))
        self.notices = self.process()

    def process(self):
        """Return the notices as a new process has them."""
        metrics, clock = AIMetrics(CollectorRegistry() if self.decisions else self.registry), ManualClock(NOW)
        return Notices(
            messages=self,
            lines=Lines(self),
            rulings=Rulings(RuleEngine(), observer=metrics, clock=clock),
            announcer=Announcer(decisions=Decisions(self), spending=None, observer=metrics, publish=self.publish),
            observer=metrics,
            clock=clock,
        )

    async def publish(self, events):
        if self.publish_fails:
            raise ConnectionError
        self.published += events

    async def store(self, said, *, merchant_id, now):
        known = self.messages.setdefault(said.id, {"text": said.text})
        fresh = "stored_at" not in known
        known.setdefault("stored_at", now)
        return Stored(fresh, known["stored_at"], known["text"], unsent="unsent" in known)

    async def edit(self, message_id, text, *, number, about):
        known = self.messages.setdefault(message_id, {})
        if "unsent" in known or known.get("edits", 0) > number:
            return False
        known.update(text=text, edits=number)
        return True

    async def erase(self, message_id, *, about):
        self.messages.setdefault(message_id, {}).update(text="", unsent=True)

    async def note_hidden(self, message_id, *, hidden):
        if message_id in self.messages:
            self.messages[message_id]["hidden"] = hidden

    def actions(self):
        return [event.data.action for event in self.published]

    def count(self, item, verb):
        return self.registry.get_sample_value("ai_feed_changes_total", {"item": item, "verb": verb})


class Lines:
    def __init__(self, world):
        self.world = world

    async def reword(self, conversation_id, line_id, text):
        self.world.lines.append((conversation_id, line_id, text))

    async def erase(self, conversation_id, line_id):
        self.world.lines.append((conversation_id, line_id, None))


class Decisions:
    def __init__(self, world):
        self.world = world

    async def covering(self, event_id):
        return next((one for one in self.world.decisions.values() if event_id in one.covers), None)

    async def store(self, decision):
        if decision.id in self.world.decisions:
            return self.world.decisions[decision.id], False
        self.world.decisions[decision.id] = Decision.from_document(decision.to_document())
        return decision, True


@pytest.fixture
def world():
    return World()


def event(kind, data, *, id_="e1", at=NOW):
    key = f"1:{data.contact_id or '-'}"
    return kind(id=id_, source="/ingest/instagram", subject=key, time=at, partitionkey=key, data=data)


def mention(**more):
    return event(MentionReceived, Mention(**{"account_id": "1", "media_id": "m7", **more}))


def feed(verb, item="comment", *, at=NOW, **more):
    data = {"account_id": "1", "contact_id": "9", "comment_id": "c1", "text": "worst shop ever, scam", **more}
    return event(FeedChanged, FeedChange(item=item, verb=verb, **data), id_=f"1:feed:{verb}", at=at)


def thanking(channel="mention", match="always", values=(), **then):
    then = then or {"reply": {"en": "Thank you from {shop}!", "ar": "شكراً من {shop}"}}
    when = When(channel=channel, match=match, values=values)
    return SHOP.model_copy(update={"rules": (Rule(name="thanks", when=when, then=Then(**then)),)})


async def test_a_mention_is_told_to_a_person_where_no_rule_answers_it(world):
    assert await world.notices.handle(SHOP, mention(comment_id="c2")) == "answered"
    (told,) = world.actions()
    assert isinstance(told, OperatorNotification)
    assert told.reason == "mentioned"
    assert "c2" in told.text
    assert "m7" in told.text
    (decision,) = world.decisions.values()
    assert (decision.covers, decision.attention) == (("e1",), "mentioned")


async def test_a_rule_for_mentions_answers_in_public_where_they_were_made(world):
    await world.notices.handle(thanking(), mention(comment_id="c2"))
    assert world.actions() == [MentionReply(media_id="m7", comment_id="c2", text="شكراً من Dar")]
    caption = World()
    await caption.notices.handle(thanking(), mention(text="great shop, thank you so much"))
    assert caption.actions() == [MentionReply(media_id="m7", comment_id=None, text="Thank you from Dar!")]


async def test_a_rule_for_mentions_can_look_at_their_words_where_they_are_told(world):
    shop = thanking(match="contains", values=("giveaway",), alert="giveaway")
    await world.notices.handle(shop, mention(text="join the giveaway"))
    assert [action.reason for action in world.actions()] == ["giveaway"]


async def test_a_rule_for_mentions_neither_hides_nor_writes_in_private(world):
    shop = thanking(reply={"en": "a"}, private_reply={"en": "b"}, hide_comment=True)
    await world.notices.handle(shop, mention(comment_id="c2"))
    assert [action.kind for action in world.actions()] == ["mention_reply"]


async def test_rules_for_comments_do_not_answer_mentions(world):
    await world.notices.handle(thanking("comment"), mention(comment_id="c2"))
    assert [action.kind for action in world.actions()] == ["operator_notification"]


async def test_a_mention_without_its_media_cannot_be_answered(world):
    await world.notices.handle(thanking(), mention(media_id=None, comment_id="c2"))
    assert [action.kind for action in world.actions()] == ["operator_notification"]


async def test_a_mention_that_comes_again_says_the_same_again(world):
    await world.notices.handle(SHOP, mention())
    await world.process().handle(thanking(), mention())
    first, second = world.published
    assert first.to_json() == second.to_json()
    assert len(world.decisions) == 1


async def test_a_mention_in_a_comment_that_is_answered_already_asks_for_nothing(world):
    about = SHOP, replace(said_by(mention(comment_id="c2")), id="1:cm:c2", channel="comment")
    await Decisions(world).store(world.rulings.told("praise", *about, "en"))
    for shop in (SHOP, thanking()):
        assert await world.notices.handle(shop, mention(comment_id="c2")) == "observed"
    assert world.published == []
    assert await world.notices.handle(SHOP, mention(comment_id="c3")) == "answered"


async def test_a_mention_that_was_decided_about_before_its_comment_is_said_again(world):
    world.publish_fails = True
    with pytest.raises(ConnectionError):
        await world.notices.handle(thanking(), mention(comment_id="c2"))
    about = SHOP, replace(said_by(mention(comment_id="c2")), id="1:cm:c2", channel="comment")
    await Decisions(world).store(world.rulings.told("praise", *about, "en"))
    world.publish_fails = False
    await world.process().handle(thanking(), mention(comment_id="c2"))
    assert [action.kind for action in world.actions()] == ["mention_reply"]


async def test_a_mention_whose_telling_failed_is_told_when_it_comes_again(world):
    world.publish_fails = True
    with pytest.raises(ConnectionError):
        await world.notices.handle(SHOP, mention())
    world.publish_fails = False
    await world.process().handle(SHOP, mention())
    assert len(world.published) == 1


@pytest.mark.parametrize("own", [{"from_account": True}, {"contact_id": "1"}, {"is_self": True}])
async def test_the_accounts_own_mentions_are_ignored(world, own):
    assert await world.notices.handle(SHOP, mention(**own)) == "ignored"
    assert (world.published, world.decisions) == ([], {})


async def test_a_bad_comment_on_the_page_calls_a_person_and_is_not_answered(world):
    assert await world.notices.handle(SHOP, feed("add")) == "answered"
    (told,) = world.actions()
    assert (told.kind, told.reason) == ("operator_notification", "negative_comment")
    assert "scam" not in told.text
    assert world.messages["1:cm:c1"]["text"] == "worst shop ever, scam"
    assert world.count("comment", "add") == 1


async def test_praise_on_the_page_is_only_stored_because_it_cannot_be_answered_from_here(world):
    assert await world.notices.handle(SHOP, feed("add", text="Génial !")) == "observed"
    assert (world.published, list(world.messages)) == ([], ["1:cm:c1"])


@pytest.mark.parametrize("own", [{"from_account": True}, {"contact_id": "1"}])
async def test_the_pages_own_comments_are_ignored(world, own):
    assert await world.notices.handle(SHOP, feed("add", **own)) == "ignored"
    assert (world.published, world.messages) == ([], {})


async def test_what_was_stored_of_a_comment_follows_what_becomes_of_it(world):
    await world.notices.handle(SHOP, feed("add", text="nice"))
    await world.notices.handle(SHOP, feed("hide"))
    assert world.messages["1:cm:c1"]["hidden"] is True
    await world.notices.handle(SHOP, feed("unhide"))
    assert world.messages["1:cm:c1"]["hidden"] is False
    await world.notices.handle(SHOP, feed("edited", text="very nice", at=NOW + timedelta(seconds=5)))
    assert world.messages["1:cm:c1"]["text"] == "very nice"
    await world.notices.handle(SHOP, feed("edited", text="older", at=NOW))
    assert world.messages["1:cm:c1"]["text"] == "very nice"
    await world.notices.handle(SHOP, feed("remove", text=None, contact_id=None))
    assert world.messages["1:cm:c1"]["text"] == ""
    assert world.lines == [("1:9", "1:cm:c1", "very nice"), ("1:-", "1:cm:c1", None)]


async def test_a_comment_that_was_removed_before_it_came_is_told_to_nobody(world):
    await world.notices.handle(SHOP, feed("remove"))
    assert await world.notices.handle(SHOP, feed("add")) == "observed"
    assert world.published == []


@pytest.mark.parametrize(("item", "verb"), [("post", "add"), ("reaction", "add"), ("comment", "block"), ("x", "y")])
async def test_all_else_on_a_page_is_counted(world, item, verb):
    assert await world.notices.handle(SHOP, feed(verb, item)) == "ignored"
    known = {"x": "other", "y": "other", "block": "other"}
    assert world.count(known.get(item, item), known.get(verb, verb)) == 1
    assert world.messages == {}


async def test_a_storys_figures_are_in_the_log(world):
    story = StoryInsights(account_id="1", media_id="s1", figures={"reach": 40, "replies": -1})
    with capture_logs() as logged:
        assert await world.notices.handle(SHOP, event(StoryInsightsReceived, story)) == "observed"
    assert logged[0]["event"] == "story.ended"
    assert logged[0]["figures"] == {"reach": 40, "replies": -1}


async def test_a_comment_on_the_page_whose_author_is_not_named_is_judged_like_any_other(world):
    assert await world.notices.handle(SHOP, feed("add", contact_id=None)) == "answered"
    (called,) = world.published
    assert isinstance(called.data.action, OperatorNotification)
