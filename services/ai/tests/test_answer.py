"""What is made of a model's answer before a customer sees it."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ai.answer import Answer, Lead, schema, shortened
from ai.llm.reply_text import plain


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


@pytest.mark.parametrize("mark", [".", "…", "!?", '."', "\n", " ", "a.", '"', "؟»"])
def test_what_cutting_costs_does_not_grow_with_the_answer(mark):
    began = time.thread_time()
    assert len(shortened(mark * 1_000_000, 1500)) <= 1500
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("**bold** [هنا](https://shop.test/a_b_c)", "bold هنا: https://shop.test/a_b_c"),
        ("[https://shop.test](https://shop.test)", "https://shop.test"),
        ("![photo](https://shop.test/1.jpg)", "photo: https://shop.test/1.jpg"),
        ("see <https://shop.test/x>", "see https://shop.test/x"),
        ("[write](mailto:a@shop.test)", "write: a@shop.test"),
        ("[click](javascript:alert(1))", "[click](javascript:alert(1))"),
        ("[click](/relative)", "click"),
        ('<a href="https://shop.test">here</a><br>next', "here: https://shop.test\nnext"),
        ("<b>now</b> 3 < 5 > 2 <3", "now 3 < 5 > 2 <3"),
        ("# Prices\n## Today\n- one\n* two\n1. three", "Prices\nToday\n• one\n• two\n1. three"),
        ("> quoted\n---\n`code` ~~old~~ __new__ _it_ ***all***", "quoted\n\ncode old new it all"),
        ("```\nplain\n```", "plain"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a | b \n\n 1 | 2"),
        ("2*3*4 = 24, snake_case_name, @my_shop_iq, #sale", "2*3*4 = 24, snake_case_name, @my_shop_iq, #sale"),
        ("https://shop.test/_a_/b_c?x=_y_", "https://shop.test/_a_/b_c?x=_y_"),
        (r"5\*5 \_x\_", "5*5 _x_"),
        ("👍🏽 نعم\u200cلا", "👍🏽 نعم\u200cلا"),
        ("a\n\n\n\nb\x07", "a\n\nb"),
        ("hello<|im_end|></s>", "hello"),
    ],
)
def test_a_reply_is_plain_text(reply, read):
    assert Answer(reply=reply).reply == read


@given(st.text(alphabet="ab*_`~#[]()<>!|\\-\n .:/htps{}\"'", max_size=300))
def test_no_mixture_of_marks_breaks_the_reading_of_a_reply(text):
    made = plain(text)
    assert len(made) <= len(text) + 2 * text.count("](") + 2
    assert "\n\n\n" not in made


def test_a_wrapped_answer_calls_an_agent_where_either_asks_for_one():
    inner = json.dumps({"reply": "hello", "escalate": True})
    assert Answer.model_validate({"reply": inner, "escalate": False}).escalate
    assert Answer.model_validate({"reply": json.dumps({"reply": "hello"}), "escalate": True}).escalate
    assert not Answer.model_validate({"reply": json.dumps({"reply": "hello"}), "escalate": False}).escalate


@pytest.mark.parametrize(
    ("value", "escalate"), [(False, False), (None, False), ("false", False), ("yes", True), (1, True), ([], True)]
)
def test_in_doubt_an_agent_is_called(value, escalate):
    assert Answer.model_validate({"reply": "x", "escalate": value}).escalate is escalate


MACHINES = [
    "{“reply”: “hello”}",
    '{reply: "hello", intent: "greeting"}',
    '{"message": "hello',
    "[{'message': 'hello'",
    "reply: hello\nintent: greeting\nescalate: false",
    "escalate: true",
    '<tool_call>{"name": "price", "arguments": {}}</tool_call>',
    '<function=price>{"item": 1}</function>',
    'Here:\n```json\n{"price": 5}\n```',
    "null",
    "None",
    " undefined. ",
    "NaN",
    "string",
    "What the customer reads.",
    "...",
    "…",
    "-",
    "\ufffd\ufffd\ufffd \ufffd",
]


@pytest.mark.parametrize("reply", MACHINES)
def test_what_is_meant_for_a_machine_or_says_nothing_is_not_sent(reply):
    with pytest.raises(ValidationError):
        Answer(reply=reply)


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("<reply>hello</reply>", "hello"),
        ("<answer lang='en'>hello</answer>", "hello"),
        ("<img src='x.png'> hello <font color=red>now</font><hr>", "hello now"),
        ("<table><tr><td>red</td><td>5</td></tr></table>", "red 5"),
        ("we don&#39;t &amp; can&rsquo;t, 3 &lt; 5, a&nbsp;b", "we don't & can’t, 3 < 5, a b"),
        ("https://shop.test/?a=1&copy=2&lt=3", "https://shop.test/?a=1&copy=2&lt=3"),
        ("first\\nsecond\\n\\nthird", "first\nsecond\n\nthird"),
        ("\\u0645\\u0631\\u062d\\u0628\\u0627 \\ud83d\\ude00", "مرحبا 😀"),
        ('they said \\"yes\\"', 'they said "yes"'),
        ("**bold text", "bold text"),
        ("**bold\ntext** and more", "bold\ntext and more"),
        ("it is here【4:0†source】", "it is here"),
        ("- [ ] one\n- [x] two", "• one\n• two"),
        ("assistant: hello", "hello"),
        ("Reply: hello", "hello"),
        ("👍", "👍"),
        ("50", "50"),
        ("Hello {name}", "Hello {name}"),
        ("size: M, colour: red", "size: M, colour: red"),
        ("hello \ufffd there my friend", "hello  there my friend"),
    ],
)
def test_what_a_reply_is_wrapped_in_does_not_reach_the_customer(reply, read):
    assert Answer(reply=reply).reply == read


@pytest.mark.parametrize("reply", ['Here: {"intent": "price"}', "{'reply': 'x'}", '"escalate" : true', '[{"a": 1}]'])
def test_json_that_holds_no_words_for_the_customer_is_not_sent(reply):
    with pytest.raises(ValidationError):
        Answer(reply=reply)
