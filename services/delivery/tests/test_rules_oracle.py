"""For any sequence of what customers do and any moment, the verdict is that of a naive oracle written from the rules.

The real events go through the real note-taking into a contact; the oracle looks at the bare list of what happened and
at a clock of whole milliseconds, and knows none of the code under test.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import event, given, settings
from hypothesis import strategies as st

from common.events import ANY_EVENT
from common.events.replies import (
    DirectMessage,
    Flow,
    Heart,
    MarkSeen,
    MediaMessage,
    MessageReaction,
    PrivateReply,
    Reply,
)
from delivery import permissions
from delivery.contacts import Contact
from delivery.rules.opt_ins import OptInToken
from delivery.rules.policy import Allow, Withhold, judge

ZERO = datetime(2026, 3, 25, tzinfo=UTC)
SECOND, HOUR = 1000, 3_600_000
DAY, WEEK = 24 * HOUR, 7 * 24 * HOUR

DONE = {
    "text": ("message.received", {"mid": "m", "text": "hi"}),
    "story reply": ("message.received", {"mid": "m", "reply_to": {"story_id": "s"}}),
    "story mention": ("message.received", {"mid": "m", "attachments": [{"type": "story_mention"}]}),
    "quick reply": ("message.received", {"mid": "m", "quick_reply": "YES"}),
    "standby": ("message.received", {"mid": "m", "text": "hi", "standby": True}),
    "button": ("postback.received", {"payload": "P"}),
    "ad": ("postback.received", {"title": "Price?", "referral": {"ad_id": "1"}}),
    "reaction": ("reaction.received", {"mid": "m"}),
    "read": ("message.read", {"mid": "m"}),
    "edit": ("message.edited", {"mid": "m"}),
    "unsend": ("message.unsent", {"mid": "m"}),
    "echo": ("echo.received", {"mid": "m", "text": "hello"}),
    "comment": ("comment.received", {"comment_id": "c"}),
    "live comment": ("livecomment.received", {"comment_id": "c"}),
    "mention": ("mention.received", {"media_id": "c"}),
    "referral": ("referral.received", {"referral": {}}),
    "handover": ("handover.received", {"kind": "pass_thread_control"}),
    "opt-in": ("optin.received", {"kind": "notification_messages", "token": "t"}),
    "opt-out": ("optin.received", {"kind": "notification_messages", "token": "t", "stopped": True}),
    "one-time opt-in": ("optin.received", {"kind": "one_time_notif_req", "token": "t"}),
}
OPENERS = {"text", "story reply", "story mention", "quick reply", "standby", "button", "ad"}

ACTIONS = {
    "text": DirectMessage(text="x"),
    "account update": DirectMessage(text="x", message_tag="ACCOUNT_UPDATE"),
    "human agent": DirectMessage(text="x", message_tag="human\u200b_agent"),
    "media": MediaMessage(media="image", urls=("https://shop.example/a.png",)),
    "heart": Heart(),
    "flow": Flow(flow_ns="f"),
    "reaction": MessageReaction(mid="m"),
    "seen": MarkSeen(),
    "private reply": PrivateReply(comment_id="c", text="x"),
    "private reply live": PrivateReply(comment_id="c", text="x", live=True),
}

near_an_edge = st.builds(
    lambda edge, margin, off: edge - margin + off,
    st.sampled_from([0, 4 * HOUR, DAY, DAY, WEEK, WEEK]),
    st.sampled_from([0, 60 * SECOND]),
    st.integers(-2, 2),
)
moments = st.one_of(near_an_edge, st.integers(DAY, WEEK), st.integers(-HOUR, 8 * DAY))
often = [*sorted(DONE), *["opt-in"] * 6, *["opt-out"] * 2, *["text"] * 4]
histories = st.lists(st.tuples(st.sampled_from(often), moments), max_size=6)


@dataclass(frozen=True)
class Asked:
    """One question to the rules. Moments are milliseconds before now."""

    history: list[tuple[str, int]]
    action: str
    origin: str
    answers: tuple[str, int] | None
    human_agent: bool
    margin: int
    spent: bool


asked = st.builds(
    Asked,
    history=histories,
    action=st.sampled_from([*sorted(ACTIONS), *["text", "media"] * 4]),
    origin=st.sampled_from(["rule", "model", "apology", "api", *["human"] * 4]),
    answers=st.none() | st.none() | st.tuples(st.sampled_from(["msg", "pb", "cm", "rx"]), moments),
    human_agent=st.booleans(),
    margin=st.sampled_from([0, 60 * SECOND]),
    spent=st.booleans(),
)


def oracle(asked: Asked) -> str:
    """Say from the rules alone what becomes of a reply: `yes`, the way round a closed window, or why not."""
    if asked.action == "human agent" and asked.origin != "human":
        return "human_agent_tag"
    if asked.action.startswith("private reply"):
        within = 4 * HOUR if asked.action.endswith("live") else WEEK
        known = asked.answers is not None
        return "comment_too_old" if known and asked.answers[1] >= within - asked.margin else "yes"
    if asked.action == "seen":
        return "yes"
    acts = [ago for done, ago in asked.history if done in OPENERS]
    if asked.answers is not None and asked.answers[0] in {"msg", "pb"}:
        acts.append(asked.answers[1])
    youngest = min(acts, default=None)
    if youngest is not None and youngest < DAY - asked.margin:
        return "yes"
    if asked.action in {"flow", "reaction"}:
        return "window_closed"
    week = youngest is not None and youngest < WEEK - asked.margin
    if asked.origin == "human" and asked.human_agent and week:
        return "as a person" if asked.action not in {"account update", "human agent"} else "as a person, or by the tag"
    if asked.action == "account update":
        return "by the tag"
    given_ago = min((ago for done, ago in asked.history if done == "opt-in"), default=None)
    taken_ago = min((ago for done, ago in asked.history if done == "opt-out"), default=None)
    has_token = given_ago is not None and (taken_ago is None or given_ago < taken_ago)
    return "by the token" if has_token and not asked.spent else "window_closed"


NAMES = {
    Allow(): "yes",
    Allow(only_graph=True, human_agent=True): "as a person",
    Allow(human_agent=True): "as a person, or by the tag",
    Allow(only_tagged=True): "by the tag",
    Allow(only_graph=True, opt_in_token="t"): "by the token",
}


class OneContact:
    """The contact of one conversation, in the order of whatever arrives."""

    def __init__(self) -> None:
        self.contact: Contact | None = None
        self.opted_out_at: datetime | None = None

    def _known(self) -> Contact:
        return self.contact or Contact("1:2")

    async def customer_acted(self, conversation_id, at):
        last = self._known().last_customer_at
        self.contact = replace(self._known(), last_customer_at=max(at, last) if last else at)

    async def opted_in(self, conversation_id, token: OptInToken):
        old = self._known().opt_ins
        newer = all(one.given_at < token.given_at for one in old)
        if newer and (self.opted_out_at is None or token.given_at > self.opted_out_at):
            self.contact = replace(self._known(), opt_ins=(token,))

    async def opted_out(self, conversation_id, at):
        self.opted_out_at = max(at, self.opted_out_at or at)
        kept = tuple(one for one in self._known().opt_ins if one.given_at > at)
        self.contact = replace(self._known(), opt_ins=kept)


def told(history, now) -> Contact | None:
    """Return the contact as the observations leave it, in the order in which they arrived."""
    contacts = OneContact()
    for done, ago in history:
        kind, data = DONE[done]
        happened = ANY_EVENT.validate_python(
            {
                "id": "1:x",
                "source": "/ingest/instagram",
                "type": f"com.jawab.{kind}.v1",
                "subject": "1:2",
                "time": now - timedelta(milliseconds=ago),
                "partitionkey": "1:2",
                "data": {"account_id": "1", "contact_id": "2", **data},
            }
        )
        if permissions.concern(happened):
            asyncio.run(permissions.note(contacts, happened))
    return contacts.contact


@given(asked=asked, at=st.integers(0, 30 * DAY))
@settings(max_examples=800, deadline=None)
def test_the_verdict_is_the_oracles(asked, at):
    now = ZERO + timedelta(milliseconds=at)
    contact = told(asked.history, now)
    if asked.spent and contact is not None:
        contact = replace(contact, opt_ins=tuple(replace(one, used_by="other") for one in contact.opt_ins))
    kind, ago = asked.answers or (None, None)
    reply = Reply(
        reply_id="r",
        merchant_id="shop",
        account_id="1",
        contact_id="2",
        origin=asked.origin,
        action=ACTIONS[asked.action],
        in_reply_to=f"1:{kind}:x" if kind else None,
        customer_acted_at=now - timedelta(milliseconds=ago) if kind else None,
    )
    decided_at = now - timedelta(milliseconds=min(ago, 0)) if kind else now
    said = judge(
        reply,
        decided_at=decided_at,
        contact=contact,
        now=now,
        margin=timedelta(milliseconds=asked.margin),
        human_agent=asked.human_agent,
    )
    verdict = said.reason if isinstance(said, Withhold) else NAMES[said]
    event(verdict)
    assert verdict == oracle(asked)
    if isinstance(said, Withhold):
        assert said.detail.endswith(".")
