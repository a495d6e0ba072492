"""Which event leads to what: the handlers over stores that only note what they were told."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from ai.handlers import Handlers
from ai.history import Conversation, Line, Unanswered
from ai.messages import Edited
from ai.metrics import AIMetrics
from ai.orchestrator import Result
from common.accounts import Standing
from common.clock import ManualClock
from common.errors import Retryable
from common.events.control import Control, ConversationReleased, ConversationResolved, ConversationTakenOver
from common.events.interactions import (
    Comment,
    CommentReceived,
    Echo,
    EchoReceived,
    Edit,
    FeedChange,
    FeedChanged,
    Handover,
    HandoverReceived,
    LiveCommentReceived,
    Mention,
    MentionReceived,
    Message,
    MessageEdited,
    MessageRead,
    MessageReceived,
    MessageUnsent,
    OptIn,
    OptInReceived,
    Postback,
    PostbackReceived,
    Reaction,
    ReactionReceived,
    Read,
    Referral,
    ReferralOpened,
    ReferralReceived,
    StoryInsights,
    StoryInsightsReceived,
    Unknown,
    UnknownReceived,
    Unsend,
)
from common.events.outcomes import (
    Delivered,
    Failed,
    HumanReplied,
    HumanReply,
    OutcomeUnknown,
    ReplyDelivered,
    ReplyFailed,
    ReplyOutcomeUnknown,
    ReplySuppressed,
    Suppressed,
)
from common.events.privacy import ErasureRequested, PrivacyRequest
from common.merchants import Merchant, MerchantNotReadable

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = Merchant(id="dar", name="Dar", account_id="1")
GONE = Merchant(id="gone", name="Gone", account_id="2")


class Noting:
    """Takes any call and notes its name and arguments."""

    def __init__(self):
        self.calls = []
        self.answer = True

    def __getattr__(self, name):
        async def note(*args, **kwargs):
            self.calls.append((name, args, kwargs))
            return self.answer

        return note

    @property
    def names(self):
        return [name for name, _, _ in self.calls]


class Responding:
    def __init__(self):
        self.said = []
        self.result = Result("answered")

    async def respond(self, merchant, said):
        self.said.append(said)
        return self.result

    async def resume(self, merchant, said, conversation):
        return await self.respond(merchant, said)


class Directory:
    def __init__(self):
        self.broken, self.shop = False, SHOP

    async def of_account(self, account_id):
        if self.broken:
            raise MerchantNotReadable("merchant dar: not valid at rules.0.when")
        return {"1": self.shop, "2": GONE}.get(account_id)

    async def by_id(self, merchant_id):
        return None


class Ledger:
    """The standings of accounts, in memory."""

    def __init__(self):
        self.known = {"2": Standing("2", "disconnected", since=NOW)}

    async def of(self, account_id):
        return self.known.get(account_id, Standing(account_id))

    async def note(self, standing):
        self.known[standing.account_id] = standing
        return True


class Scene:
    def __init__(self):
        self.directory, self.responding = Directory(), Responding()
        self.messages, self.conversations = Noting(), Noting()
        self.standings, self.held_back = Ledger(), Noting()
        self.held_back.answer = "held_back"
        self.notices = Noting()
        self.notices.answer = "observed"
        self.unreadable = Noting()
        self.unreadable.answer = "handed_over"
        self.decisions = Noting()
        self.decisions.answer = ()
        self.published = []
        self.registry = CollectorRegistry()
        self.handlers = Handlers(
            merchants=self.directory,
            standings=self.standings,
            orchestrator=self.responding,
            held_back=self.held_back,
            notices=self.notices,
            unreadable=self.unreadable,
            messages=self.messages,
            conversations=self.conversations,
            ownership=self.conversations,
            decisions=self.decisions,
            publish=self.publish,
            metrics=AIMetrics(self.registry),
            clock=ManualClock(NOW),
            human_pause=timedelta(hours=12),
        )

    async def publish(self, events):
        self.published.extend(events)

    def count(self, **labels):
        return self.registry.get_sample_value("ai_event_seconds_count", labels)


@pytest.fixture
def scene():
    return Scene()


def event(kind, data, source="/ingest/instagram"):
    return kind(id="e1", source=source, subject="s", time=NOW, partitionkey="1:5", data=data)


def who(**more):
    return {"account_id": "1", "contact_id": "5", **more}


def outcome(**more):
    return {"merchant_id": "dar", "reply_id": "rep_1", "kind": "direct_message", **who(), **more}


@pytest.mark.parametrize(
    "one",
    [
        event(MessageReceived, Message(**who(mid="m", text="hi"))),
        event(PostbackReceived, Postback(**who(title="Prices"))),
        event(CommentReceived, Comment(**who(comment_id="c", text="super"))),
        event(LiveCommentReceived, Comment(**who(comment_id="c", text="super"))),
    ],
)
async def test_what_a_customer_says_is_answered(scene, one):
    await scene.handlers.handle(one)
    assert [said.id for said in scene.responding.said] == ["e1"]
    labels = {"merchant": "dar", "platform": "instagram", "event": type(one).__name__, "outcome": "answered"}
    assert scene.count(**labels) == 1


@pytest.mark.parametrize(
    "one",
    [
        event(MessageReceived, Message(**who(mid="m", text="hi", is_self=True))),
        event(CommentReceived, Comment(**who(comment_id="c", from_account=True))),
        event(EchoReceived, Echo(**who(mid="m"))),
        event(ReactionReceived, Reaction(**who(mid="m"))),
        event(MessageRead, Read(**who(mid="m"))),
        event(OptInReceived, OptIn(**who())),
        event(HandoverReceived, Handover(**who(kind="app_roles"))),
        event(UnknownReceived, Unknown(**who(from_account=True))),
        event(UnknownReceived, Unknown(**who(standby=True))),
        event(UnknownReceived, Unknown(**who(is_self=True))),
        event(UnknownReceived, Unknown(account_id="1", field="account_review")),
        event(MessageEdited, Edit(**who(mid="m"))),
        event(ErasureRequested, PrivacyRequest(code="x", user_id="5")),
    ],
)
async def test_what_asks_for_no_answer_touches_nothing(scene, one):
    await scene.handlers.handle(one)
    assert (scene.responding.said, scene.messages.calls, scene.conversations.calls) == ([], [], [])
    assert scene.unreadable.calls == []


NOBODY = {"account_id": "1"}


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (event(UnknownReceived, Unknown(**who(field="new_thing"))), "event_unknown"),
        (event(UnknownReceived, Unknown(**who())), "event_unknown"),
        (event(UnknownReceived, Unknown(**NOBODY)), "event_unknown"),
        (event(UnknownReceived, Unknown(**NOBODY, field="message,prior_message")), "event_unknown"),
        (event(UnknownReceived, Unknown(**NOBODY, field="comments")), "event_unknown"),
        (event(MessageReceived, Message(**who(mid="m", unreadable=True))), "message_unreadable"),
        (event(MessageEdited, Edit(**NOBODY, mid="m", text="x")), "event_unknown"),
        (event(CommentReceived, Comment(**NOBODY, comment_id="c", text="price?")), "author_unknown"),
        (event(LiveCommentReceived, Comment(**NOBODY, comment_id="c")), "author_unknown"),
        (
            event(CommentReceived, Comment(account_id="1", contact_id="un_1", comment_id="c", parent_id="b")),
            "author_unknown",
        ),
    ],
)
async def test_what_nobody_here_can_read_is_handed_over_and_counted(scene, one, reason):
    await scene.handlers.handle(one)
    ((name, (_, said, why), _),) = scene.unreadable.calls
    assert (name, said.id, why) == ("hand_over", "e1", reason)
    assert scene.responding.said == []
    labels = {"merchant": "dar", "platform": "instagram", "event": type(one).__name__, "outcome": "handed_over"}
    assert scene.count(**labels) == 1


@pytest.mark.parametrize("kind", [CommentReceived, LiveCommentReceived])
@pytest.mark.parametrize(
    ("username", "answered"), [("leila", True), ("Dar.Shop", False), ("@DAR.SHOP", False), ("", True), (None, True)]
)
async def test_a_comment_of_a_username_is_answered_unless_it_is_the_accounts_own(scene, kind, username, answered):
    scene.directory.shop = SHOP.model_copy(update={"username": "dar.shop"})
    data = Comment(account_id="1", contact_id="un_1", comment_id="c", text="price?", username=username)
    await scene.handlers.handle(event(kind, data))
    assert [said.comment_id for said in scene.responding.said] == ["c"] * answered
    assert scene.unreadable.calls == []


async def test_a_comment_by_id_is_answered_though_its_username_is_the_accounts(scene):
    scene.directory.shop = SHOP.model_copy(update={"username": "dar.shop"})
    await scene.handlers.handle(event(CommentReceived, Comment(**who(comment_id="c", username="dar.shop"))))
    assert len(scene.responding.said) == 1


@pytest.mark.parametrize(
    "one",
    [
        event(MentionReceived, Mention(**who())),
        event(StoryInsightsReceived, StoryInsights(**who())),
        event(FeedChanged, FeedChange(**who())),
    ],
)
async def test_what_is_told_in_public_has_a_handler_of_its_own(scene, one):
    await scene.handlers.handle(one)
    assert [(name, args[1]) for name, args, _ in scene.notices.calls] == [("handle", one)]


@pytest.mark.parametrize("kind", ["typing", "mark_seen"])
async def test_what_became_of_a_courtesy_is_nobodys_business(scene, kind):
    for one in (
        event(ReplyDelivered, Delivered(**{**outcome(route="graph"), "kind": kind})),
        event(ReplySuppressed, Suppressed(**{**outcome(reason="no_route"), "kind": kind})),
    ):
        await scene.handlers.handle(one)
    assert scene.conversations.calls == []


async def test_an_account_of_nobody_here_is_counted_and_dropped(scene):
    await scene.handlers.handle(event(MessageReceived, Message(account_id="999", contact_id="5", mid="m", text="hi")))
    assert scene.responding.said == []
    labels = {"merchant": "unknown", "platform": "instagram", "event": "MessageReceived", "outcome": "unknown_account"}
    assert scene.count(**labels) == 1


async def test_a_merchant_who_disconnected_the_app_is_not_served(scene):
    await scene.handlers.handle(event(MessageReceived, Message(account_id="2", contact_id="5", mid="m", text="hi")))
    assert scene.responding.said == []


@pytest.mark.parametrize("state", ["needs_reconnection", "restricted"])
async def test_what_comes_to_an_account_that_cannot_answer_is_taken_in_and_asks_no_model(scene, state):
    standing = Standing("1", state, since=NOW)
    scene.standings.known["1"] = standing
    await scene.handlers.handle(event(MessageReceived, Message(**who(mid="m", text="hi"))))
    await scene.handlers.handle(event(CommentReceived, Comment(**who(comment_id="c", text="super"))))
    assert scene.responding.said == []
    assert [(name, args[0].id, args[1].id, args[2]) for name, args, _ in scene.held_back.calls] == [
        ("take_in", "dar", "e1", standing)
    ] * 2
    labels = {"merchant": "dar", "platform": "instagram", "event": "MessageReceived", "outcome": "held_back"}
    assert scene.count(**labels) == 1


@pytest.mark.parametrize(
    ("state", "routes", "field", "answered"),
    [
        ("needs_reconnection", ("manychat", "graph"), 7, True),
        ("needs_reconnection", ("manychat",), None, False),
        ("needs_reconnection", ("graph",), 7, False),
        ("restricted", ("manychat",), 7, False),
    ],
)
async def test_manychat_answers_messages_also_when_our_token_is_gone(scene, state, routes, field, answered):
    scene.standings.known["1"] = Standing("1", state, since=NOW)
    scene.directory.shop = SHOP.model_copy(update={"routes": routes, "manychat_igsid_field": field})
    await scene.handlers.handle(event(MessageReceived, Message(**who(mid="m", text="hi"))))
    assert len(scene.responding.said) == answered
    await scene.handlers.handle(event(CommentReceived, Comment(**who(comment_id="c", text="super"))))
    assert len(scene.held_back.calls) == 2 - answered


async def test_a_restriction_that_is_over_holds_nothing_back(scene):
    scene.standings.known["1"] = Standing("1", "restricted", since=NOW - timedelta(hours=2), until=NOW)
    await scene.handlers.handle(event(MessageReceived, Message(**who(mid="m", text="hi"))))
    assert len(scene.responding.said) == 1


async def test_what_a_person_does_counts_also_while_the_account_cannot_answer(scene):
    scene.standings.known["1"] = Standing("1", "needs_reconnection", since=NOW)
    await scene.handlers.handle(event(HumanReplied, HumanReply(merchant_id="dar", mid="m", **who())))
    assert scene.conversations.names == ["person_wrote"]


async def test_a_merchants_broken_document_waits_for_its_mending(scene):
    scene.directory.broken = True
    with pytest.raises(Retryable, match=r"rules\.0\.when"):
        await scene.handlers.handle(event(MessageReceived, Message(**who(mid="m", text="hi"))))
    labels = {"merchant": "unknown", "platform": "manychat", "event": "MessageReceived", "outcome": "failed"}
    with pytest.raises(Retryable):
        await scene.handlers.handle(event(MessageReceived, Message(**who(mid="m")), source="/ingest/manychat"))
    assert scene.count(**labels) == 1


async def test_an_edit_reaches_the_message_and_its_line(scene):
    await scene.handlers.handle(event(MessageEdited, Edit(**who(mid="m", text=" new ", num_edit=2))))
    assert scene.messages.calls[0][:2] == ("edit", ("1:msg:m", "new"))
    assert scene.messages.calls[0][2]["number"] == 2
    assert scene.conversations.calls == [("reword", ("1:5", "1:msg:m", "new"), {})]


@pytest.mark.parametrize("number", [0, 1, 7])
async def test_an_edit_whose_message_never_came_is_answered_as_the_message(scene, number):
    scene.messages.answer = Edited.ANNOUNCED
    await scene.handlers.handle(event(MessageEdited, Edit(**who(mid="m", text=" price? ", num_edit=number))))
    assert [(said.id, said.text, said.mid) for said in scene.responding.said] == [("1:msg:m", "price?", "m")]
    assert scene.conversations.calls == []


async def test_an_edit_that_came_too_late_changes_no_line(scene):
    scene.messages.answer = False
    await scene.handlers.handle(event(MessageEdited, Edit(**who(mid="m", text="older", num_edit=1))))
    assert scene.conversations.calls == []


async def test_an_unsent_message_is_forgotten_in_both_places(scene):
    await scene.handlers.handle(event(MessageUnsent, Unsend(**who(mid="m"))))
    assert scene.messages.names == ["erase"]
    assert scene.conversations.calls == [("erase", ("1:5", "1:msg:m"), {})]


async def test_what_was_learnt_from_an_unsent_message_is_forgotten_too(scene):
    scene.decisions.answer = ("phone",)
    await scene.handlers.handle(event(MessageUnsent, Unsend(**who(mid="m"))))
    assert scene.decisions.calls == [("learnt_from", ("1:msg:m",), {}), ("forget_lead", ("1:msg:m",), {})]
    assert scene.conversations.calls[1] == ("forget_lead", ("1:5", ("phone",)), {})


async def test_what_the_account_took_back_is_forgotten_by_the_platforms_id(scene):
    await scene.handlers.handle(event(MessageUnsent, Unsend(**who(mid="m", from_account=True))))
    about = {"conversation": ("1:5", "dar", "1", "5"), "now": NOW}
    assert scene.conversations.calls == [("erase_sent", ("m",), about)]


async def test_what_the_account_reworded_is_kept_so(scene):
    await scene.handlers.handle(event(MessageEdited, Edit(**who(mid="m", text="new ", num_edit=2, from_account=True))))
    assert (scene.messages.calls, scene.conversations.calls) == (
        [],
        [("reword_sent", ("1:5", "m", "new"), {"number": 2})],
    )


async def test_a_referral_is_noted(scene):
    await scene.handlers.handle(event(ReferralReceived, ReferralOpened(**who(referral=Referral(ref="summer")))))
    assert scene.conversations.calls[0][1] == ("1:5", {"ref": "summer"})


@pytest.mark.parametrize(
    ("one", "state", "reason"),
    [
        (event(ReplyFailed, Failed(**outcome(route="graph", reason="token_expired"))), "failed", "token_expired"),
        (event(ReplySuppressed, Suppressed(**outcome(reason="window_closed"))), "suppressed", "window_closed"),
        (event(ReplySuppressed, Suppressed(**outcome(reason="human_owns"))), "suppressed", None),
        (event(ReplyFailed, Failed(**outcome(route="graph", reason="human_owns"))), "failed", None),
        (event(ReplySuppressed, Suppressed(**outcome(reason="comment_already_answered"))), "suppressed", None),
        (
            event(ReplyFailed, Failed(**outcome(route="graph", reason="comment_already_answered"))),
            "failed",
            "comment_already_answered",
        ),
        (
            event(ReplyOutcomeUnknown, OutcomeUnknown(**outcome(route="graph", evidence="reset"))),
            "unknown",
            "outcome_unknown",
        ),
    ],
)
async def test_a_reply_that_did_not_arrive_needs_a_person_unless_one_is_there(scene, one, state, reason):
    await scene.handlers.handle(one)
    assert scene.conversations.calls == [
        ("not_delivered", ("1:5", "rep_1"), {"state": state, "reason": reason, "at": NOW, "now": NOW})
    ]


async def test_a_delivered_reply_is_marked(scene):
    await scene.handlers.handle(event(ReplyDelivered, Delivered(**outcome(route="graph", message_ids=("m9",)))))
    assert scene.conversations.calls == [("delivered", ("1:5", "rep_1", ("m9",)), {"now": NOW})]


async def test_a_person_who_writes_silences_the_bot_for_a_while(scene):
    await scene.handlers.handle(event(HumanReplied, HumanReply(merchant_id="dar", **who(mid="m", text="hi"))))
    name, (line,), about = scene.conversations.calls[0]
    assert (name, line.role, line.mid) == ("person_wrote", "human", "m")
    assert about["until"] == NOW + timedelta(hours=12)


async def test_a_person_silences_the_bot_for_as_long_as_the_merchant_wants(scene):
    scene.directory.shop = SHOP.model_copy(update={"quiet_hours": 0.5})
    await scene.handlers.handle(event(HumanReplied, HumanReply(merchant_id="dar", **who(mid="m", text="hi"))))
    assert scene.conversations.calls[0][2]["until"] == NOW + timedelta(minutes=30)


@pytest.mark.parametrize("kind", [ConversationReleased, ConversationResolved])
async def test_what_waits_when_a_conversation_is_given_back_is_answered(scene, kind):
    waits = Unanswered("1:msg:m1", NOW, NOW)
    line = Line("1:msg:m1", "customer", "Hello?", NOW)
    scene.conversations.answer = Conversation("1:5", recent=(line,), unanswered=(waits,))
    await scene.handlers.handle(event(kind, Control(merchant_id="dar", by="ali", **who())))
    assert [(said.id, said.text, said.contact_id) for said in scene.responding.said] == [("1:msg:m1", "Hello?", "5")]


@pytest.mark.parametrize(
    ("kind", "done"),
    [(ConversationTakenOver, "take_over"), (ConversationReleased, "release"), (ConversationResolved, "resolve")],
)
async def test_who_answers_can_be_changed(scene, kind, done):
    scene.conversations.answer = None
    await scene.handlers.handle(event(kind, Control(merchant_id="dar", by="ali", **who())))
    assert scene.conversations.names == [done]
