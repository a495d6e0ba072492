"""No message of a customer ends in silence: over every kind of interaction there is, in every shape of its fields.

The events are made from the event classes themselves, so a new kind or a new field is tried without being named here.
What ends without an answer, a call for an agent or a wait has to be excused by name below.
"""

import asyncio
import types
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_world import SHOP, World, play, process, record

from ai.unreadable import UTTERANCES
from common.events.envelope import Contract
from common.events.interactions import (
    Attachment,
    CommentReceived,
    EchoReceived,
    FeedChanged,
    HandoverReceived,
    InteractionEvent,
    LiveCommentReceived,
    MentionReceived,
    MessageEdited,
    MessageRead,
    MessageReceived,
    MessageUnsent,
    OptInReceived,
    PermissionChanged,
    PolicyEnforced,
    PostbackReceived,
    ReactionReceived,
    ReceiptReceived,
    ReferralReceived,
    StoryInsightsReceived,
    UnknownReceived,
)
from common.merchants import Rule, Then, When

KINDS = get_args(get_args(InteractionEvent)[0])

NO_WORDS = (
    *(EchoReceived, MessageUnsent, ReactionReceived, MessageRead, ReceiptReceived, ReferralReceived, OptInReceived),
    *(HandoverReceived, PolicyEnforced, PermissionChanged, StoryInsightsReceived),
)
"""What the account did, or what a customer does without saying anything."""

MERCHANT = SHOP.model_copy(
    update={
        "username": "dar.shop",
        "rules": (Rule(name="page", when=When(channel="comment", match="always"), then=Then(alert="page_comment")),),
    }
)
TEXTS = st.sampled_from([None, "", " ", "how much is it", "كم", "👍🏽"])
NAMES = st.sampled_from(["m1", "c1", "7", "message", "comments", "new_thing", "add", "edited", "comment", "Dar.Shop"])


def values_of(name: str, annotation: Any) -> st.SearchStrategy[Any]:
    """Return values of a field, by its type."""
    if name == "contact_id":
        return st.sampled_from(["5", "5", "5", None, "1", "un_5"])
    if get_origin(annotation) in {types.UnionType, Union}:
        return st.one_of(*(values_of(name, one) for one in get_args(annotation)))
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if annotation is type(None):
        return st.none()
    if annotation is bool:
        return st.sampled_from([False, False, False, True])
    if annotation is str:
        return TEXTS.filter(lambda text: text is not None) if name in {"text", "title", "payload"} else NAMES
    if isinstance(annotation, type) and issubclass(annotation, Contract):
        return (
            st.just(annotation())
            if not any(f.is_required() for f in annotation.model_fields.values())
            else st.nothing()
        )
    if get_origin(annotation) is tuple and get_args(annotation) == (Attachment, ...):
        return st.sampled_from([(), (Attachment(type="image", url="https://cdn.example/1"),)])
    if annotation is int:
        return st.integers(0, 3)
    return st.nothing()  # what is made of other things keeps its default


@st.composite
def events(draw: st.DrawFn, kinds: tuple[Any, ...] = KINDS) -> Any:
    kind = draw(st.sampled_from(kinds))
    data_class = kind.model_fields["data"].annotation
    data: dict[str, Any] = {"account_id": "1"}
    for name, field in data_class.model_fields.items():
        if name in {"account_id", "original", "received_at_ms"}:
            continue
        strategy = values_of(name, field.annotation)
        if not strategy.is_empty and (field.is_required() or draw(st.booleans())):
            data[name] = draw(strategy)
    made = data_class(**data)
    return kind(
        id=f"1:{draw(st.sampled_from(['msg', 'pb', 'cm', 'un', 'mn']))}:{draw(st.integers(0, 99))}",
        source="/ingest/instagram",
        subject=made.conversation_id,
        partitionkey=made.conversation_id,
        time=World().clock.now(),
        data=made,
    )


def excuse(one: Any) -> str | None:
    """Return why nobody has to answer an event, None where somebody has to."""
    data = one.data
    if isinstance(one, NO_WORDS):
        return "no words of a customer"
    if getattr(data, "from_account", False) or data.is_self or data.contact_id == data.account_id:
        return "the account's own"
    if data.standby:
        return "another app answers"
    match one:
        case MessageEdited() if not (data.text or "").strip() and data.contact_id is not None:
            return "delivery looks the message up"
        case UnknownReceived() if data.contact_id is None and not (
            UTTERANCES & set((data.field or "message").split(","))
        ):
            return "about the account, not a customer"
        case CommentReceived() | LiveCommentReceived() | MentionReceived() if (
            not (data.contact_id or "un_").removeprefix("un_5") or data.contact_id == "un_5"
        ) and (data.username or "").casefold() == "dar.shop":
            return "the account's own, by its username"
        case MentionReceived() if data.contact_id is None and (data.username or "").casefold() == "dar.shop":
            return "the account's own, by its username"
        case FeedChanged() if data.item != "comment" or data.comment_id is None or data.verb != "add":
            return "a change of the page that says nothing new"
    return None


def is_dealt_with(world: World, one: Any) -> bool:
    """Tell whether an event left an answer, a call for an agent, or a message that waits."""
    ids = {one.id, f"1:msg:{getattr(one.data, 'mid', None)}", f"1:cm:{getattr(one.data, 'comment_id', None)}"}
    decided = any(ids & set(decision.covers) for decision in world.decisions.values())
    waits = any(world.conversation().awaits(id_) for id_ in ids)
    return decided or waits


async def handled(one: Any) -> World:
    world = World()
    await play(world, one, merchant=MERCHANT)
    return world


@settings(max_examples=600, deadline=None)
@given(events())
def test_no_words_of_a_customer_end_in_silence(one: Any) -> None:
    world = asyncio.run(handled(one))
    assert is_dealt_with(world, one) or excuse(one) is not None
    for decision in world.decisions.values():
        assert decision.replies or decision.attention, "a decision answers, or says why an agent is needed"


WORDS = (MessageReceived, PostbackReceived, CommentReceived, LiveCommentReceived, MessageEdited, UnknownReceived)


@settings(max_examples=200, deadline=None)
@given(events(WORDS))
def test_nor_do_they_where_their_record_goes_to_the_dead_letters(one: Any) -> None:
    async def died() -> World:
        world = World()
        await process(world, MERCHANT).dead_lettered(record(one), "failed")
        return world

    world = asyncio.run(died())
    assert world.published or excuse(one) is not None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_either_words_of_a_customer_or_excused_by_name(kind: Any) -> None:
    words = {*WORDS, MentionReceived, FeedChanged}
    assert (kind in words) != (kind in NO_WORDS)
