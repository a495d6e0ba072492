"""One comment, told as a comment and as a mention, decided as often as that: one public and one private answer."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Retryable, UnknownOutcome
from common.events.replies import CommentReply, MentionReply, PrivateReply
from delivery.platforms.sending import Refused

ANSWERS = (
    CommentReply(comment_id="c1", text="Thank you"),
    MentionReply(media_id="m1", comment_id="c1", text="Thanks for naming us"),
    PrivateReply(comment_id="c1", text="Hello"),
    PrivateReply(comment_id="c1", text="Good evening"),
)


async def delivered(world, crash, event):
    """Deliver as lanes would: each process until it is killed, then another."""
    while True:
        try:
            return await world.deliver_until_done(event)
        except crash:
            world.restart()


@settings(max_examples=100, deadline=None)
@given(data=st.data())
async def test_no_order_of_webhooks_faults_and_deaths_answers_a_comment_twice_in_one_way(make_world, crash, data):
    world = make_world()
    faults = [None, Refused("bad_request"), Retryable("429"), UnknownOutcome("reset"), crash()]
    faults += [("arrives", UnknownOutcome("reset")), ("arrives", crash())]
    world.platform.script = data.draw(st.lists(st.sampled_from(faults), max_size=8), label="faults")
    events = [world.reply(action) for action in data.draw(st.permutations(ANSWERS), label="order")]
    for event in data.draw(st.lists(st.sampled_from(events), max_size=12), label="tries"):
        try:
            await world.sender.deliver(event)
        except Retryable as wait:
            world.clock.advance(timedelta(seconds=wait.after or 0.5))
        except crash:
            world.restart()
    for event in events:
        await delivered(world, crash, event)
    platform = world.platform
    assert len(platform.replies) + len(platform.elsewhere) <= 1
    assert len(platform.thread) <= 1
    for private in (True, False):
        rows = [world.row(one) for one in events if isinstance(one.data.action, PrivateReply) == private]
        assert any(row.state in {"delivered", "failed", "handed_to_human"} for row in rows), (
            "answered, or told as failed"
        )
