"""The send catalogue: for every action and every route that can do it, the one request that is made, to the byte."""

import json
from typing import get_args

import httpx2
import pytest

from common.errors import Retryable
from common.events.replies import (
    Action,
    Button,
    Buttons,
    Card,
    Cards,
    CommentReply,
    DeleteComment,
    DirectMessage,
    Flow,
    Heart,
    HideComment,
    MarkSeen,
    MediaMessage,
    MentionReply,
    MessageReaction,
    OperatorNotification,
    PrivateReply,
    QuickReply,
    SharedPost,
    SubscriberChange,
    Typing,
)
from common.graph_accounts import proof_of
from delivery.platforms.calls import OutsideApi
from delivery.platforms.graph_requests import Manner
from delivery.platforms.instagram import Graph
from delivery.platforms.manychat import ManyChat
from delivery.platforms.routing import able
from delivery.platforms.sending import Refused, Sent
from devkit.sandbox import SandboxSettings, create_sandbox
from devkit.sandbox.world import subscriber_of

GRAPH, MANYCHAT = "https://graph.example/v25.0", "https://manychat.example"
ME, PERSON, SUBSCRIBER = "111", "222", 77
PICTURE, CLIP = "https://shop.example/lamp.png", "https://shop.example/lamp.mp4"


def to_person(message, **more):
    return {"recipient": {"id": PERSON}, "messaging_type": "RESPONSE", **more, "message": message}


def attached(kind, **payload):
    return to_person({"attachment": {"type": kind, **({"payload": payload} if payload else {})}})


def acted(action, **payload):
    body = {"recipient": {"id": PERSON}, "sender_action": action}
    return {**body, "payload": payload} if payload else body


def content(*messages, **more):
    return {
        "subscriber_id": SUBSCRIBER,
        "data": {"version": "v2", "content": {"type": "instagram", "messages": list(messages), **more}},
    }


OPENS = Button(title="Shop", url="https://shop.example")
TELLS = Button(title="Yes", payload="yes")
STARTS = Button(title="Yes", payload="flow:content1")

BY_GRAPH = {
    "text": (DirectMessage(text="مرحبا"), "POST /111/messages", to_person({"text": "مرحبا"})),
    "quick replies": (
        DirectMessage(text="Which?", quick_replies=(QuickReply(title="Red", payload="colour:red"),)),
        "POST /111/messages",
        to_person(
            {"text": "Which?", "quick_replies": [{"content_type": "text", "title": "Red", "payload": "colour:red"}]}
        ),
    ),
    "image": (MediaMessage(media="image", urls=(PICTURE,)), "POST /111/messages", attached("image", url=PICTURE)),
    "images": (
        MediaMessage(media="image", urls=(PICTURE, PICTURE)),
        "POST /111/messages",
        to_person({"attachments": [{"type": "image", "payload": {"url": PICTURE}}] * 2}),
    ),
    "video": (MediaMessage(media="video", urls=(CLIP,)), "POST /111/messages", attached("video", url=CLIP)),
    "audio": (MediaMessage(media="audio", urls=(CLIP,)), "POST /111/messages", attached("audio", url=CLIP)),
    "file": (MediaMessage(media="file", urls=(CLIP,)), "POST /111/messages", attached("file", url=CLIP)),
    "heart": (Heart(), "POST /111/messages", attached("like_heart")),
    "own post": (SharedPost(media_id="17900"), "POST /111/messages", attached("MEDIA_SHARE", id="17900")),
    "cards": (
        Cards(cards=(Card(title="Lamp", subtitle="Red", image_url=PICTURE, url=OPENS.url, buttons=(OPENS, TELLS)),)),
        "POST /111/messages",
        attached(
            "template",
            template_type="generic",
            elements=[
                {
                    "title": "Lamp",
                    "subtitle": "Red",
                    "image_url": PICTURE,
                    "default_action": {"type": "web_url", "url": "https://shop.example"},
                    "buttons": [
                        {"type": "web_url", "title": "Shop", "url": "https://shop.example"},
                        {"type": "postback", "title": "Yes", "payload": "yes"},
                    ],
                }
            ],
        ),
    ),
    "a plain card": (
        Cards(cards=(Card(title="Lamp", subtitle="Red"),)),
        "POST /111/messages",
        attached("template", template_type="generic", elements=[{"title": "Lamp", "subtitle": "Red"}]),
    ),
    "buttons": (
        Buttons(text="Shall I?", buttons=(TELLS,)),
        "POST /111/messages",
        attached(
            "template",
            template_type="button",
            text="Shall I?",
            buttons=[{"type": "postback", "title": "Yes", "payload": "yes"}],
        ),
    ),
    "typing": (Typing(), "POST /111/messages", acted("typing_on")),
    "typing ended": (Typing(on=False), "POST /111/messages", acted("typing_off")),
    "seen": (MarkSeen(), "POST /111/messages", acted("mark_seen")),
    "reaction": (
        MessageReaction(mid="mid.9"),
        "POST /111/messages",
        acted("react", message_id="mid.9", reaction="love"),
    ),
    "reaction removed": (
        MessageReaction(mid="mid.9", reaction=None),
        "POST /111/messages",
        acted("unreact", message_id="mid.9"),
    ),
    "private reply": (
        PrivateReply(comment_id="c9", text="Hi"),
        "POST /111/messages",
        {"recipient": {"comment_id": "c9"}, "messaging_type": "RESPONSE", "message": {"text": "Hi"}},
    ),
    "comment reply": (CommentReply(comment_id="c9", text="Thanks"), "POST /c9/replies", {"message": "Thanks"}),
    "reply to a reply": (
        CommentReply(comment_id="c9", parent_id="c1", text="Thanks"),
        "POST /c1/replies",
        {"message": "Thanks"},
    ),
    "mention in a caption": (
        MentionReply(media_id="17", text="Thanks"),
        "POST /111/mentions",
        {"media_id": "17", "message": "Thanks"},
    ),
    "mention in a comment": (
        MentionReply(media_id="17", comment_id="c9", text="Thanks"),
        "POST /111/mentions",
        {"media_id": "17", "comment_id": "c9", "message": "Thanks"},
    ),
    "hide": (HideComment(comment_id="c9"), "POST /c9?hide=true", None),
    "show": (HideComment(comment_id="c9", hidden=False), "POST /c9?hide=false", None),
    "delete": (DeleteComment(comment_id="c9"), "DELETE /c9", None),
}

BY_MANYCHAT = {
    "text": (DirectMessage(text="مرحبا"), "/fb/sending/sendContent", content({"type": "text", "text": "مرحبا"})),
    "quick replies": (
        DirectMessage(text="Which?", quick_replies=(QuickReply(title="Red", payload="flow:content1"),)),
        "/fb/sending/sendContent",
        content(
            {"type": "text", "text": "Which?"},
            quick_replies=[{"type": "flow", "caption": "Red", "target": "content1"}],
        ),
    ),
    "image": (
        MediaMessage(media="image", urls=(PICTURE,)),
        "/fb/sending/sendContent",
        content({"type": "image", "url": PICTURE}),
    ),
    "cards": (
        Cards(cards=(Card(title="Lamp", subtitle="Red", image_url=PICTURE, url=OPENS.url, buttons=(OPENS, STARTS)),)),
        "/fb/sending/sendContent",
        content(
            {
                "type": "cards",
                "elements": [
                    {
                        "title": "Lamp",
                        "subtitle": "Red",
                        "image_url": PICTURE,
                        "action_url": "https://shop.example",
                        "buttons": [
                            {"type": "url", "caption": "Shop", "url": "https://shop.example"},
                            {"type": "flow", "caption": "Yes", "target": "content1"},
                        ],
                    }
                ],
                "image_aspect_ratio": "horizontal",
            }
        ),
    ),
    "buttons": (
        Buttons(text="Shall I?", buttons=(OPENS,)),
        "/fb/sending/sendContent",
        content(
            {
                "type": "text",
                "text": "Shall I?",
                "buttons": [{"type": "url", "caption": "Shop", "url": "https://shop.example"}],
            }
        ),
    ),
    "flow": (Flow(flow_ns="content1"), "/fb/sending/sendFlow", {"subscriber_id": SUBSCRIBER, "flow_ns": "content1"}),
    "add a tag": (
        SubscriberChange(change="add_tag", name="buyer"),
        "/fb/subscriber/addTagByName",
        {"subscriber_id": SUBSCRIBER, "tag_name": "buyer"},
    ),
    "remove a tag": (
        SubscriberChange(change="remove_tag", name="buyer"),
        "/fb/subscriber/removeTagByName",
        {"subscriber_id": SUBSCRIBER, "tag_name": "buyer"},
    ),
    "set a field": (
        SubscriberChange(change="set_field_value", name="size", value=42),
        "/fb/subscriber/setCustomFieldByName",
        {"subscriber_id": SUBSCRIBER, "field_name": "size", "field_value": 42},
    ),
    "unset a field": (
        SubscriberChange(change="unset_field_value", name="size"),
        "/fb/subscriber/setCustomFieldByName",
        {"subscriber_id": SUBSCRIBER, "field_name": "size", "field_value": None},
    ),
}

KINDS = {kind.model_fields["kind"].default for kind in get_args(get_args(Action)[0])}


class Recorder:
    """Keeps the one request that is made, and answers it well."""

    def __init__(self):
        self.asked = []

        def answer(request):
            self.asked.append(request)
            said = {"message_id": "mid.1", "id": "c10", "success": True, "status": "success"}
            return httpx2.Response(200, content=json.dumps(said).encode())

        self._client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))

    def api(self, base):
        return OutsideApi("test", self._client, base, timeout=5, observe=lambda *_: None)

    def said(self, base):
        (request,) = self.asked
        target = str(request.url).removeprefix(base)
        return f"{request.method} {target}", json.loads(request.content) if request.content else None


@pytest.mark.parametrize(("action", "target", "body"), BY_GRAPH.values(), ids=BY_GRAPH)
async def test_what_is_asked_of_the_graph_api(action, target, body):
    recorder = Recorder()
    sent = await Graph(recorder.api(GRAPH)).send("tok", ME, PERSON, action)
    assert recorder.said(GRAPH) == (target, body)
    assert recorder.asked[0].headers["authorization"] == "Bearer tok"
    told = {"messages": "mid.1", "replies": "c10", "mentions": "c10"}
    names = "message" in (body or {})
    assert sent == Sent(told[target.rpartition("/")[2]] if names else None)


@pytest.mark.parametrize(("action", "path", "body"), BY_MANYCHAT.values(), ids=BY_MANYCHAT)
async def test_what_is_asked_of_manychat(action, path, body):
    recorder = Recorder()
    assert await ManyChat(recorder.api(MANYCHAT)).send_to_subscriber("page:key", SUBSCRIBER, action) == Sent(None)
    assert recorder.said(MANYCHAT) == (f"POST {path}", body)
    assert recorder.asked[0].headers["authorization"] == "Bearer page:key"


def test_every_action_over_every_route_that_can_do_it_is_in_the_tables():
    tables = {"graph": BY_GRAPH, "manychat": BY_MANYCHAT}
    pinned = {(action.kind, route) for route, table in tables.items() for action, *_ in table.values()}
    possible = {
        (action.kind, route) for table in tables.values() for action, *_ in table.values() for route in able(action)
    }
    assert pinned == possible
    assert {kind for kind, _ in pinned} == KINDS - {"operator_notification"}


@pytest.mark.parametrize("action", [Flow(flow_ns="f"), SubscriberChange(change="add_tag", name="t")])
async def test_what_only_manychat_does_is_never_asked_of_the_graph_api(action):
    recorder = Recorder()
    with pytest.raises(Refused):
        await Graph(recorder.api(GRAPH)).send("tok", ME, PERSON, action)
    assert recorder.asked == []


@pytest.mark.parametrize(
    "action",
    [
        *(action for action, *_ in BY_GRAPH.values() if "manychat" not in able(action)),
        OperatorNotification(reason="r", text="t"),
    ],
    ids=lambda action: action.kind,
)
async def test_what_manychat_does_not_do_on_instagram_is_never_asked_of_it(action):
    recorder = Recorder()
    with pytest.raises(Refused):
        await ManyChat(recorder.api(MANYCHAT)).send_to_subscriber("k", SUBSCRIBER, action)
    assert recorder.asked == []


async def test_a_persons_message_outside_the_window_says_so():
    recorder = Recorder()
    await Graph(recorder.api(GRAPH)).send("tok", ME, PERSON, DirectMessage(text="Hi"), Manner(human_agent=True))
    body = {
        "recipient": {"id": PERSON},
        "messaging_type": "MESSAGE_TAG",
        "tag": "HUMAN_AGENT",
        "message": {"text": "Hi"},
    }
    assert recorder.said(GRAPH) == ("POST /111/messages", body)


async def test_a_token_stands_in_for_the_person():
    recorder = Recorder()
    await Graph(recorder.api(GRAPH)).send("tok", ME, PERSON, Heart(), Manner(opt_in_token="leave"))
    assert recorder.said(GRAPH)[1]["recipient"] == {"notification_messages_token": "leave"}


async def test_a_message_tag_goes_along_to_manychat():
    recorder = Recorder()
    manychat = ManyChat(recorder.api(MANYCHAT))
    await manychat.send_to_subscriber("k", SUBSCRIBER, DirectMessage(text="Hi"), "POST_PURCHASE_UPDATE")
    assert recorder.said(MANYCHAT)[1]["message_tag"] == "POST_PURCHASE_UPDATE"


async def test_every_call_carries_the_proof_where_there_is_a_secret():
    """The value is the one of RFC 4231's second test case: key `Jefe`, data `what do ya want for nothing?`."""
    token = "what do ya want for nothing?"
    proof = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert proof_of("Jefe", token) == proof
    for action, *_ in BY_GRAPH.values():
        recorder = Recorder()
        await Graph(recorder.api(GRAPH), app_secret="Jefe").send(token, ME, PERSON, action)
        assert recorder.asked[0].url.params["appsecret_proof"] == proof


async def test_reading_back_carries_the_proof_too():
    recorder = Recorder()
    graph = Graph(recorder.api(GRAPH), app_secret="Jefe")
    for call in (graph.conversation("tok", ME, PERSON), graph.comment_replies("tok", ME, "c9")):
        with pytest.raises(Retryable):  # the answer is no page; the request is what counts
            await call
    assert [request.url.params["appsecret_proof"] for request in recorder.asked] == [proof_of("Jefe", "tok")] * 2


async def test_an_id_is_one_segment_of_the_path_whatever_is_in_it():
    recorder = Recorder()
    await Graph(recorder.api(GRAPH)).send("tok", ME, "", CommentReply(comment_id="../111/messages?x=", text="x"))
    assert recorder.asked[0].url.raw_path == b"/v25.0/..%2F111%2Fmessages%3Fx%3D/replies"


@pytest.fixture
async def sandbox():
    app = create_sandbox(SandboxSettings(seed="catalogue"))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://sandbox") as client:
        yield client


def through(client, path):
    return OutsideApi("sandbox", client, f"http://sandbox{path}", timeout=5, observe=lambda *_: None)


async def recorded(client):
    """Return the last call's effect and what it was about, as the sandbox's journal has it."""
    (entry,) = (await client.get("/sandbox/journal")).json()["entries"]
    return entry["effect"], entry["kind"]


@pytest.mark.parametrize("name", BY_GRAPH)
async def test_the_graph_api_of_the_sandbox_takes_every_action(sandbox, name):
    action = BY_GRAPH[name][0]
    await Graph(through(sandbox, "/graph/v25.0")).send("IGAAtest", "17841405309211844", "118354031656615", action)
    effect, kind = await recorded(sandbox)
    assert effect
    assert kind in {"message", "sender_action", "private_reply", "comment_reply", "mention_reply", "hide", "delete"}


@pytest.mark.parametrize("name", BY_MANYCHAT)
async def test_the_manychat_of_the_sandbox_takes_every_action(sandbox, name):
    action = BY_MANYCHAT[name][0]
    manychat = ManyChat(through(sandbox, "/manychat"))
    await manychat.send_to_subscriber("101405309211844:key", subscriber_of("118354031656615"), action)
    assert (await recorded(sandbox))[0]


async def test_the_link_is_made_and_found_at_the_sandbox(sandbox):
    person = "118354031656615"
    await sandbox.post("/sandbox/people", json={"contact": person, "linked": False})
    manychat, key = ManyChat(through(sandbox, "/manychat")), "101405309211844:key"
    assert await manychat.find_subscriber(key, 11111, person) is None
    await manychat.set_field(key, subscriber_of(person), 11111, person)
    assert await manychat.find_subscriber(key, 11111, person) == subscriber_of(person)
