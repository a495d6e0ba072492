"""The contracts: what is written can be read, and ids are derived."""

from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.events import ANY_EVENT
from common.events.ids import conversation_id, decision_id, fingerprint, interaction_id, reply_id
from common.events.interactions import InteractionEvent, Message, MessageReceived
from common.events.replies import DirectMessage, Reply, ReplyGenerated
from common.kafka.topics import TOPICS

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def message(text: str) -> MessageReceived:
    return MessageReceived(
        id="1:msg:m1",
        source="/ingest/instagram",
        subject="1:2",
        partitionkey="1:2",
        time=AT,
        data=Message(account_id="1", contact_id="2", mid="m1", text=text, original={"message": {"text": text}}),
    )


@given(st.text())
def test_any_text_comes_back_as_it_was(text):
    assert ANY_EVENT.validate_json(message(text).to_json()) == message(text)


def test_the_type_decides_the_class():
    reply = ReplyGenerated(
        id="rep_1",
        source="/ai",
        subject="1:2",
        partitionkey="1:2",
        time=AT,
        data=Reply(reply_id="rep_1", merchant_id="m", account_id="1", origin="rule", action=DirectMessage(text="أهلا")),
    )
    assert isinstance(ANY_EVENT.validate_json(reply.to_json()), ReplyGenerated)


def test_a_field_that_a_newer_writer_adds_is_ignored():
    newer = message("hello").to_json().replace(b'"specversion"', b'"brandnew":1,"specversion"')
    assert ANY_EVENT.validate_json(newer) == message("hello")


def test_an_unknown_type_is_refused():
    with pytest.raises(ValidationError):
        ANY_EVENT.validate_json(message("x").to_json().replace(b"received.v1", b"received.v999"))


def test_events_cannot_be_changed():
    with pytest.raises(ValidationError):
        message("x").id = "other"  # type: ignore[misc]


def test_a_message_text_is_not_part_of_an_events_repr():
    assert "my secret" not in repr(message("my secret").data)


def test_every_type_is_versioned_and_every_topic_is_declared():
    declared = {topic.name for topic in TOPICS}
    for event_class in get_args(get_args(InteractionEvent)[0]):
        assert event_class.model_fields["type"].default.endswith(".v1")
        assert event_class.topic in declared


@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=6))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(item):
    assert fingerprint(item) == fingerprint(dict(reversed(item.items())))


def test_ids_are_the_same_everywhere_and_for_ever():
    assert conversation_id("1", None) == "1:-"
    assert interaction_id("1", "msg", "m1") == "1:msg:m1"
    decision = decision_id("1:2", "1:msg:m1")
    assert decision == "dec_a05efad753f0385f529d06a156bddae8"
    assert reply_id(decision, 0) == "rep_8c3f01f4c6d5bb9781524048a779b3a0"
    assert reply_id(decision, 0) != reply_id(decision, 1)
