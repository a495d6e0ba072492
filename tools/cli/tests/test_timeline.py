"""One conversation as it went, from what the services stored."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from ai.decisions import Decision
from cli.asked_for import ranges, told_in
from cli.records import Range, Record
from cli.timeline import state_in_words, timeline
from common.events.replies import Action, DirectMessage, OperatorNotification, Reply, ReplyGenerated
from delivery.ledger import Row, State

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def row(reply_id: str, state: State = "delivered", **changes: Any) -> Row:
    facts: dict[str, Any] = {
        "fence": 1,
        "at": AT,
        "merchant_id": "dar",
        "account_id": "1",
        "contact_id": "5",
        "conversation_id": "1:5",
        "decision_id": "dec_1",
        "kind": "direct_message",
        "origin": "rule",
        "received_at_ms": 0,
        "parts": (),
    }
    return Row(reply_id=reply_id, state=state, **(facts | changes))


def decision(*actions: Action) -> Decision:
    replies = tuple(
        ReplyGenerated(
            id=f"rep_{number}",
            source="/ai",
            subject="1:5",
            time=AT,
            partitionkey="1:5",
            data=Reply(
                reply_id=f"rep_{number}",
                merchant_id="dar",
                account_id="1",
                contact_id="5",
                origin="rule",
                action=action,
            ),
        )
        for number, action in enumerate(actions)
    )
    return Decision("dec_1", "1:5", "dar", ("m_1",), AT + timedelta(seconds=1), "rule", replies, rule="price")


def test_messages_replies_and_people_stand_in_the_order_of_their_times() -> None:
    message = {"_id": "m_1", "at": AT, "channel": "direct_message", "text": "بيش؟", "attachments": [{"type": "image"}]}
    line = {"id": "h_1", "role": "human", "text": "أهلاً", "at": AT + timedelta(seconds=2)}
    ours = {"id": "rep_0", "role": "assistant", "text": "السعر", "at": AT}
    told = timeline([message], [decision(DirectMessage(text="السعر"))], [row("rep_0")], [ours, line])
    assert [(moment.who, moment.text) for moment in told] == [
        ("customer", "[image] بيش؟"),
        ("jawab", "السعر"),
        ("person", "أهلاً"),
    ]
    assert told[1].about == "direct message by rule price, delivered"


def test_what_a_voice_message_says_is_read_and_one_that_was_not_heard_says_so() -> None:
    voice = {"_id": "m_1", "at": AT, "channel": "direct_message", "text": None, "attachments": [{"type": "audio"}]}
    [heard], [unheard], [nobody] = (
        timeline([voice | told], [], []) for told in ({"transcript": "بيش؟"}, {"transcript": ""}, {})
    )
    assert (heard.text, heard.about) == ("[audio] بيش؟", "direct message")
    assert (unheard.text, unheard.about) == ("[audio]", "direct message, not heard")
    assert (nobody.text, nobody.about) == ("[audio]", "direct message")


def test_a_called_person_is_a_note_and_an_unknown_reply_is_shown_without_its_text() -> None:
    rows = [row("rep_9", origin="api")]
    told = timeline([], [decision(OperatorNotification(reason="escalated", text="x"))], rows, (), {})
    assert [(moment.who, moment.text) for moment in told] == [
        ("jawab", "(its text is not kept any more)"),
        ("note", "a person was called: escalated"),
    ]


def test_what_was_asked_for_over_http_is_shown_with_who_asked_and_why_it_was_not_sent() -> None:
    detail = "the customer last wrote 30 hours ago: set `human_agent`"
    rows = [
        row("rep_p", "suppressed", origin="human", reason="window_closed", detail=detail),
        row("rep_a", at=AT + timedelta(seconds=1), origin="api", route="graph"),
    ]
    person, program = timeline([], [], rows, (), {"rep_p": "I look into it", "rep_a": "It was sent"})
    assert (person.who, person.text, person.detail) == ("person", "I look into it", detail)
    assert person.about == "direct message by a person over HTTP, suppressed: window_closed"
    assert (program.who, program.text, program.about) == (
        "jawab",
        "It was sent",
        "direct message by a program over HTTP, delivered over graph",
    )
    assert "Kafka" in timeline([], [], rows)[0].text


def test_why_a_decided_reply_failed_is_told() -> None:
    failed = row("rep_0", "failed", reason="token_expired", detail="connect again: `jawab merchants connect`")
    (shown,) = timeline([], [decision(DirectMessage(text="x"))], [failed])
    assert shown.detail == "connect again: `jawab merchants connect dar --account 1`"


def test_only_the_times_of_what_was_asked_for_are_read_each_once() -> None:
    rows = [
        row("a", at=AT, origin="api"),
        row("b", at=AT + timedelta(seconds=30), origin="human"),
        row("c", at=AT + timedelta(days=1), origin="api"),
        row("d", at=AT + timedelta(days=2), origin="rule"),
    ]
    minute, at = 60_000, int(AT.timestamp() * 1000)
    assert ranges("1:5", rows) == [
        Range(at + 86_400_000 - minute, at + 86_400_000 + minute, "1:5"),
        Range(at - minute, at + 30_000 + minute, "1:5"),
    ]
    many = [row(str(day), at=AT + timedelta(days=day), origin="api") for day in range(50)]
    assert [one.since_ms for one in ranges("1:5", many)][:1] == [at + 49 * 86_400_000 - minute]
    assert len(ranges("1:5", many)) == 10


def test_a_record_that_is_none_of_ours_is_passed_over() -> None:
    ours = {"data": {"reply_id": "r", "action": {"kind": "media_message"}}}
    values = [b"", b"[]", b'{"data": 1}', json.dumps(ours).encode()]
    found = [Record("t", 0, 0, 0, None, value, {}) for value in values]
    assert told_in(found) == {"r": "[media message]"}


def test_what_was_taken_back_says_so() -> None:
    (moment,) = timeline([{"_id": "m", "at": AT, "channel": "comment", "text": "", "unsent": True, "edits": 2}], [], [])
    assert (moment.text, moment.about) == ("", "comment, taken back, edited 2 times")


def test_every_state_of_the_ledger_has_words() -> None:
    finished = AT + timedelta(milliseconds=150)
    received = int(AT.timestamp() * 1000)
    assert state_in_words(None) == "not with delivery yet"
    assert (
        state_in_words(row("r", route="graph", finished_at=finished, received_at_ms=received))
        == "delivered over graph in 150 ms"
    )
    assert (
        state_in_words(row("r", route="graph", finished_at=finished, received_at_ms=received, seen_at=finished))
        == f"delivered over graph in 150 ms, seen {finished:%m-%d %H:%M:%S}"
    )
    assert state_in_words(row("r", "failed", route="manychat", reason="window_closed")) == (
        "failed over manychat: window_closed"
    )
    assert state_in_words(row("r", "handed_to_human")) == "handed to human"
