"""What is known of an erased customer: by the place in the log, by ids, by the platform's time, and by nothing else."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from common.events.interactions import (
    Edit,
    Message,
    MessageEdited,
    MessageReceived,
    Reaction,
    ReactionReceived,
)
from common.kafka.dead_letters import OFFSET, PARTITION, TOPIC, origin_of
from common.tombstones import BUCKETS, Position, Tombstone, bucket_of, customer_digest, digest_of, seen_at

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOPIC_NAME = "interactions.received.v1"
CODE = "code"
CUT_MS = round(AT.timestamp() * 1000)


def tombstone(*, done: bool = True, cut: tuple[int, ...] = (10, 0), seen: tuple[str, ...] = (), **more: object):
    return Tombstone(
        code=CODE,
        customer="digest",
        bucket=0,
        account_id=None,
        done=done,
        cut={TOPIC_NAME: cut},
        cut_ms=CUT_MS,
        seen=frozenset(digest_of(CODE, one) for one in seen),
        **more,  # type: ignore[arg-type]
    )


def about(kind, data, id_: str, at: datetime = AT):
    who = {"account_id": "1", "contact_id": "5"}
    return kind(id=id_, source="/x", subject="1:5", time=at, partitionkey="1:5", data=data(**who, **id_fields(kind)))


def id_fields(kind) -> dict[str, object]:
    return {"mid": "m1"} if kind is not ReactionReceived else {"mid": "m9", "action": "react"}


def message(at: datetime = AT):
    return about(MessageReceived, Message, "1:msg:m1", at)


def reaction(at: datetime = AT):
    return about(ReactionReceived, Reaction, "1:rx:1", at)


@given(offset=st.integers(0, 30), end=st.integers(0, 30), partition=st.integers(0, 3))
def test_a_record_before_the_cut_is_old_and_one_behind_it_is_not(offset: int, end: int, partition: int):
    stone = tombstone(cut=(0, 0, end))
    here = Position(TOPIC_NAME, partition, offset, CUT_MS)
    old = partition == 2 and offset < end
    assert stone.verdict(message(), [here]) == ("erased" if old else "new")


def test_a_record_of_another_topic_is_not_compared_with_the_cut():
    assert tombstone().verdict(message(), [Position("replies.generated.v1", 0, 0, CUT_MS)]) == "new"


def test_a_topic_that_was_created_again_begins_at_nought_and_is_not_taken_for_the_old_one():
    young = Position(TOPIC_NAME, 0, 3, CUT_MS + 3_600_001)
    assert tombstone().verdict(message(), [young]) == "new"


def test_a_dead_letter_that_is_published_again_is_known_by_where_it_lay_first():
    behind = Position(TOPIC_NAME, 0, 99, CUT_MS)
    assert tombstone().verdict(message(), [behind, Position(TOPIC_NAME, 0, 9)]) == "erased"


def test_a_copy_is_known_by_its_id_whenever_it_comes():
    stone = tombstone(seen=("1:msg:m1",))
    assert stone.verdict(message(AT + timedelta(days=1)), []) == "erased"


def test_an_edit_of_an_erased_message_is_not_stored_as_a_new_one():
    edit = about(MessageEdited, Edit, "1:edit:m1:1", AT + timedelta(days=1))
    assert tombstone(seen=("1:msg:m1",)).verdict(edit, []) == "erased"
    assert tombstone().verdict(edit, []) == "new"


@given(minutes=st.integers(-100, 100))
def test_another_message_is_new_whatever_its_time(minutes: int):
    stone = tombstone(seen=("1:msg:other",), seen_until=AT)
    assert stone.verdict(message(AT + timedelta(minutes=minutes)), []) == "new"


@given(seconds=st.integers(-100, 100))
def test_what_nothing_is_stored_of_is_old_up_to_the_last_moment_that_was_seen(seconds: int):
    verdict = tombstone(seen_until=AT).verdict(reaction(AT + timedelta(seconds=seconds)), [])
    assert verdict == ("erased" if seconds <= 0 else "new")


def test_what_is_new_waits_while_the_erasure_is_at_work_and_what_is_old_does_not():
    stone = tombstone(done=False)
    assert stone.verdict(message(), [Position(TOPIC_NAME, 0, 10, CUT_MS)]) == "wait"
    assert stone.verdict(message(), [Position(TOPIC_NAME, 0, 9, CUT_MS)]) == "erased"


def test_a_wrong_date_of_the_platform_does_not_make_a_person_old_for_years():
    assert seen_at(AT + timedelta(days=900), AT) == AT + timedelta(minutes=15)
    assert seen_at(AT + timedelta(seconds=120), AT) == AT + timedelta(seconds=120)


@given(contact=st.text(min_size=1, max_size=40))
def test_a_person_is_in_one_bucket_of_many(contact: str):
    assert 0 <= bucket_of(contact) < BUCKETS
    assert bucket_of(contact) == bucket_of(contact)


def test_a_digest_needs_the_requests_code():
    assert customer_digest("5", "a") != customer_digest("5", "b")
    assert digest_of("a", "m") != digest_of("b", "m")


class Dead:
    topic = TOPIC_NAME

    def __init__(self, **told: bytes | None) -> None:
        names = {"topic": TOPIC, "partition": PARTITION, "offset": OFFSET}
        self.headers = [(names[name], value) for name, value in told.items()]


def test_only_headers_of_a_dead_letter_of_the_same_topic_say_where_it_lay():
    whole = {"topic": TOPIC_NAME.encode(), "partition": b"1", "offset": b"42"}
    assert origin_of(Dead(**whole)) == Position(TOPIC_NAME, 1, 42)
    assert origin_of(Dead()) is None
    assert origin_of(Dead(**whole | {"topic": b"other"})) is None
    assert origin_of(Dead(**whole | {"offset": None})) is None
    assert origin_of(Dead(**whole | {"offset": b"9" * 30})) is None
    assert origin_of(Dead(**whole | {"partition": b"-1"})) is None
