"""Sentiment by word lists: praise, complaint, negation of both, and the neutral rest, in three languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.sentiment import asks, sentiment_of


@pytest.mark.parametrize(
    "text",
    [
        *("super", "Génial !", "MERCI", "love", "J'adore cette robe", "Pas mal du tout", "jamais déçue", "Trop beau"),
        *("Love it ❤️", "not bad", "Beautiful!!", "never disappointed", "I like this", "not only beautiful"),
        *("حلو", "روعة", "كلش حلو والله", "ما شاء الله روعة", "عجبني هواية", "مو بطال", "عاشت ايدكم", "غير شكل"),
        *("👍🏽", "کلش حلوہ", "روعە", "حلو\u200cهواية"),
        *("😍", "🔥🔥", "merciiiii", "superrr", "تسلم", "shukran", "ما أحلاه وما أجمل", "والله شكرا"),
    ],
)
def test_praise_is_positive(text):
    assert sentiment_of(text) == "positive"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Super déçu",
            "pas génial",
            "Très déçue de ma commande",
            "je n'aime pas",
            "C'est nul",
            "Arnaque !!",
            "trop cher",
            "super cher",
            "so pretty bad",
        ),
        *("jamais reçu ma commande, merci bien", "Ça ne marche pas", "super nul", "ce n'est vraiment pas top"),
        *(
            "not good",
            "isn't great",
            "worst shop ever",
            "I don't like it",
            "never received my order",
            "very bad",
            "scam",
        ),
        *("Love the colour but it arrived broken", "this is not beautiful at all", "waste of money"),
        *(
            "مو حلو",
            "ما عجبني",
            "خايسة",
            "شنو هالنصب",
            "حرامية لا تشترون منهم",
            "ما وصل الطلب",
            "مو زين ابد",
            "السعر غالي",
            "خایسہ",
            "کذاب",
            "فاشل\u200cوالله",
        ),
        *("😡", "👎🏽", "👎👎", "merci pour rien, arnaque ❤️❤️❤️❤️"),
    ],
)
def test_a_complaint_is_negative_even_beside_praise(text):
    assert sentiment_of(text) == "negative"


@pytest.mark.parametrize(
    "text",
    [
        *("", "ok", "bonsoir", "good morning", "no thanks", "non merci", "لا شكرا", "prix ?", "42", "😂", "size M?"),
        *("pas de souci", "no problem", "ماكو مشكلة", "I would like the red one", "شكد الطول", "superette"),
    ],
)
def test_the_rest_is_neutral(text):
    assert sentiment_of(text) == "neutral"


@given(st.text(max_size=400))
def test_any_text_has_a_sentiment(text):
    assert sentiment_of(text) in {"positive", "neutral", "negative"}


@given(st.integers(1, 50))
def test_hearts_cannot_outshout_a_complaint(count):
    assert sentiment_of("arnaque " + "❤️" * count) == "negative"


@given(st.sampled_from(["génial", "good", "حلو", "super", "beautiful", "زين"]), st.sampled_from(["pas", "not", "مو"]))
def test_a_negation_turns_praise_into_a_complaint(praise, negation):
    assert sentiment_of(f"{negation} {praise}") == "negative"


@pytest.mark.parametrize(("text", "question"), [("Combien ?", True), ("بكم؟", True), ("merci !", False), ("", False)])
def test_a_question_has_a_question_mark_of_some_script(text, question):
    assert asks(text) is question
