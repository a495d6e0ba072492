"""The account's own comments come back, and settle the public answers that they are."""

from datetime import timedelta

import pytest

from common.errors import Retryable, UnknownOutcome
from common.events.interaction_data import Comment
from common.events.interactions import INTERACTIONS, CommentReceived
from common.events.replies import CommentReply, MentionReply

ACCOUNT = "17841400000000001"
TEXT = "Thank you"


def own_comment(world, id_="r1", text=TEXT, parent="c1", **changes):
    data = {"account_id": ACCOUNT, "contact_id": None, "comment_id": id_, "text": text, "parent_id": parent}
    return CommentReceived(
        id=f"{ACCOUNT}:cm:{id_}",
        source="/ingest/instagram",
        subject=f"{ACCOUNT}:",
        time=world.clock.now(),
        partitionkey=f"{ACCOUNT}:",
        data=Comment(**{**data, "from_account": True, **changes}),
    )


async def lost(world, action=None, script=None):
    world.platform.script = [script or ("arrives", UnknownOutcome("ReadTimeout"))]
    event = world.reply(action or CommentReply(comment_id="c1", text=TEXT), decision_id="d")
    with pytest.raises(Retryable):
        await world.sender.deliver(event)
    return event


@pytest.mark.parametrize(
    ("action", "parent"),
    [
        (CommentReply(comment_id="c1", text=TEXT), "c1"),
        (CommentReply(comment_id="c2", parent_id="c1", text=TEXT), "c1"),
        (MentionReply(media_id="m1", comment_id="c1", text=TEXT), "c1"),
    ],
)
async def test_it_settles_an_answer_of_unknown_outcome(world, action, parent):
    event = await lost(world, action)
    await world.observer.observe(own_comment(world, parent=parent))
    await world.sender.deliver(event)
    assert world.row(event).state == "delivered"
    assert world.row(event).message_ids == ("r1",)
    assert len(world.platform.sends()) == 1
    assert world.value("delivery_unknown_resolved_total", how="comment") == 1


async def test_it_settles_one_answer_once(world):
    event = await lost(world)
    for _ in range(3):
        await world.observer.observe(own_comment(world))
    assert world.row(event).message_ids == ("r1",)
    assert world.value("delivery_unknown_resolved_total", how="comment") == 1


@pytest.mark.parametrize(
    "changes", [{"text": "Thanks!"}, {"parent": "c9"}, {"parent": None}, {"text": None}, {"text": " "}]
)
async def test_another_comment_settles_nothing(world, changes):
    event = await lost(world)
    await world.observer.observe(own_comment(world, **changes))
    assert world.row(event).state == "unknown"


async def test_an_agents_earlier_answer_in_the_same_words_settles_nothing(world):
    """Its webhook comes late: it is dated long before the answer was attempted."""
    earlier = own_comment(world, id_="agent")
    world.clock.advance(timedelta(minutes=2))
    event = await lost(world)
    await world.observer.observe(earlier)
    assert world.row(event).state == "unknown"
    await world.observer.observe(own_comment(world))
    assert world.row(event).message_ids == ("r1",)


async def test_a_comment_that_bears_the_accounts_username_is_its_own(world):
    event = await lost(world)
    await world.observer.observe(own_comment(world, from_account=False, username="someone", contact_id="9"))
    assert world.row(event).state == "unknown"
    await world.observer.observe(own_comment(world, from_account=False, username="Shop.In.Tests", contact_id="9"))
    assert world.row(event).state == "delivered"


async def test_one_that_comes_before_the_answer_of_the_call_names_what_the_call_sent(world):
    event = world.reply(CommentReply(comment_id="c1", text=TEXT), decision_id="d")
    told = []

    async def before_the_answer():
        told.append(await world.observer.observe(own_comment(world, id_="mid.1")))

    original = world.platform._send

    async def send(*asked, **how):
        sent = await original(*asked, **how)
        await before_the_answer()
        return sent

    world.platform._send = send
    await world.sender.deliver(event)
    assert told == [None]
    assert world.row(event).state == "delivered"
    assert world.row(event).message_ids == ("mid.1",)
    assert world.kinds() == ["delivered"]


async def test_its_topic_is_the_one_that_delivery_reads():
    assert CommentReceived.topic == INTERACTIONS


async def answered_another_customer_alike(world):
    """Another customer wrote below the same comment and got the same words: theirs is `mid.1`."""
    other = world.reply(CommentReply(comment_id="c2", parent_id="c1", text=TEXT), decision_id="o", contact_id="8")
    await world.sender.deliver(other)
    assert world.row(other).message_ids == ("mid.1",)
    return other


async def lost_before_it_arrived(world):
    return await lost(world, CommentReply(comment_id="c3", parent_id="c1", text=TEXT), UnknownOutcome("ReadTimeout"))


async def test_the_answer_to_another_customer_with_the_same_words_settles_nothing(world):
    await answered_another_customer_alike(world)
    event = await lost_before_it_arrived(world)
    await world.observer.observe(own_comment(world, id_="mid.1"))  # its webhook comes after the call's own answer
    assert world.row(event).state == "unknown"


async def test_the_answer_to_another_customer_with_the_same_words_is_not_found_instead(world):
    """What is listed below the comment is the other customer's answer: this one never arrived, so it is sent again."""
    await answered_another_customer_alike(world)
    event = await lost_before_it_arrived(world)
    await world.deliver_until_done(event)
    assert world.row(event).state == "delivered"
    assert world.row(event).message_ids == ("mid.2",)
    assert len(world.platform.replies) == 2


async def test_two_customers_get_the_same_words_and_one_answer_is_listed_so_nobody_can_tell_whose(world):
    other = await lost(world, CommentReply(comment_id="c2", parent_id="c1", text=TEXT))
    event = await lost_before_it_arrived(world)
    for _ in range(2):
        await world.deliver_until_done(event)
        await world.deliver_until_done(other)
    assert sorted(world.row(one).state for one in (event, other)) != ["delivered", "delivered"]
