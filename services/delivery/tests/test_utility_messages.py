"""Asking for a message over HTTP: what is accepted, what is refused, and that one key sends one message."""

import gzip
import json
from dataclasses import replace
from datetime import timedelta

import httpx2
import pytest
from aiokafka.errors import KafkaConnectionError
from litestar import Litestar
from pymongo.errors import ServerSelectionTimeoutError

from common.merchants import Account, MerchantNotReadable
from common.request_rate import RequestRate
from delivery.api.acceptance import Acceptance
from delivery.api.routes import utility_message_routes
from delivery.api.tokens import issue_token
from delivery.api.utility_messages import UtilityMessagesService
from delivery.ledger import Part

SECRET = "a secret of the right length for HS256"
CONTACT = "1000000000000007"
BODY = {"recipientId": CONTACT, "message": "Your order left today"}


class Api:
    """The HTTP API on a world."""

    def __init__(self, world, rate=None):
        self.world = world
        acceptance = Acceptance(ledger=world.ledger, publish=world.publish, clock=world.clock)
        service = UtilityMessagesService(merchants=world.directory, acceptance=acceptance)
        app = Litestar(
            route_handlers=utility_message_routes(service, jwt_secrets=[SECRET], clock=world.clock, rate=rate),
            openapi_config=None,
        )
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://delivery")
        self.token = issue_token(SECRET, "shop", now=world.clock.now())

    async def send(self, body=BODY, *, merchant="shop", token=None, key=None, raw=None):
        headers = {"authorization": f"Bearer {token or self.token}"}
        if key:
            headers["idempotency-key"] = key
        content = raw if raw is not None else json.dumps(body).encode()
        return await self.client.post(f"/api/utility-messages/{merchant}/send", content=content, headers=headers)

    async def get(self, location, token=None):
        return await self.client.get(location, headers={"authorization": f"Bearer {token or self.token}"})


@pytest.fixture
def api(world):
    return Api(world)


class TestAccepting:
    async def test_a_message_is_accepted_with_its_id_and_where_to_ask(self, api, world):
        response = await api.send()
        assert response.status_code == 202
        said = response.json()
        assert said["status"] == "claimed"
        assert response.headers["location"] == f"/api/utility-messages/shop/{said['replyId']}"
        (event,) = world.published
        assert (event.type, event.partitionkey) == ("com.jawab.reply.requested.v1", f"17841400000000001:{CONTACT}")
        assert (event.data.reply_id, event.data.origin) == (said["replyId"], "api")
        assert world.platform.asked == []

    async def test_a_merchant_has_its_requests_a_minute_and_no_stranger_uses_them_up(self, world):
        api = Api(world, rate=RequestRate(2, now=lambda: 0.0))
        strangers = [await api.send(token="nobody's") for _ in range(5)]
        assert {answer.status_code for answer in strangers} == {401}
        answers = [await api.send(key=str(number)) for number in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert int(answers[-1].headers["retry-after"]) > 0
        assert len(world.published) == 2

    async def test_a_compressed_body_is_415_and_says_so(self, api, world):
        url, token = "/api/utility-messages/shop/send", f"Bearer {api.token}"
        headers = {"authorization": token, "content-encoding": "gzip"}
        response = await api.client.post(url, content=gzip.compress(json.dumps(BODY).encode()), headers=headers)
        assert (response.status_code, "Content-Encoding gzip" in response.json()["detail"]) == (415, True)
        assert world.published == []

    async def test_an_accepted_message_is_sent_once_and_its_state_can_be_read(self, api, world):
        await world.contacts.customer_acted(f"17841400000000001:{CONTACT}", world.clock.now())
        location = (await api.send()).headers["location"]
        (event,) = world.published
        await world.sender.deliver(event)
        await world.sender.deliver(event)
        assert len(world.platform.sends()) == 1
        said = (await api.get(location)).json()
        assert said == {
            "replyId": event.data.reply_id,
            "status": "delivered",
            "recipientId": CONTACT,
            "kind": "direct_message",
            "route": "graph",
            "messageIds": ["mid.1"],
            "parts": [{"status": "delivered", "messageId": "mid.1"}],
            "reason": None,
            "detail": None,
            "createdAt": "2026-03-01T12:00:00+00:00",
            "attemptedAt": "2026-03-01T12:00:00+00:00",
            "finishedAt": "2026-03-01T12:00:00+00:00",
            "seenAt": None,
        }

    async def test_a_message_outside_the_window_says_so(self, api, world):
        location = (await api.send()).headers["location"]
        await world.sender.deliver(world.published[0])
        said = (await api.get(location)).json()
        assert (said["status"], said["reason"], said["messageIds"]) == ("suppressed", "window_closed", [])

    async def test_a_message_tag_goes_along(self, api, world):
        await api.send({**BODY, "messageTag": "POST_PURCHASE_UPDATE"})
        assert world.published[0].data.action.message_tag == "POST_PURCHASE_UPDATE"


class TestSeveralAccounts:
    @pytest.fixture
    def two(self, world):
        """A merchant with a second account that has keys of its own."""
        other = Account(account_id="222", access_token=world.sealer.seal("token-of-222", "222", "access_token"))
        world.directory.merchants = [world.merchant(other_accounts=(other,))]

    @pytest.mark.usefixtures("two")
    async def test_the_account_that_is_named_sends_it_with_its_own_token(self, api, world):
        await world.contacts.customer_acted(f"222:{CONTACT}", world.clock.now())
        assert (await api.send({**BODY, "accountId": "222"})).status_code == 202
        (event,) = world.published
        assert (event.data.account_id, event.partitionkey) == ("222", f"222:{CONTACT}")
        await world.sender.deliver(event)
        (sent,) = world.platform.sends()
        assert sent[:3] == ("graph", "token-of-222", "222")

    @pytest.mark.usefixtures("two")
    async def test_without_a_name_the_main_account_sends_it(self, api, world):
        await api.send()
        assert world.published[0].data.account_id == "17841400000000001"

    @pytest.mark.usefixtures("two")
    async def test_an_account_the_merchant_has_not_is_refused_by_name(self, api, world):
        response = await api.send({**BODY, "accountId": "333"})
        assert response.status_code == 404
        assert "accountId: the merchant has no account 333" in response.json()["detail"]
        assert world.published == []

    @pytest.mark.usefixtures("two")
    async def test_the_same_key_for_another_account_is_refused(self, api):
        await api.send(key="order-1")
        assert (await api.send({**BODY, "accountId": "222"}, key="order-1")).status_code == 409


class TestIdempotency:
    async def test_the_same_key_is_the_same_message(self, api, world):
        first = await api.send({**BODY, "idempotencyKey": "order-1"})
        second = await api.send(key="order-1")
        assert first.json()["replyId"] == second.json()["replyId"]
        assert {one.data.reply_id for one in world.published} == {first.json()["replyId"]}
        assert len(world.ledger.rows) == 1

    async def test_a_key_that_was_sent_is_not_published_again(self, api, world):
        await world.contacts.customer_acted(f"17841400000000001:{CONTACT}", world.clock.now())
        await api.send(key="order-1")
        await world.sender.deliver(world.published[0])
        published = len(world.published)
        again = await api.send(key="order-1")
        assert (again.status_code, again.json()["status"]) == (202, "delivered")
        assert len(world.published) == published

    async def test_two_messages_without_a_key_are_two(self, api, world):
        await api.send()
        await api.send()
        assert len(world.ledger.rows) == 2

    async def test_the_same_key_is_the_same_message_also_after_a_deploy_that_cuts_texts_elsewhere(self, api, world):
        """Who is refused asks with another key, and the message is sent twice."""
        first = await api.send(key="order-1")
        row = world.ledger.rows[first.json()["replyId"]]
        world.ledger.rows[row.reply_id] = replace(row, parts=(Part("half"), Part("other half")))
        again = await api.send(key="order-1")
        assert (again.status_code, again.json()["replyId"]) == (202, row.reply_id)

    async def test_a_row_that_does_not_say_what_was_asked_is_known_by_its_parts(self, api, world):
        first = await api.send(key="order-1")
        row = world.ledger.rows[first.json()["replyId"]]
        world.ledger.rows[row.reply_id] = replace(row, asked=None)
        assert (await api.send(key="order-1")).status_code == 202
        assert (await api.send({**BODY, "message": "Something else"}, key="order-1")).status_code == 409

    async def test_the_same_key_for_another_message_is_refused(self, api):
        await api.send(key="order-1")
        assert (await api.send({**BODY, "message": "Something else"}, key="order-1")).status_code == 409
        assert (await api.send({**BODY, "recipientId": "5"}, key="order-1")).status_code == 409

    async def test_the_same_key_with_another_tag_is_refused(self, api):
        tagged = {**BODY, "messageTag": "ACCOUNT_UPDATE"}
        untagged = {name: value for name, value in BODY.items() if name != "messageTag"}
        await api.send(tagged, key="order-1")
        assert (await api.send(tagged, key="order-1")).status_code == 202
        assert (await api.send({**BODY, "messageTag": "POST_PURCHASE_UPDATE"}, key="order-1")).status_code == 409
        assert (await api.send(untagged, key="order-1")).status_code == 409

    async def test_the_same_key_of_two_merchants_is_two_messages(self, api, world):
        world.directory.merchants.append(world.merchant(id="other", account_id="5"))
        first = await api.send(key="order-1")
        token = issue_token(SECRET, "other", now=world.clock.now())
        second = await api.send(key="order-1", merchant="other", token=token)
        assert first.json()["replyId"] != second.json()["replyId"]

    @pytest.mark.parametrize("error", [KafkaConnectionError(), ConnectionError(), TimeoutError()])
    async def test_without_an_acknowledgement_the_answer_says_that_the_outcome_is_unknown(self, api, world, error):
        world.publish_fails = [error]
        response = await api.send(key="order-1")
        assert response.status_code == 503
        assert response.headers["retry-after"]
        assert "nothing" not in response.json()["detail"]
        assert response.json()["idempotencyKey"] == "order-1"
        assert response.headers["location"].endswith(f"/{response.json()['replyId']}")
        assert list(world.ledger.rows) == [response.json()["replyId"]]

    async def test_a_reply_without_an_acknowledgement_can_be_asked_for_and_repeated(self, api, world):
        world.publish_fails = [TimeoutError()]
        unknown = await api.send(key="order-1")
        assert (await api.get(unknown.headers["location"])).json()["status"] == "claimed"
        repeated = await api.send(key="order-1")
        assert (repeated.status_code, repeated.json()["replyId"]) == (202, unknown.json()["replyId"])

    @pytest.mark.parametrize("error", [KafkaConnectionError(), ConnectionError(), TimeoutError()])
    async def test_a_request_without_a_key_that_was_appended_unacknowledged_is_sent_once(self, api, world, error):
        await world.contacts.customer_acted(f"17841400000000001:{CONTACT}", world.clock.now())
        world.appends_before_failing = [error]
        unknown = await api.send()
        assert unknown.status_code == 503
        repeated = await api.send(key=unknown.json()["idempotencyKey"])
        assert (repeated.status_code, repeated.json()["replyId"]) == (202, unknown.json()["replyId"])
        for event in list(world.published):
            await world.sender.deliver(event)
        assert len(world.platform.sends()) == 1

    async def test_a_request_that_mongodb_did_not_answer_can_be_repeated_with_the_key_it_is_given(self, api, world):
        def away(_):
            raise ServerSelectionTimeoutError("x")

        world.ledger.before = away
        unknown = await api.send()
        world.ledger.before = lambda _: None
        repeated = await api.send(key=unknown.json()["idempotencyKey"])
        assert (unknown.status_code, repeated.status_code) == (503, 202)

    async def test_a_request_that_died_half_way_is_completed_by_its_repetition(self, api, world, crash):
        def dies(step):
            if step == "publish":
                raise crash

        world.ledger.before = dies
        with pytest.raises(BaseException):  # noqa: B017, PT011 whatever the server makes of a process that dies
            await api.send(key="order-1")
        world.ledger.before = lambda _: None
        assert (await api.send(key="order-1")).status_code == 202
        assert len(world.published) == 1

    async def test_a_record_that_was_appended_although_kafka_did_not_say_so_is_sent_once(self, api, world):
        await world.contacts.customer_acted(f"17841400000000001:{CONTACT}", world.clock.now())
        await api.send(key="order-1")
        event = world.published.pop()
        world.ledger.rows.clear()
        await world.sender.deliver(event)
        again = await api.send(key="order-1")
        assert again.json()["status"] == "delivered"
        assert len(world.platform.sends()) == 1


class TestRefusing:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"message": "x"}, "recipientId: is missing"),
            ({"recipientId": CONTACT}, "message: is missing"),
            ({**BODY, "recipientId": 17}, "recipientId: must be a string"),
            ({**BODY, "recipientId": "@ali"}, "recipientId: must be an Instagram id"),
            ({**BODY, "message": "  "}, "message: must be more than white space"),
            ({**BODY, "message": ""}, "message: "),
            ({**BODY, "message": "x" * 10_001}, "message: must have at most 10000 characters"),
            ({**BODY, "message": "ش" * 5001}, "message has 10002 bytes; at most 10000"),
            ({**BODY, "messageTag": " "}, "messageTag: must be a message tag of 1 to 200 characters"),
            ({**BODY, "messageTag": 17}, "messageTag: must be a string"),
            ({**BODY, "message": ["x"]}, "message: must be a string"),
            ({**BODY, "messageTag": "HUMAN_AGENT"}, "messageTag: must not be HUMAN_AGENT"),
            ({**BODY, "messageTag": "HUMAN\u200b_agent"}, "messageTag: must not be HUMAN_AGENT"),
            ({**BODY, "recipientId": "17841400000000001"}, "recipientId: 17841400000000001 is the merchant's own"),
            ({**BODY, "idempotencyKey": ""}, "idempotencyKey: "),
            ({**BODY, "idempotencyKey": "x" * 201}, "idempotencyKey: "),
            ({**BODY, "text": "x"}, "text: is no field here"),
            ([], "JSON object"),
            ("x", "JSON object"),
            (None, "JSON object"),
        ],
    )
    async def test_a_wrong_body_names_the_field_and_the_fix(self, api, world, body, field):
        response = await api.send(body)
        assert response.status_code == 400
        assert field in response.json()["detail"]
        assert world.published == []
        assert world.ledger.rows == {}

    @pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 10_000])
    async def test_what_is_no_json_is_refused(self, api, raw):
        response = await api.send(raw=raw)
        assert response.status_code == 400
        assert "JSON" in response.json()["detail"]

    async def test_two_different_keys_are_refused(self, api):
        response = await api.send({**BODY, "idempotencyKey": "a"}, key="b")
        assert (response.status_code, "idempotencyKey" in response.json()["detail"]) == (400, True)

    async def test_the_message_is_not_repeated_in_an_error(self, api):
        response = await api.send({**BODY, "recipientId": "x", "message": "a private matter"})
        assert "a private matter" not in response.text

    async def test_an_unknown_merchant_is_not_found(self, api, world):
        token = issue_token(SECRET, "nobody", now=world.clock.now())
        response = await api.send(merchant="nobody", token=token)
        assert (response.status_code, "nobody" in response.json()["detail"]) == (404, True)

    async def test_no_token_an_expired_one_and_another_merchants_are_refused(self, api, world):
        url = "/api/utility-messages/shop/send"
        assert (await api.client.post(url, json=BODY)).status_code == 401
        expired = issue_token(SECRET, "shop", now=world.clock.now() - timedelta(hours=13))
        assert (await api.send(token=expired)).status_code == 401
        other = issue_token(SECRET, "other", now=world.clock.now())
        assert (await api.send(token=other)).status_code == 403
        assert (await api.get("/api/utility-messages/shop/rep_1", token=other)).status_code == 403
        response = await api.client.get("/api/utility-messages/shop/rep_1")
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")

    async def test_another_merchants_reply_is_not_found(self, api, world):
        world.directory.merchants.append(world.merchant(id="other", account_id="5"))
        reply = (await api.send()).json()["replyId"]
        token = issue_token(SECRET, "other", now=world.clock.now())
        assert (await api.get(f"/api/utility-messages/other/{reply}", token=token)).status_code == 404
        assert (await api.get("/api/utility-messages/shop/rep_none")).status_code == 404

    async def test_without_mongodb_it_says_so(self, api, world):
        def away(_):
            raise ServerSelectionTimeoutError("x")

        world.ledger.before = away
        assert (await api.send()).status_code == 503
        assert (await api.get("/api/utility-messages/shop/rep_1")).status_code == 503

    async def test_a_merchant_whose_document_is_wrong_is_named(self, api, world):
        async def unreadable(_):
            raise MerchantNotReadable("merchant shop: not valid at rules.0")

        world.directory.by_id = unreadable
        response = await api.send()
        assert (response.status_code, "rules.0" in response.json()["detail"]) == (500, True)
