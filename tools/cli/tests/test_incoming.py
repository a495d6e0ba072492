"""What `jawab simulate` sends is what ingest takes it for."""

import json
from datetime import UTC, datetime

import pytest

from cli.incoming import BUILDERS, KINDS, NEEDS_MID, USUAL_CUSTOMER, Wishes, raw_webhook, webhook
from common.events.interactions import CommentReceived, MessageReceived
from devkit.simulator import Simulator
from ingest.notifications import normalise
from ingest.signature import Refusal, refusal

ACCOUNT = "17841400000000001"
TYPES = {
    "dm": "message.received",
    "comment": "comment.received",
    "story-reply": "message.received",
    "image": "message.received",
    "voice": "message.received",
    "postback": "postback.received",
    "reaction": "reaction.received",
    "echo": "echo.received",
    "read": "message.read",
    "edit": "message.edited",
    "unsend": "message.unsent",
    "quick-reply": "message.received",
    "mention": "mention.received",
    "live-comment": "livecomment.received",
    "batch": "message.received",
    "forged": "message.received",
}


def simulator() -> Simulator:
    return Simulator(seed="tests", account=ACCOUNT)


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_every_kind_becomes_the_event_it_is_named_after(kind: str) -> None:
    made = webhook(kind, Wishes(mid="m_1"), simulator(), "secret")
    events = normalise(json.loads(made.body), received_at=datetime.now(UTC))
    assert events[0].type == f"com.jawab.{TYPES[kind]}.v1"
    assert {event.data.account_id for event in events} == {ACCOUNT}


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_every_kind_is_signed_but_the_forged_one(kind: str) -> None:
    made = webhook(kind, Wishes(mid="m_1"), simulator(), "secret")
    said = refusal(made.headers["X-Hub-Signature-256"], made.body, ["secret"])
    assert said is (Refusal.MISMATCH if kind == "forged" else None)
    assert made.expected_status == (401 if kind == "forged" else 200)


def test_there_is_a_builder_for_every_kind_but_raw() -> None:
    assert {*BUILDERS, "raw"} == {*KINDS}
    assert set(BUILDERS) == set(TYPES)


def test_the_customers_own_words_and_id_are_used() -> None:
    made = webhook("comment", Wishes(contact="777", text="بيش؟", parent="18"), simulator(), "secret")
    (event,) = normalise(json.loads(made.body), received_at=datetime.now(UTC))
    assert isinstance(event, CommentReceived)
    assert (event.data.text, event.data.contact_id, event.data.parent_id) == ("بيش؟", "777", "18")
    assert made.contacts == ("777",)
    assert made.ids == (event.data.comment_id,)


def test_a_batch_is_several_people_in_several_entries() -> None:
    made = webhook("batch", Wishes(), simulator(), "secret")
    assert len(json.loads(made.body)["entry"]) == 3
    assert len(made.contacts) == 3
    assert made.contacts[0] == USUAL_CUSTOMER


def test_any_attachment_can_be_sent_and_an_unknown_one_is_refused() -> None:
    made = webhook("image", Wishes(attachment="audio", text="listen"), simulator(), "secret")
    (event,) = normalise(json.loads(made.body), received_at=datetime.now(UTC))
    assert isinstance(event, MessageReceived)
    assert [attachment.type for attachment in event.data.attachments] == ["audio"]
    with pytest.raises(ValueError, match="--attachment hologram"):
        webhook("image", Wishes(attachment="hologram"), simulator(), "secret")


@pytest.mark.parametrize("kind", sorted(NEEDS_MID))
def test_what_is_about_a_message_needs_its_id(kind: str) -> None:
    with pytest.raises(ValueError, match="--mid"):
        webhook(kind, Wishes(), simulator(), "secret")


def test_raw_bytes_are_signed_as_they_are() -> None:
    made = raw_webhook(b"\xff not JSON", "secret")
    assert made.body == b"\xff not JSON"
    assert refusal(made.headers["X-Hub-Signature-256"], made.body, ["secret"]) is None
