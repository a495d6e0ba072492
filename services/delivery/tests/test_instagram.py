"""The Graph API: exactly what is asked of it, and what its answers mean."""

import json

import httpx2
import pytest

from common.errors import Permanent, Retryable, UnknownOutcome
from common.events.replies import DirectMessage, HideComment, MarkSeen
from delivery.platforms.calls import Answer, OutsideApi
from delivery.platforms.instagram import Graph
from delivery.platforms.reading import Reading
from delivery.platforms.sending import Refused

BASE = "https://graph.example/v25.0"
TEXT = DirectMessage(text="x")


class Api:
    """Answers with what it is told and keeps what it was asked."""

    def __init__(self, status=200, body=None, headers=None, error=None):
        self.asked = []
        self.observed = []

        def answer(request):
            self.asked.append(request)
            if error is not None:
                raise error
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return httpx2.Response(status, content=content, headers=headers)

        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        self.graph = Graph(
            OutsideApi("graph", self.client, BASE, timeout=5, observe=lambda *said: self.observed.append(said[:2]))
        )

    @property
    def request(self):
        (request,) = self.asked
        return request

    def said(self):
        request = self.request
        body = json.loads(request.content) if request.content else None
        return request.method, str(request.url), request.headers["authorization"], body


class TestContract:
    async def test_reading_a_conversation(self):
        messages = [
            {"id": "m2", "created_time": "2026-03-01T12:00:05+0000", "from": {"id": "111"}, "message": "Hello"},
            {"id": "m1", "created_time": "2026-03-01T12:00:00+0000", "from": {"id": "222"}, "message": "Hi"},
        ]
        api = Api(body={"data": [{"messages": {"data": messages}, "id": "t"}]})
        reading = await api.graph.conversation("tok", "111", "222")
        assert api.request.method == "GET"
        assert api.request.url.path == "/v25.0/111/conversations"
        assert dict(api.request.url.params) == {
            "platform": "instagram",
            "user_id": "222",
            "fields": "messages.limit(20){id,created_time,from,message,attachments,shares}",
        }
        assert reading.complete
        assert [(one.id, one.text, one.from_account, one.at.second) for one in reading.shown] == [
            ("m2", "Hello", True, 5),
            ("m1", "Hi", False, 0),
        ]

    async def test_reading_the_replies_of_a_comment(self):
        api = Api(body={"data": [{"id": "c10", "text": "Thanks", "timestamp": "2026-03-01T12:00:00+0000"}]})
        reading = await api.graph.comment_replies("tok", "111", "c9")
        assert api.said()[1] == f"{BASE}/c9/replies?fields=id%2Ctext%2Ctimestamp%2Cfrom%2Cusername"
        assert reading.shown[0].from_account, "a sender that is left out may be the account"

    async def test_the_author_of_a_comment_is_read_as_it_is_listed(self):
        listed = [
            {"id": "c1", "text": "a", "from": {"id": "888", "username": "shop"}},
            {"id": "c2", "text": "b", "from": {"id": "777"}, "username": "someone"},
            {"id": "c3", "text": "c", "from": {"id": "111"}, "username": 5},
        ]
        reading = await Api(body={"data": listed}).graph.comment_replies("tok", "111", "c9")
        assert [(one.author_id, one.username, one.from_account) for one in reading.shown] == [
            ("888", "shop", False),
            ("777", "someone", False),
            ("111", "", True),
        ]

    @pytest.mark.parametrize("sender", [{"id": "888"}, {"id": ""}, {}, None, "x"])
    async def test_what_the_customer_did_not_write_in_their_thread_is_ours(self, sender):
        page = {"data": [{"messages": {"data": [{"id": "m", "message": "Hello", "from": sender}]}}]}
        assert (await Api(body=page).graph.conversation("t", "111", "222")).shown[0].from_account


class TestReading:
    async def test_a_person_without_a_thread_has_no_messages(self):
        assert await Api(body={"data": []}).graph.conversation("t", "1", "2") == Reading((), complete=True)

    @pytest.mark.parametrize(
        "messages",
        [
            {"data": [{"id": str(n), "from": {"id": "1"}} for n in range(20)]},
            {"data": [{"id": "m"}], "paging": {"next": "https://graph.example/more"}},
            {"data": [{"id": "m"}, "not a message"]},
        ],
    )
    async def test_a_page_that_may_not_be_all_is_not_complete(self, messages):
        reading = await Api(body={"data": [{"messages": messages}]}).graph.conversation("t", "1", "2")
        assert not reading.complete

    @pytest.mark.parametrize(
        "body", [{}, {"data": {}}, {"data": ["x"]}, {"data": [{}]}, {"data": [{"messages": 1}]}, []]
    )
    async def test_what_is_no_page_proves_nothing(self, body):
        with pytest.raises(Retryable):
            await Api(body=body).graph.conversation("t", "1", "2")

    @pytest.mark.parametrize("time", [None, 17, "yesterday"])
    async def test_a_message_without_a_readable_time_has_none(self, time):
        page = {"data": [{"messages": {"data": [{"id": "m", "created_time": time}]}}]}
        reading = await Api(body=page).graph.conversation("t", "1", "2")
        assert reading.shown[0].at is None

    async def test_a_time_without_a_zone_is_utc(self):
        page = {"data": [{"messages": {"data": [{"id": "m", "created_time": "2026-03-01T12:00:00"}]}}]}
        reading = await Api(body=page).graph.conversation("t", "1", "2")
        assert reading.shown[0].at.utcoffset().total_seconds() == 0

    async def test_what_has_no_words_is_read_by_its_attachments(self):
        attachments = [
            {"image_data": {"url": "https://cdn.example/1"}},
            {"video_data": {}},
            {"mime_type": "audio/mp4", "file_url": "https://cdn.example/2"},
            {"file_url": "https://cdn.example/3"},
            {"generic_template": {"title": "Lamp"}},
            {"sticker_data": {}},
            "no attachment",
        ]
        message = {"id": "m", "message": "", "attachments": {"data": attachments}, "shares": {"data": [{"link": "x"}]}}
        reading = await Api(body={"data": [{"messages": {"data": [message]}}]}).graph.conversation("t", "1", "2")
        kinds = ("image", "video", "audio", "file", "template", "unknown", "unknown", "share")
        assert reading.shown[0].kinds == kinds

    @pytest.mark.parametrize("odd", [None, [], "x", {"data": None}, {"data": {}}, {}])
    async def test_odd_attachments_are_none(self, odd):
        page = {"data": [{"messages": {"data": [{"id": "m", "attachments": odd, "shares": odd}]}}]}
        assert (await Api(body=page).graph.conversation("t", "1", "2")).shown[0].kinds == ()


def error(code, subcode=None, status=400, **more):
    body = {"error": {"message": "token EAAsecret", "type": "OAuthException", "code": code, **more}}
    if subcode is not None:
        body["error"]["error_subcode"] = subcode
    return Answer(status, body)


class TestAnswers:
    @pytest.mark.parametrize("body", [{}, {"message_id": ""}, {"recipient_id": "2"}, [], b"<html>"])
    async def test_a_success_without_a_message_id_is_of_unknown_outcome(self, body):
        with pytest.raises(UnknownOutcome):
            await Api(body=body).graph.send("t", "1", "2", TEXT)

    async def test_an_error_in_a_success_is_an_error(self):
        with pytest.raises(Permanent):
            await Api(body={"message_id": "m", **error(190).body}).graph.send("t", "1", "2", TEXT)

    async def test_a_refused_connection_may_be_tried_again(self):
        with pytest.raises(Retryable):
            await Api(error=httpx2.ConnectError("refused")).graph.send("t", "1", "2", TEXT)

    async def test_a_reset_is_of_unknown_outcome(self):
        with pytest.raises(UnknownOutcome):
            await Api(error=httpx2.ReadError("reset")).graph.send("t", "1", "2", TEXT)

    async def test_hiding_may_be_repeated_after_a_reset(self):
        with pytest.raises(Retryable):
            await Api(error=httpx2.ReadError("reset")).graph.send("t", "1", "", HideComment(comment_id="c"))

    async def test_a_success_that_says_false_is_none(self):
        with pytest.raises((Refused, Retryable)):
            await Api(body={"success": False}).graph.send("t", "1", "2", MarkSeen())


class TestReadingAMessage:
    async def test_what_is_asked_and_read(self):
        body = {
            "id": "m/1",
            "created_time": "2026-03-01T12:00:05+0000",
            "from": {"id": "222"},
            "message": "Hello",
            "attachments": {
                "data": [
                    {"mime_type": "image/jpeg", "image_data": {"url": "https://cdn/1", "width": 1}},
                    {"mime_type": "audio/mp4", "file_url": "https://cdn/2"},
                    {"id": "no link"},
                    "nothing",
                ]
            },
            "shares": {"data": [{"link": "https://instagram.com/p/1", "name": "post"}]},
        }
        api = Api(body=body)
        message = await api.graph.message("tok", "m/1")
        assert api.request.method == "GET"
        assert api.request.url.raw_path.startswith(b"/v25.0/m%2F1?")
        assert "message" in api.request.url.params["fields"].split(",")
        assert message.text == "Hello"
        assert [(one.type, one.url) for one in message.attachments] == [
            ("image", "https://cdn/1"),
            ("audio", "https://cdn/2"),
            ("unknown", None),
            ("share", "https://instagram.com/p/1"),
        ]

    @pytest.mark.parametrize("body", [{}, [], {"id": ""}, "x"])
    async def test_what_is_no_message_is_asked_for_again(self, body):
        with pytest.raises(Retryable):
            await Api(body=body).graph.message("tok", "m1")

    @pytest.mark.parametrize("text", [None, "", "  ", 7, {}])
    async def test_what_is_no_text_is_none(self, text):
        assert (await Api(body={"id": "m1", "message": text}).graph.message("tok", "m1")).text is None

    async def test_a_message_that_is_not_there_is_refused(self):
        error = {"error": {"code": 100, "error_subcode": 33, "message": "There is no such object"}}
        with pytest.raises(Refused):
            await Api(400, error).graph.message("tok", "m1")
