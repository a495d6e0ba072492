"""The sandbox's model understands and answers in three languages, always the same, and invents nothing."""

import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from devkit.sandbox.schema_filling import fill
from devkit.sandbox.small_talk import REPLIES
from devkit.sandbox.talk import INTENTS, answer, language_of, lead_of


@pytest.mark.parametrize(
    ("text", "language", "intent", "sentiment"),
    [
        ("هلو، شلونكم؟", "ar", "greeting", "neutral"),
        ("السلام عليكم", "ar", "greeting", "neutral"),
        ("هلو شكد السعر؟", "ar", "price", "neutral"),
        ("بيش هاي الحقيبة", "ar", "price", "neutral"),
        ("اكو منه أسود هسه؟", "ar", "availability", "neutral"),
        ("توصلون للبصرة؟", "ar", "delivery", "neutral"),
        ("وين وصل طلبي؟", "ar", "order_status", "neutral"),
        ("شنو القياسات المتوفرة", "ar", "size", "neutral"),
        ("تقبلون زين كاش؟", "ar", "payment", "neutral"),
        ("أكو خصم؟", "ar", "discount", "neutral"),
        ("وينكم بالضبط؟", "ar", "location", "neutral"),
        ("أريد أطلب وحدة", "ar", "order", "neutral"),
        ("الطلب ما وصل وأني زعلان", "ar", "complaint", "negative"),
        ("أريد أرجع القطعة", "ar", "return", "neutral"),
        ("أريد أحجي ويا موظف", "ar", "human", "neutral"),
        ("شكراً إلكم", "ar", "thanks", "positive"),
        ("يخبل والله 😍", "ar", "praise", "positive"),
        ("اسمي زينب ورقمي 07701234567", "ar", "contact", "neutral"),
        ("Bonjour, quel est le prix ?", "fr", "price", "neutral"),
        ("Salut", "fr", "greeting", "neutral"),
        ("Vous livrez à Lyon ?", "fr", "delivery", "neutral"),
        ("Où en est ma commande ?", "fr", "order_status", "neutral"),
        ("C'est disponible en rouge ?", "fr", "availability", "neutral"),
        ("Arrivé cassé, je suis très déçu", "fr", "complaint", "negative"),
        ("Merci beaucoup", "fr", "thanks", "positive"),
        ("génial", "fr", "praise", "positive"),
        ("Hello!", "en", "greeting", "neutral"),
        ("How much is this?", "en", "price", "neutral"),
        ("Do you ship to Erbil?", "en", "delivery", "neutral"),
        ("What sizes are left?", "en", "size", "neutral"),
        ("This is the worst shop", "en", "complaint", "negative"),
        ("I want to speak to someone", "en", "human", "neutral"),
        ("thanks a lot", "en", "thanks", "positive"),
        ("[image]", "ar", "media", "neutral"),
        ("xyzzy", "en", "other", "neutral"),
    ],
)
def test_messages_are_understood(text, language, intent, sentiment):
    thought = answer(text)
    assert (thought.language, thought.intent, thought.sentiment) == (language, intent, sentiment)


def test_a_picture_alone_is_answered_in_the_language_spoken_before():
    assert answer("[image]", earlier="Bonjour").language == "fr"


def test_complaints_and_wishes_for_a_person_are_escalated_and_nothing_else():
    assert answer("Arrivé cassé, je suis déçu").escalate
    assert answer("أريد موظف").escalate
    assert not answer("شكد السعر").escalate


def test_what_customers_tell_about_themselves_is_collected():
    lead = lead_of("اسمي زينب كاظم ورقمي 07701234567 أريد حقيبة، zainab@example.com")
    assert (lead.phone, lead.email, lead.interest) == ("07701234567", "zainab@example.com", "حقيبة")
    assert lead.name.startswith("زينب")
    assert lead_of("hello") == lead_of("")


@given(st.text())
def test_any_text_gets_the_same_answer_twice_and_no_figure_in_it(text):
    """A checker of facts must find no invented price, date or number in a reply."""
    thought = answer(text)
    assert thought == answer(text)
    assert thought.reply
    assert thought.intent in INTENTS
    assert not re.search(r"\d", thought.reply)


@pytest.mark.parametrize("intent", INTENTS)
def test_every_intent_has_replies_in_each_language_and_they_are_in_it(intent):
    for language, replies in REPLIES[intent].items():
        assert [language_of(reply) for reply in replies] == [language] * len(replies)
    assert set(REPLIES[intent]) == {"ar", "fr", "en"}


class _Lead(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str | None
    phone: str | None
    email: str | None
    interest: str | None


class _Decision(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reply: str = Field(min_length=1)
    intent: Literal["greeting", "product_question", "price_question", "complaint", "other"]
    sentiment: Literal["positive", "neutral", "negative"]
    language: Literal["ar", "fr", "en"]
    escalate: bool
    lead: _Lead


class _Stranger(BaseModel):
    model_config = ConfigDict(extra="forbid")
    answer: str
    confidence: float = Field(ge=0.5, le=1)
    steps: list[_Lead] = Field(min_length=2, max_length=3)
    mood: Literal["positive", "neutral", "negative"] | None
    count: int = Field(ge=3)
    kind: Literal["only"]
    tags: list[str]
    note: str = Field(max_length=5)
    handoff: bool


def _known(text):
    from dataclasses import asdict

    return asdict(answer(text))


def test_our_own_schema_is_filled_with_what_was_understood():
    decision = _Decision.model_validate(fill(_Decision.model_json_schema(), _known("شكد السعر؟")))
    assert decision.intent == "price_question"
    assert decision.language == "ar"
    assert decision.reply == answer("شكد السعر؟").reply
    assert decision.lead == _Lead(name=None, phone=None, email=None, interest=None)


def test_a_choice_that_the_schema_offers_is_taken_as_it_is():
    decision = _Decision.model_validate(fill(_Decision.model_json_schema(), _known("Merci, c'est génial")))
    assert (decision.sentiment, decision.language) == ("positive", "fr")


@given(st.text())
def test_any_schema_is_filled_validly(text):
    stranger = _Stranger.model_validate(fill(_Stranger.model_json_schema(), _known(text)))
    assert stranger.answer == answer(text).reply
    assert stranger.mood == answer(text).sentiment


def test_a_schema_that_has_no_end_is_refused_rather_than_followed():
    endless = {"$defs": {"A": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"}
    with pytest.raises(ValueError, match="too deep"):
        fill(endless)
