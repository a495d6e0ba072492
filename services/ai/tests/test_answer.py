"""What is made of a model's answer before a customer sees it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ai.answer import Answer, Lead, schema, shortened


def test_the_schema_is_strict_all_the_way_down():
    def check(part):
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
            for inner in part["properties"].values():
                check(inner)

    check(schema())
    assert list(schema()["properties"]) == ["reply", "intent", "sentiment", "language", "escalate", "lead"]
    assert list(schema()["properties"]["lead"]["properties"]) == ["name", "phone", "email", "interest"]


def test_a_whole_answer_is_read():
    answer = Answer.model_validate(
        {
            "reply": "  تدلل \n",
            "intent": "order",
            "sentiment": "positive",
            "language": "ar",
            "escalate": True,
            "lead": {"name": " Ali ", "phone": "0770", "email": None, "interest": ""},
        }
    )
    assert answer.reply == "تدلل"
    assert answer.lead.known() == {"name": "Ali", "phone": "0770"}
    assert (answer.intent, answer.sentiment, answer.language, answer.escalate) == ("order", "positive", "ar", True)


def test_made_up_values_do_not_cost_the_reply():
    answer = Answer.model_validate(
        {"reply": "ok", "intent": "buy!", "sentiment": 3, "language": "de", "lead": None, "mood": "x"}
    )
    assert (answer.intent, answer.sentiment, answer.language, answer.lead) == ("other", "neutral", None, Lead())


@pytest.mark.parametrize("reply", ["", "   ", None, 3, "\x00"])
def test_an_answer_without_words_is_none(reply):
    with pytest.raises(ValidationError):
        Answer.model_validate({"reply": reply})


def test_what_a_lead_says_is_bounded():
    assert len(Lead.model_validate({"name": "x" * 5000}).name) == 200
    assert Lead.model_validate({"phone": 770123}).phone is None


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [
        ("short", 10, "short"),
        ("One. Two. Three is long", 12, "One. Two."),
        ("شكراً لك. أهلاً؟ وسهلاً بيك", 18, "شكراً لك. أهلاً؟"),
        ("no sentence here at all", 15, "no sentence…"),
        ("x" * 30, 10, "x" * 9 + "…"),
        ("A. " + "y" * 40, 20, "A. " + "y" * 16 + "…"),
    ],
)
def test_a_long_reply_is_cut_at_a_sentence_else_at_a_word(text, longest, expected):
    assert shortened(text, longest) == expected


@given(st.text(min_size=1, max_size=600).map(str.strip).filter(bool), st.integers(2, 400))
def test_a_cut_reply_fits_and_is_never_empty(text, longest):
    assert 0 < len(shortened(text, longest)) <= longest
