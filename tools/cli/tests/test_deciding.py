"""Deciding again: today's rules over yesterday's messages, with nobody asked and nothing sent."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ai.incoming import Incoming, incoming
from ai.rules import DEFAULT_RULES
from cli.comparison import Compared, as_data, effects, in_a_few_words, mark, sketch, summary
from cli.decided import Decided, from_replies
from cli.deciding import NotRecorded, Second, in_order
from common.events import Event
from common.events.control import Control, ConversationReleased, ConversationTakenOver
from common.events.interactions import Message, MessageReceived
from common.events.outcomes import HumanReplied, HumanReply
from common.events.replies import (
    Action,
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
    ReplyGenerated,
    SharedPost,
    SubscriberChange,
    Typing,
)
from common.merchants import Merchant, Rule, Then, When

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = Merchant(id="dar", name="Dar", account_id="1", price_link="https://shop.example/prices")
CONVERSATION = "1:5"


def message(text: str, mid: str = "m_1", *, at: datetime = NOW) -> MessageReceived:
    return MessageReceived(
        id=f"1:msg:{mid}",
        source="/ingest/instagram",
        subject=CONVERSATION,
        time=at,
        partitionkey=CONVERSATION,
        data=Message(account_id="1", contact_id="5", mid=mid, text=text),
    )


def said(text: str, mid: str = "m_1", *, at: datetime = NOW) -> Incoming:
    found = incoming(message(text, mid, at=at))
    assert found is not None
    return found


def model_said(text: str, *more: Action, origin: str = "model") -> Decided:
    return Decided(origin=origin, actions=(DirectMessage(text=text), *more), covers=("1:msg:m_1",), language="ar")


def second() -> Second:
    return Second(human_pause=timedelta(hours=12), begin=NOW)


async def test_a_rule_decides_as_the_service_would() -> None:
    now = await second().decide(SHOP, said("بيش هذا؟"), None, NOW)
    assert now is not None
    assert (now.origin, now.rule) == ("rule", "price")
    assert "https://shop.example/prices" in (now.text or "")


async def test_where_the_model_decided_its_recorded_answer_stands_in() -> None:
    then = model_said("إي، عدنا توصيل")
    now = await second().decide(SHOP, said("أكو توصيل للموصل؟"), then, NOW)
    assert now is not None
    assert effects(now.actions) == effects(then.actions)
    assert mark("1:msg:m_1", then, now) == "same"


async def test_a_recorded_call_for_a_person_is_decided_again() -> None:
    then = model_said("راح نشوف", OperatorNotification(reason="escalated", text="worded then"))
    now = await second().decide(SHOP, said("الطلب مكسور وأريد أحچي ويا مسؤول"), then, NOW)
    assert mark("1:msg:m_1", then, now) == "same"


async def test_a_model_that_failed_then_fails_again_with_the_same_apology() -> None:
    now = await second().decide(SHOP, said("أكو توصيل للموصل؟"), model_said("any", origin="apology"), NOW)
    assert now is not None
    assert now.origin == "apology"
    assert [action.kind for action in now.actions] == ["direct_message", "operator_notification"]


@pytest.mark.parametrize("then", [None, Decided("rule", (DirectMessage(text="x"),), ("1:msg:m_1",), rule="gone")])
async def test_where_no_answer_was_recorded_the_model_would_be_needed(then: Decided | None) -> None:
    with pytest.raises(NotRecorded):
        await second().decide(SHOP, said("أكو توصيل للموصل؟"), then, NOW)


async def test_messages_that_were_answered_together_are_decided_about_together_again() -> None:
    then = replace(model_said("إي، عدنا توصيل"), covers=("1:msg:m_1", "1:msg:m_2"))
    rule = Rule(
        name="delivery",
        when=When(channel="direct_message", match="contains", values=("توصيل",)),
        then=Then(reply={"ar": "التوصيل 5000"}),
    )
    again, shop = second(), SHOP.model_copy(update={"rules": (rule,)})
    assert await again.decide(shop, said("أكو توصيل؟"), then, NOW) is None
    assert mark("1:msg:m_1", then, None) == "covered"
    now = await again.decide(shop, said("للموصل", "m_2"), then, NOW)
    assert now is not None
    assert (now.rule, now.covers) == ("delivery", ("1:msg:m_1", "1:msg:m_2"))


async def test_a_new_rule_takes_over_what_the_model_said() -> None:
    rule = Rule(
        name="delivery",
        when=When(channel="direct_message", match="contains", values=("توصيل",)),
        then=Then(reply={"ar": "التوصيل 5000"}),
    )
    shop = SHOP.model_copy(update={"rules": (rule, *DEFAULT_RULES)})
    then = model_said("إي، عدنا توصيل")
    now = await second().decide(shop, said("أكو توصيل؟"), then, NOW)
    assert mark("1:msg:m_1", then, now) == "different"
    assert sketch(now) == "rule delivery: التوصيل 5000"


async def test_a_conversation_that_a_person_answers_stays_silent_until_the_pause_is_over() -> None:
    again = second()
    again.observe(human_replied(NOW))
    assert await again.decide(SHOP, said("بيش هذا؟"), None, NOW + timedelta(hours=11)) is None
    assert await again.decide(SHOP, said("بيش هذا؟", "m_2"), None, NOW + timedelta(hours=13)) is not None


async def test_taken_over_is_silent_and_released_answers_again() -> None:
    again = second()
    again.observe(control(ConversationTakenOver, NOW))
    assert await again.decide(SHOP, said("بيش هذا؟"), None, NOW + timedelta(hours=3)) is None
    again.observe(control(ConversationReleased, NOW + timedelta(hours=4)))
    assert await again.decide(SHOP, said("بيش هذا؟", "m_2"), None, NOW + timedelta(hours=5)) is not None


async def test_a_conversation_keeps_the_language_it_had_before() -> None:
    then = Decided("rule", (DirectMessage(text="x"),), ("1:msg:m_1",), rule="price", language="fr")
    shop = SHOP.model_copy(
        update={
            "rules": (
                Rule(
                    name="ok",
                    when=When(channel="direct_message", match="equals", values=("ok",)),
                    then=Then(reply={"ar": "تمام", "fr": "Très bien"}),
                ),
            )
        }
    )
    now = await second().decide(shop, said("ok"), then, NOW)
    assert now is not None
    assert now.text == "Très bien"


def human_replied(at: datetime) -> Event:
    return HumanReplied(
        id="h_1",
        source="/delivery",
        subject=CONVERSATION,
        time=at,
        partitionkey=CONVERSATION,
        data=HumanReply(merchant_id="dar", account_id="1", contact_id="5", mid="m_h"),
    )


def control(kind: type[ConversationTakenOver | ConversationReleased], at: datetime) -> Event:
    data = Control(merchant_id="dar", account_id="1", contact_id="5", by="someone")
    return kind(id=f"c_{at}", source="/delivery", subject=CONVERSATION, time=at, partitionkey=CONVERSATION, data=data)


def published(reply_id: str, action: Action, **changes: Any) -> ReplyGenerated:
    facts: dict[str, Any] = {
        "reply_id": reply_id,
        "decision_id": "dec_1",
        "merchant_id": "dar",
        "account_id": "1",
        "contact_id": "5",
        "origin": "model",
        "action": action,
        "in_reply_to": "1:msg:m_1",
    }
    return ReplyGenerated(
        id=reply_id,
        source="/ai",
        subject=CONVERSATION,
        time=NOW,
        partitionkey=CONVERSATION,
        data=Reply(**(facts | changes)),
    )


def test_published_replies_tell_what_was_decided_once() -> None:
    first, called = DirectMessage(text="هلا"), OperatorNotification(reason="escalated", text="x")
    asked_for = published("r_3", DirectMessage(text="campaign"), origin="api", in_reply_to=None)
    decided = from_replies([published("r_1", first), published("r_2", called), published("r_1", first), asked_for])
    assert list(decided) == ["1:msg:m_1"]
    assert decided["1:msg:m_1"].actions == (first, called)
    assert decided["1:msg:m_1"].reply_ids == ("r_1", "r_2")


def test_events_are_taken_in_order_and_a_redelivered_one_once() -> None:
    first, later = message("a", "m_1"), message("b", "m_2")
    assert [event.id for _, event in in_order([(3, first), (2, later), (1, first)])] == [first.id, later.id]


def test_every_way_two_decisions_compare() -> None:
    one, other = model_said("a"), model_said("b")
    assert mark("1:msg:m_1", one, one) == "same"
    assert mark("1:msg:m_1", one, other) == "different"
    assert mark("1:msg:m_1", one, None) == "different"
    assert mark("1:msg:m_1", None, one) == "different"
    assert mark("1:msg:m_1", None, None) == "silent"
    assert mark("1:msg:m_1", one, None, model_needed=True) == "model"
    assert mark("1:msg:m_0", one, None) == "covered"


def test_the_wording_of_a_notification_is_no_difference() -> None:
    then = model_said("a", OperatorNotification(reason="escalated", text="then"))
    now = model_said("a", OperatorNotification(reason="escalated", text="now"))
    assert mark("1:msg:m_1", then, now) == "same"


def test_every_action_has_an_effect_and_words_but_typing() -> None:
    actions = (
        Typing(),
        CommentReply(comment_id="18", text="شكراً"),
        PrivateReply(comment_id="18", text="هلا"),
        HideComment(comment_id="18"),
        HideComment(comment_id="19", hidden=False),
        OperatorNotification(reason="negative_comment", text="x"),
    )
    assert effects(actions) == [
        ("comment_reply", "18", "شكراً"),
        ("private_reply", "18", "هلا"),
        ("hide_comment", "18", "true"),
        ("hide_comment", "19", "false"),
        ("operator_notification", "negative_comment"),
    ]
    said = sketch(Decided("rule", actions, ("m",), rule="thanks"))
    assert said == (
        "rule thanks: شكراً, in private: هلا, hides the comment, shows the comment, tells a person (negative_comment)"
    )
    assert sketch(Decided("rule", (), ("m",), rule="nothing-at-all")) == "rule nothing-at-all"
    assert sketch(None) == "nothing"


SAID: dict[str, Action] = {
    "sends image": MediaMessage(media="image", urls=("https://shop.example/1.png",)),
    "sends 2 images": MediaMessage(media="image", urls=("https://shop.example/1.png", "https://shop.example/2.png")),
    "sends a heart": Heart(),
    "shares the post 17": SharedPost(media_id="17"),
    "cards: Lamp, Chair": Cards(cards=(Card(title="Lamp"), Card(title="Chair"))),
    "Which? [Yes] [No]": Buttons(
        text="Which?", buttons=(Button(title="Yes", payload="y"), Button(title="No", url="https://shop.example/no"))
    ),
    "starts the flow f1": Flow(flow_ns="f1"),
    "reacts with love": MessageReaction(mid="m_1"),
    "takes its reaction back": MessageReaction(mid="m_1", reaction=None),
    "add_tag buyer in ManyChat": SubscriberChange(change="add_tag", name="buyer"),
    "thanks": MentionReply(media_id="17", text="thanks"),
    "deletes the comment": DeleteComment(comment_id="18"),
    "": MarkSeen(),
}


@pytest.mark.parametrize(("said", "action"), SAID.items())
def test_what_is_sent_is_said_in_a_few_words(said: str, action: Action) -> None:
    assert in_a_few_words(action) == said


def test_a_summary_counts_in_words_and_data_carries_the_actions() -> None:
    one = Compared("1:msg:m_1", NOW, CONVERSATION, "direct_message", "بيش", model_said("a"), None, "different")
    assert summary([one]) == "1 message: 1 decided differently"
    assert summary([]) == "no messages"
    told = as_data(one)
    assert told["then"]["actions"] == [{"kind": "direct_message", "text": "a", "quick_replies": []}]
    assert told["now"] is None
