"""ManyChat: exactly what is asked of it, and what its answers mean."""

import json

import httpx2
import pytest

from common.errors import UnknownOutcome
from delivery.calls import OutsideApi
from delivery.manychat import ManyChat
from delivery.sending import Refused, Sent

BASE = "https://manychat.example"


class Api:
    """Answers with what it is told and keeps what it was asked."""

    def __init__(self, status=200, body=None, error=None):
        self.asked = []

        def answer(request):
            self.asked.append(request)
            if error is not None:
                raise error
            return httpx2.Response(status, content=json.dumps(body).encode())

        client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        self.manychat = ManyChat(OutsideApi("manychat", client, BASE, timeout=5, observe=lambda *_: None))


class TestContract:
    async def test_a_text_goes_to_instagram_with_an_integer_subscriber(self):
        api = Api(body={"status": "success"})
        assert await api.manychat.send_text("page:key", 77, "مرحبا") == Sent(None)
        (request,) = api.asked
        assert (request.method, str(request.url)) == ("POST", f"{BASE}/fb/sending/sendContent")
        assert request.headers["authorization"] == "Bearer page:key"
        assert json.loads(request.content) == {
            "subscriber_id": 77,
            "data": {
                "version": "v2",
                "content": {"type": "instagram", "messages": [{"type": "text", "text": "مرحبا"}]},
            },
        }

    async def test_a_message_tag_goes_along(self):
        api = Api(body={"status": "success"})
        await api.manychat.send_text("page:key", 77, "Hi", "POST_PURCHASE_UPDATE")
        assert json.loads(api.asked[0].content)["message_tag"] == "POST_PURCHASE_UPDATE"

    async def test_a_subscriber_is_found_by_the_custom_field(self):
        api = Api(body={"status": "success", "data": [{"id": "9007199254740993", "name": "x"}]})
        assert await api.manychat.find_subscriber("page:key", 5, "222") == 9007199254740993
        (request,) = api.asked
        assert (request.method, str(request.url)) == (
            "GET",
            f"{BASE}/fb/subscriber/findByCustomField?field_id=5&field_value=222",
        )

    @pytest.mark.parametrize("data", [[], None, {}, [{}], ["x"], [{"id": "abc"}], [{"id": "٣"}]])
    async def test_nobody_found_is_nobody(self, data):
        assert await Api(body={"status": "success", "data": data}).manychat.find_subscriber("k", 5, "2") is None

    async def test_an_integer_id_is_read_too(self):
        assert await Api(body={"status": "success", "data": [{"id": 77}]}).manychat.find_subscriber("k", 5, "2") == 77


class TestAnswers:
    async def test_an_error_in_a_200_is_an_error(self):
        with pytest.raises(Refused, match="window_closed"):
            await Api(body={"status": "error", "code": 3011, "message": "x"}).manychat.send_text("k", 1, "x")

    async def test_a_reset_send_is_of_unknown_outcome(self):
        with pytest.raises(UnknownOutcome):
            await Api(error=httpx2.ReadError("reset")).manychat.send_text("k", 1, "x")

    async def test_a_refused_key_is_told_by_the_lookup_too(self):
        with pytest.raises(Refused, match="key_refused"):
            await Api(status=401).manychat.find_subscriber("k", 5, "2")
