"""ManyChat: exactly what is asked of it, and what its answers mean."""

import json

import httpx2
import pytest

from common.errors import Retryable, UnknownOutcome
from common.events.replies import DirectMessage, Flow, SubscriberChange
from delivery.platforms.calls import OutsideApi
from delivery.platforms.manychat import ManyChat
from delivery.platforms.sending import Refused

BASE = "https://manychat.example"
TEXT = DirectMessage(text="x")


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
    async def test_the_link_is_written_by_the_fields_id(self):
        api = Api(body={"status": "success"})
        await api.manychat.set_field("page:key", 77, 5, "222")
        (request,) = api.asked
        assert str(request.url) == f"{BASE}/fb/subscriber/setCustomField"
        assert json.loads(request.content) == {"subscriber_id": 77, "field_id": 5, "field_value": "222"}

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
            await Api(body={"status": "error", "code": 3011, "message": "x"}).manychat.send_to_subscriber("k", 1, TEXT)

    async def test_a_reset_send_is_of_unknown_outcome(self):
        with pytest.raises(UnknownOutcome):
            await Api(error=httpx2.ReadError("reset")).manychat.send_to_subscriber("k", 1, TEXT)

    async def test_a_reset_flow_is_of_unknown_outcome(self):
        with pytest.raises(UnknownOutcome):
            await Api(error=httpx2.ReadError("reset")).manychat.send_to_subscriber("k", 1, Flow(flow_ns="f"))

    async def test_a_change_of_the_subscriber_may_be_repeated_after_a_reset(self):
        change = SubscriberChange(change="add_tag", name="t")
        with pytest.raises(Retryable):
            await Api(error=httpx2.ReadError("reset")).manychat.send_to_subscriber("k", 1, change)
        with pytest.raises(Retryable):
            await Api(error=httpx2.ReadError("reset")).manychat.set_field("k", 1, 5, "2")

    async def test_a_refused_key_is_told_by_the_lookup_too(self):
        with pytest.raises(Refused, match="key_refused"):
            await Api(status=401).manychat.find_subscriber("k", 5, "2")
