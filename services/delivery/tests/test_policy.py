"""Whether a reply may be sent, before anything is."""

from datetime import UTC, datetime, timedelta

import pytest

from common.events.replies import (
    Button,
    Buttons,
    Card,
    Cards,
    CommentReply,
    DeleteComment,
    DirectMessage,
    Flow,
    Heart,
    HideComment,
    MarkSeen,
    MediaMessage,
    MentionReply,
    MessageReaction,
    OperatorNotification,
    PrivateReply,
    Reply,
    SharedPost,
    SubscriberChange,
    Typing,
)
from common.kafka.topics import SOURCES
from delivery.contacts import JAWAB, Contact
from delivery.rules.comment_rules import PUBLIC_REPLY_WINDOW
from delivery.rules.opt_ins import OptInToken
from delivery.rules.policy import Allow, Withhold, is_human_agent, judge

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
MARGIN = timedelta(seconds=60)
TICK = timedelta(milliseconds=1)


def verdict(action, *, origin="model", contact=None, decided_at=NOW, human_agent=False, **changes):
    own = {"reply_id": "r", "merchant_id": "shop", "account_id": "1", "contact_id": "2", **changes}
    reply = Reply(origin=origin, action=action, **own)
    return judge(reply, decided_at=decided_at, contact=contact, now=NOW, margin=MARGIN, human_agent=human_agent)


def reason(*arguments, **named):
    said = verdict(*arguments, **named)
    return said.reason if isinstance(said, Withhold) else None


RECENT = Contact("1:2", last_customer_at=NOW - timedelta(hours=1))
OLD = Contact("1:2", last_customer_at=NOW - DAY)
TEXT = DirectMessage(text="Hello")
SAID_IN_THE_THREAD = [
    TEXT,
    MediaMessage(media="image", urls=("https://shop.example/a.png",)),
    Heart(),
    SharedPost(media_id="9"),
    Cards(cards=(Card(title="A"),)),
    Buttons(text="A", buttons=(Button(title="B", payload="b"),)),
    Flow(flow_ns="content1"),
]
TAGGABLE = [action for action in SAID_IN_THE_THREAD if not isinstance(action, Flow)]
PUBLIC = [CommentReply(comment_id="c", text="x"), MentionReply(media_id="m", text="x")]
GESTURES = [MessageReaction(mid="m"), MarkSeen(), Typing()]
PRIVATE = PrivateReply(comment_id="c", text="x")
UNSEEN = [
    HideComment(comment_id="c"),
    DeleteComment(comment_id="c"),
    OperatorNotification(reason="r", text="x"),
    SubscriberChange(change="add_tag", name="vip"),
]


def named(action):
    return action.kind


def long_ago(ago, **changes):
    return Contact("1:2", last_customer_at=NOW - ago, **changes)


def person(**changes):
    return Contact(
        **{
            "conversation_id": "1:2",
            "last_customer_at": NOW,
            "owner": "human",
            "owner_by": "person",
            "owner_since": NOW - timedelta(seconds=5),
            "owner_until": NOW + timedelta(hours=12),
            **changes,
        }
    )


def test_a_direct_message_goes_while_the_window_is_open():
    assert verdict(TEXT, contact=RECENT) == Allow()


def test_a_direct_message_without_a_tag_does_not_go_once_the_window_is_closed():
    assert reason(TEXT, contact=OLD) == "window_closed"
    assert reason(TEXT, contact=None) == "window_closed"


def test_what_is_answered_opens_the_window_even_before_it_was_observed():
    answered = {"in_reply_to": "1:msg:m1", "customer_acted_at": NOW - timedelta(seconds=1)}
    assert verdict(TEXT, contact=None, **answered) == Allow()
    assert verdict(TEXT, contact=OLD, **{**answered, "in_reply_to": "1:pb:m1"}) == Allow()


@pytest.mark.parametrize("kind", ["cm", "mn", "rx", "seen"])
def test_a_comment_a_mention_a_reaction_or_a_read_opens_no_window(kind):
    assert reason(TEXT, contact=None, in_reply_to=f"1:{kind}:x", customer_acted_at=NOW) == "window_closed"
    assert reason(TEXT, contact=None, in_reply_to=None, customer_acted_at=NOW) == "window_closed"


@pytest.mark.parametrize("action", [*SAID_IN_THE_THREAD, MessageReaction(mid="m")], ids=named)
@pytest.mark.parametrize("origin", ["model", "api", "human"])
def test_whatever_goes_into_the_thread_needs_the_window(action, origin):
    assert verdict(action, origin=origin, contact=long_ago(DAY - MARGIN - TICK)) == Allow()
    assert reason(action, origin=origin, contact=long_ago(DAY - MARGIN)) == "window_closed"
    assert reason(action, origin=origin, contact=None) == "window_closed"


@pytest.mark.parametrize("action", [*PUBLIC, *UNSEEN, MarkSeen()], ids=named)
def test_what_does_not_go_into_the_thread_needs_no_window(action):
    assert verdict(action, contact=OLD) == Allow()
    assert verdict(action, contact=None) == Allow()


def test_a_date_in_the_future_holds_no_window_open():
    """What is answered was done before it was decided, whatever its webhook says."""
    future = {"in_reply_to": "1:msg:m1", "customer_acted_at": NOW + timedelta(days=400)}
    assert reason(TEXT, decided_at=NOW - DAY, **future) == "window_closed"
    assert verdict(TEXT, decided_at=NOW - timedelta(hours=1), **future) == Allow()
    late = {"customer_acted_at": NOW + timedelta(days=400)}
    assert reason(PRIVATE, decided_at=NOW - timedelta(days=8), **late) == "comment_too_old"


class TestSevenDaysForPeople:
    @pytest.mark.parametrize("action", TAGGABLE, ids=named)
    def test_a_person_may_answer_with_the_tag_where_the_account_has_the_feature(self, action):
        week = timedelta(days=7)
        allowed = Allow(only_graph=True, human_agent=True)
        for ago in (DAY - MARGIN, DAY, week - MARGIN - TICK):
            assert verdict(action, origin="human", contact=long_ago(ago), human_agent=True) == allowed
        for ago in (week - MARGIN, week, week + TICK):
            assert reason(action, origin="human", contact=long_ago(ago), human_agent=True) == "window_closed"

    @pytest.mark.parametrize("action", [Flow(flow_ns="content1"), MessageReaction(mid="m")], ids=named)
    def test_what_can_carry_no_tag_does_not_go_after_24_hours(self, action):
        assert reason(action, origin="human", contact=OLD, human_agent=True) == "window_closed"

    def test_within_24_hours_no_tag_is_used(self):
        assert verdict(TEXT, origin="human", contact=RECENT, human_agent=True) == Allow()

    def test_not_without_the_feature(self):
        assert reason(TEXT, origin="human", contact=OLD) == "window_closed"

    @pytest.mark.parametrize("origin", ["model", "rule", "apology", "api"])
    @pytest.mark.parametrize("action", SAID_IN_THE_THREAD, ids=named)
    def test_never_for_the_bot_or_a_program(self, origin, action):
        assert reason(action, origin=origin, contact=OLD, human_agent=True) == "window_closed"

    def test_not_when_it_is_not_known_when_the_customer_wrote(self):
        assert reason(TEXT, origin="human", contact=None, human_agent=True) == "window_closed"

    def test_a_person_who_gives_the_tag_may_also_go_over_manychat(self):
        tagged = DirectMessage(text="Hi", message_tag="HUMAN_AGENT")
        assert verdict(tagged, origin="human", contact=OLD, human_agent=True) == Allow(human_agent=True)
        assert reason(tagged, origin="human", contact=OLD) == "window_closed"


class TestOptIn:
    TOKEN = OptInToken("tok", NOW - timedelta(days=30))

    @pytest.mark.parametrize("action", TAGGABLE, ids=named)
    @pytest.mark.parametrize("origin", ["model", "api", "human"])
    def test_outside_the_window_a_token_lets_one_message_go(self, action, origin):
        said = verdict(action, origin=origin, contact=long_ago(DAY, opt_ins=(self.TOKEN,)))
        assert said == Allow(only_graph=True, opt_in_token="tok")

    def test_no_token_is_spent_while_the_window_is_open(self):
        assert verdict(TEXT, contact=long_ago(timedelta(0), opt_ins=(self.TOKEN,))) == Allow()

    def test_a_persons_answer_goes_without_a_token_while_it_can(self):
        said = verdict(TEXT, origin="human", contact=long_ago(DAY, opt_ins=(self.TOKEN,)), human_agent=True)
        assert said == Allow(only_graph=True, human_agent=True)

    @pytest.mark.parametrize("action", [Flow(flow_ns="content1"), MessageReaction(mid="m")], ids=named)
    def test_what_cannot_be_addressed_to_a_token_does_not_go(self, action):
        assert reason(action, contact=long_ago(DAY, opt_ins=(self.TOKEN,))) == "window_closed"

    def test_a_used_or_expired_token_lets_nothing_go(self):
        used = OptInToken("tok", NOW, used_by="another reply")
        over = OptInToken("tok", NOW, expires_at=NOW + MARGIN)
        assert reason(TEXT, contact=long_ago(DAY, opt_ins=(used, over))) == "window_closed"

    def test_the_reply_that_uses_a_token_may_be_tried_again(self):
        mine = OptInToken("tok", NOW, used_by="r")
        assert verdict(TEXT, contact=long_ago(DAY, opt_ins=(mine,))) == Allow(only_graph=True, opt_in_token="tok")


class TestTheAccountItself:
    @pytest.mark.parametrize("origin", ["model", "api", "human"])
    @pytest.mark.parametrize("action", [*SAID_IN_THE_THREAD, *PUBLIC, *GESTURES, PRIVATE], ids=named)
    def test_nothing_is_said_to_the_account(self, origin, action):
        assert reason(action, origin=origin, contact_id="1", contact=RECENT) == "own_account"

    @pytest.mark.parametrize("action", UNSEEN, ids=named)
    def test_its_comments_are_moderated_and_its_people_alerted_all_the_same(self, action):
        assert verdict(action, contact_id="1") == Allow()

    def test_the_bot_answers_no_message_of_the_account_to_itself(self):
        assert reason(TEXT, contact=Contact("1:2", is_self=True)) == "own_account"

    @pytest.mark.parametrize("origin", ["api", "human"])
    def test_a_message_of_the_account_to_itself_needs_no_window(self, origin):
        assert verdict(TEXT, origin=origin, contact=Contact("1:2", is_self=True)) == Allow()


def test_a_message_tag_lets_only_the_tagged_route_try_outside_the_window():
    tagged = DirectMessage(text="Hello", message_tag="CONFIRMED_EVENT_UPDATE")
    assert verdict(tagged, contact=OLD) == Allow(only_tagged=True)
    assert verdict(tagged, contact=RECENT) == Allow()


@pytest.mark.parametrize("origin", ["model", "rule", "apology", "api"])
@pytest.mark.parametrize("tag", ["HUMAN_AGENT", " human_agent ", "HUMAN\u200b_AGENT", "\uff28UMAN\uff3fAGENT"])
def test_the_human_agent_tag_is_refused_for_whatever_no_person_wrote(origin, tag):
    assert reason(DirectMessage(text="Hello", message_tag=tag), origin=origin, contact=RECENT) == "human_agent_tag"


@pytest.mark.parametrize(
    "written",
    [
        "Human_Agent",
        "\u2068HUMAN_AGENT\u2069",
        "HUMAN\u00ad_AGENT",
        "HU\u200dMAN_AGENT",
        "HUMAN_AGENT\ufeff",
        "HUMAN_AGENT\ufe0f",
        "\u3164HUMAN_AGENT",
        "HUMAN_\u2800AGENT",
        "\uff28\uff35\uff2d\uff21\uff2e_\uff21\uff27\uff25\uff2e\uff34",
        "HUMAN_\tAGENT\x00",
    ],
)
def test_the_human_agent_tag_is_known_in_every_disguise_that_nobody_sees(written):
    assert is_human_agent(written)


@pytest.mark.parametrize("tag", [None, "", "HUMANAGENT", "HUMAN_AGENTS", "CONFIRMED_EVENT_UPDATE"])
def test_other_tags_are_other_tags(tag):
    assert not is_human_agent(tag)


def test_a_person_may_use_the_human_agent_tag():
    assert verdict(DirectMessage(text="Hi", message_tag="HUMAN_AGENT"), origin="human", contact=RECENT) == Allow()


@pytest.mark.parametrize("action", [*SAID_IN_THE_THREAD, *PUBLIC, *GESTURES, PRIVATE], ids=named)
def test_a_bot_keeps_silent_while_a_person_answers(action):
    assert reason(action, contact=person()) == "human_owns"


@pytest.mark.parametrize("action", UNSEEN, ids=named)
def test_moderation_and_alerts_go_on_while_a_person_answers(action):
    assert verdict(action, contact=person()) == Allow()


@pytest.mark.parametrize("origin", ["api", "human"])
@pytest.mark.parametrize("action", [*SAID_IN_THE_THREAD, *GESTURES], ids=named)
def test_what_people_and_their_systems_send_goes_while_a_person_answers(origin, action):
    assert verdict(action, origin=origin, contact=person()) == Allow()


def test_a_persons_turn_ends_after_the_pause():
    assert verdict(TEXT, contact=person(owner_until=NOW)) == Allow()
    assert reason(TEXT, contact=person(owner_until=NOW + timedelta(milliseconds=1))) == "human_owns"


def test_what_jawab_said_when_it_handed_over_still_goes_and_nothing_after_it():
    handed = person(owner_by=JAWAB, owner_since=NOW)
    assert verdict(TEXT, contact=handed, decided_at=NOW) == Allow()
    assert reason(TEXT, contact=handed, decided_at=NOW + timedelta(milliseconds=1)) == "human_owns"


def test_a_reply_decided_before_a_person_wrote_does_not_go_after_them():
    assert reason(TEXT, contact=person(), decided_at=NOW - timedelta(seconds=10)) == "human_owns"


def test_a_comment_older_than_seven_days_is_not_answered_privately():
    action = PrivateReply(comment_id="c", text="x")
    assert reason(action, customer_acted_at=NOW - timedelta(days=7)) == "comment_too_old"
    assert verdict(action, customer_acted_at=NOW - timedelta(days=6)) == Allow()


@pytest.mark.parametrize("action", PUBLIC, ids=named)
@pytest.mark.parametrize("origin", ["rule", "model", "apology", "api"])
def test_an_old_comment_is_not_answered_publicly_without_an_agent(action, origin):
    edge = NOW - timedelta(days=7) + MARGIN
    assert verdict(action, origin=origin, customer_acted_at=edge + TICK) == Allow()
    assert reason(action, origin=origin, customer_acted_at=edge) == "comment_too_old"
    assert reason(action, origin=origin, customer_acted_at=NOW - timedelta(days=400)) == "comment_too_old"
    assert verdict(action, origin=origin) == Allow()


@pytest.mark.parametrize("action", PUBLIC, ids=named)
def test_an_agent_may_answer_an_old_comment(action):
    assert verdict(action, origin="human", customer_acted_at=NOW - timedelta(days=400)) == Allow()


def test_a_copy_of_a_webhook_is_too_old_before_retention_forgets_that_it_was_answered():
    """Nothing may be retained for less long than the topics can be read again."""
    retained = max(topic.retention_ms for topic in SOURCES if topic.keyed_by == "conversation")
    assert timedelta(milliseconds=retained) > PUBLIC_REPLY_WINDOW


def test_a_live_comment_is_answered_privately_while_it_can_be_live_and_never_publicly():
    live = PrivateReply(comment_id="c", text="x", live=True)
    assert verdict(live, customer_acted_at=NOW - timedelta(hours=4) + MARGIN + TICK) == Allow()
    assert reason(live, customer_acted_at=NOW - timedelta(hours=4) + MARGIN) == "comment_too_old"
    assert reason(CommentReply(comment_id="c", text="x", live=True), origin="human") == "comment_live"


@pytest.mark.parametrize("hidden", ["c", "p"])
def test_no_answer_stands_under_a_comment_that_was_hidden_here(hidden):
    contact = Contact("1:2", hidden_comments=frozenset({hidden}))
    action = CommentReply(comment_id="c", parent_id="p", text="x")
    assert reason(action, contact=contact) == "comment_hidden"
    assert verdict(CommentReply(comment_id="another", text="x"), contact=contact) == Allow()


def test_a_comment_is_answered_whatever_the_messaging_window():
    assert verdict(CommentReply(comment_id="c", text="x"), contact=OLD) == Allow()
    assert verdict(PrivateReply(comment_id="c", text="x"), contact=OLD) == Allow()


def test_a_typing_indicator_is_not_shown_when_it_would_be_over():
    assert verdict(Typing(), decided_at=NOW - timedelta(seconds=20)) == Allow()
    assert reason(Typing(), decided_at=NOW - timedelta(seconds=21)) == "too_late"


class TestReasons:
    """A merchant reads since when nothing may be sent, what still may, and what to do."""

    def detail(self, *arguments, **named):
        return verdict(*arguments, **named).detail

    def test_a_closed_window_says_since_when_and_who_may_still_answer(self):
        said = self.detail(TEXT, contact=OLD, human_agent=True)
        assert "last wrote at 2026-02-28 12:00 UTC" in said
        assert "until 2026-03-01 11:59 UTC" in said
        assert "Until 2026-03-07 11:59 UTC a person may still answer" in said

    def test_without_the_feature_it_says_so(self):
        assert "`human_agent`" in self.detail(TEXT, origin="human", contact=OLD)

    def test_after_seven_days_only_the_app_is_left(self):
        said = self.detail(TEXT, origin="human", contact=long_ago(timedelta(days=8)), human_agent=True)
        assert "7 days in which a person may answer ended at 2026-02-28 11:59 UTC" in said
        assert "in the Instagram app" in said

    def test_an_unknown_window_is_not_said_to_have_closed(self):
        assert "it is not known that this one ever did" in self.detail(TEXT, contact=None)

    def test_a_reaction_is_not_what_a_person_may_still_send(self):
        said = self.detail(MessageReaction(mid="m"), origin="human", contact=OLD, human_agent=True)
        assert "texts, media and cards, not this" in said

    @pytest.mark.parametrize("action", [*SAID_IN_THE_THREAD, *PUBLIC, *GESTURES, PRIVATE], ids=named)
    def test_every_reason_is_a_sentence(self, action):
        said = self.detail(action, contact=person())
        assert (
            said
            == "A person answers this conversation until 2026-03-02 00:00 UTC; release it, and Jawab answers again."
        )
