"""What Kafka, the world's journal and the logs hold is read as what it means."""

import json
from dataclasses import dataclass, field

import pytest
from evidence import Backlog, assignments, became, dead, generated, sayings, settled_by, taken
from history import Became, DeadLetter, Generated, Taken

from common.kafka.dead_letters import CAUSE, OFFSET, PARTITION, TOPIC


@dataclass
class Record:
    value: bytes
    topic: str = "t"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    headers: list = field(default_factory=list)


def event(type_, id_="e", **data):
    return json.dumps({"type": f"com.jawab.{type_}.v1", "id": id_, "data": data}).encode()


def entry(api, kind, *, effect=True, text="", **more):
    told = {"number": 1, "time": 2.0, "contact": "c", "detail": {}, "request": None}
    return {**told, "api": api, "kind": kind, "effect": effect, "text": text, **more}


def test_a_saying_is_known_by_its_tag_and_by_its_first_append():
    records = [
        Record(event("message.received", "m1", contact_id="c", original={"text": "#c1m1 hello"}), offset=3),
        Record(event("message.received", "m1", contact_id="c", original={"text": "#c1m1 hello"}), offset=4),
        Record(event("echo.received", "x", original={"message": {"text": "We read #c1m1"}}), offset=5),
        Record(event("livecomment.received", "k", contact_id="d", original={"text": "#c2m7 live"}), offset=6),
        Record(event("comment.received", "o", contact_id="a", account_id="a", original={"text": "#c2m7"}), offset=6),
        Record(event("comment.received", "p", contact_id="d", from_account=True, original={"text": "#c2m7"}), offset=6),
        Record(b"not json", offset=7),
    ]
    assert list(sayings(records)) == [("#c1m1", "m1", ("t", 0, 3)), ("#c2m7", "k", ("t", 0, 6))]


def test_a_reply_answers_what_its_decision_covers():
    action = {"kind": "direct_message", "text": "We read #c1m1 #c1m2"}
    data = {"reply_id": "r", "decision_id": "d", "contact_id": "c", "origin": "model", "in_reply_to": "m2"}
    records = [Record(event("reply.generated", **data, action=action), offset=offset) for offset in (8, 9)]
    found = list(generated(records, {"d": frozenset({"m1", "m2"})}))
    answers = frozenset({"m1", "m2"})
    assert found == [Generated("r", "c", "model", "direct_message", action["text"], answers, ("t", 0, 8), "d")]


def test_a_reply_below_a_comment_names_it():
    action = {"kind": "comment_reply", "text": "We read #c1m1", "comment_id": "9"}
    (found,) = generated([Record(event("reply.generated", reply_id="r", contact_id="c", action=action))], {})
    assert (found.kind, found.comment, found.decision) == ("comment_reply", "9", "")


@pytest.mark.parametrize("kind", ["typing", "mark_seen"])
def test_a_courtesy_is_no_reply(kind):
    record = Record(event("reply.generated", reply_id="r", contact_id="c", action={"kind": kind}))
    assert list(generated([record], {})) == []


def test_outcomes_are_read_and_what_people_wrote_is_none():
    records = [
        Record(event("reply.outcomeunknown", reply_id="r"), timestamp=1500),
        Record(event("reply.failed", reply_id="r", reason="outcome_unknown"), timestamp=2500),
        Record(event("human.replied", mid="m")),
    ]
    assert list(became(records)) == [Became("r", "unknown", "", 1.5), Became("r", "failed", "outcome_unknown", 2.5)]


def test_a_dead_letter_says_why():
    record = Record(event("message.received", "m1", contact_id="c"), headers=[(CAUSE, b"failed 5 times: KeyError")])
    assert dead("t.dlq", record) == DeadLetter("t.dlq", "m1", "failed 5 times: KeyError", "c")
    assert dead("t.dlq", Record(b"\xff")) == DeadLetter("t.dlq", "", "")


def test_a_dead_letter_says_where_the_record_lay_that_died():
    headers = [(TOPIC, b"t"), (PARTITION, b"3"), (OFFSET, b"41"), (CAUSE, None)]
    assert dead("t.dlq", Record(b"", headers=headers)).origin == ("t", 3, 41)


def test_only_what_had_its_effect_was_taken():
    entries = [
        entry("manychat", "sendContent", text="a"),
        entry("manychat", "sendContent", effect=False),
        entry("manychat", "findByCustomField"),
        entry("graph", "private_reply", text="b", detail={"comment": "9"}),
        entry("operator", "notification", request={"reply_id": "r"}),
    ]
    assert list(taken(entries)) == [
        Taken(1, 2.0, "message", "c", "a"),
        Taken(1, 2.0, "private_reply", "c", "b", comment="9"),
        Taken(1, 2.0, "notification", "c", "", reply_id="r"),
    ]


def test_the_logs_tell_how_unknown_outcomes_were_settled_and_who_got_partitions(tmp_path):
    lines = [
        {"event": "partitions.assigned", "partitions": 12},
        {"event": "reply.found", "reply": "r1", "by": "echo"},
        {"event": "reply.proven_absent", "reply": "r2"},
        {"event": "reply.finished", "reply": "r3"},
    ]
    log = "\n".join([*(json.dumps(line) for line in lines), '{"event": "reply.found", cut off'])
    (tmp_path / "delivery-2.log").write_text(log)
    assert dict(settled_by(tmp_path)) == {"r1": "echo", "r2": "sent_again"}
    assert assignments(tmp_path) == 1


def test_what_waits_is_what_is_not_committed():
    ends = {("t", 0): 5, ("t", 1): 3, ("other", 0): 9}
    assert Backlog({"ai": {("t", 0): 5, ("t", 1): 1}, "delivery": {("t", 0): 4}}, ends).waiting == 3
