"""The prompt: who speaks, what is known, and that a customer's words stay a customer's words."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.history import LONGEST_LINE, Conversation, Line
from ai.prompt import MOST_CHARACTERS, Question, chat, instructions
from common.events.control import LogPosition
from common.merchants import Merchant

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = Merchant(
    id="dar",
    name="Dar Al-Zayy",
    account_id="17841400000000001",
    facts="Open 10-22. Delivery in Baghdad within two days.",
    price_link="https://shop.example/prices",
)


def line(text, role="customer", channel="direct_message", id_="l"):
    return Line(id=id_, role=role, text=text, at=AT, channel=channel)


def question(text="شكد السعر؟", *, channel="direct_message", language="ar", history=(), merchant=SHOP):
    return Question(merchant, channel, language, text, tuple(history))


def test_the_instructions_hold_the_persona_the_facts_and_the_only_price_link():
    said = instructions(question())
    assert "a friendly, professional Iraqi sales assistant" in said
    assert "Dar Al-Zayy" in said
    assert "Delivery in Baghdad within two days." in said
    assert "https://shop.example/prices" in said
    assert "Never invent a price" in said


@pytest.mark.parametrize(
    ("language", "words"), [("ar", "Iraqi Arabic"), ("fr", "in French"), ("en", "Answer in English")]
)
def test_the_customers_language_is_asked_for(language, words):
    assert words in instructions(question(language=language))


def test_a_public_comment_is_answered_as_one():
    assert "public Instagram comment" in instructions(question(channel="comment"))
    assert "private Instagram conversation" in instructions(question())


@given(st.text(min_size=1, max_size=500), st.text(min_size=1, max_size=200))
def test_a_customers_words_stand_in_user_messages_only(now, before):
    messages = chat(question(now, history=[line(before)]))
    assert [message["role"] for message in messages].count("system") == 1
    assert messages[0]["content"] == instructions(question())
    assert messages[-1] == {"role": "user", "content": now}
    assert all(message["role"] == "user" for message in messages[1:])


def test_what_was_said_before_keeps_its_order_and_its_speakers():
    history = [line("a"), line("b", "assistant"), line("c", "human"), line(""), line("d", channel="comment")]
    assert chat(question("e", history=history))[1:] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "[public comment] d"},
        {"role": "user", "content": "e"},
    ]


def test_a_public_answer_does_not_know_what_was_said_in_private():
    history = [line("my phone is 0770"), line("earlier", channel="comment")]
    contents = [message["content"] for message in chat(question("hi", channel="comment", history=history))]
    assert contents[1:] == ["earlier", "hi"]


@given(st.lists(st.integers(1, 1500), max_size=40))
def test_history_in_a_prompt_is_bounded_and_keeps_the_newest(lengths):
    history = [line(f"{number % 10}" * length) for number, length in enumerate(lengths)]
    said = [message["content"] for message in chat(question("now", history=history))[1:-1]]
    assert sum(map(len, said)) <= MOST_CHARACTERS
    assert said == [each.text for each in history][len(history) - len(said) :]


def test_a_line_survives_its_storage():
    stored = Line(id="a", role="human", text="x" * 5000, at=AT, channel="comment", mid="m").to_document()
    assert stored["mids"] == ["m"]
    assert len(stored["text"]) == LONGEST_LINE
    assert Line.from_document(stored).role == "human"
    assert Line.from_document({"id": "a", "role": "customer", "text": None, "at": AT}).text == ""


@pytest.mark.parametrize(
    ("conversation", "owned"),
    [
        (Conversation("c"), False),
        (Conversation("c", human_until=AT.replace(hour=13)), True),
        (Conversation("c", human_until=AT), False),
        (Conversation("c", answers_from=AT.replace(hour=13)), True),
        (Conversation("c", answers_from=AT), False),
    ],
)
def test_a_person_owns_a_conversation_until_the_pause_or_the_takeover_ends(conversation, owned):
    assert conversation.human_owned(AT) is owned


@pytest.mark.parametrize("skew", [-120, 0, 120])
@pytest.mark.parametrize(("partition", "offset", "owned"), [(3, 10, True), (3, 11, False), (3, 12, False)])
def test_a_message_is_an_agents_where_its_record_lies_before_the_release(partition, offset, owned, skew):
    at = AT + timedelta(seconds=skew)
    conversation = Conversation("c", answers_from=AT, answers_from_offsets={"3": 11})
    assert conversation.human_owned(at, LogPosition(partition=partition, offset=offset)) is owned


@pytest.mark.parametrize(("later", "owned"), [(timedelta(minutes=59), True), (timedelta(hours=1), False)])
def test_an_offset_of_another_log_leaves_no_customer_in_silence(later, owned):
    """The topic was made anew, or the cluster changed: its offsets begin at 0, that of a release is in the millions."""
    conversation = Conversation("c", answers_from=AT, answers_from_offsets={"3": 5_000_000})
    assert conversation.human_owned(AT + later, LogPosition(partition=3, offset=7)) is owned


@pytest.mark.parametrize(("skew", "owned"), [(-1, True), (0, False)])
def test_times_decide_where_the_message_and_the_release_are_not_in_one_partition(skew, owned):
    at = AT + timedelta(seconds=skew)
    conversation = Conversation("c", answers_from=AT, answers_from_offsets={"3": 11})
    assert conversation.human_owned(at, LogPosition(partition=4, offset=11)) is owned
    assert conversation.human_owned(at) is owned
