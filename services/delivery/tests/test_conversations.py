"""What the merchant's people do over HTTP: take over, release, answer, look; and how all of it takes effect."""

import json
from datetime import timedelta

import httpx2
import pytest
from aiokafka.errors import KafkaConnectionError
from litestar import Litestar
from pymongo.errors import ServerSelectionTimeoutError

from common.events.control import LogPosition
from common.events.ids import conversation_id
from common.events.replies import DirectMessage
from delivery.api.acceptance import Acceptance
from delivery.api.conversation_routes import conversation_routes
from delivery.api.conversations import Conversations
from delivery.api.tokens import SCOPES, SEND_MESSAGES, issue_token
from delivery.rules.opt_ins import OptInToken

SECRET = "a secret of the right length for HS256"
ACCOUNT = "17841400000000001"
SECOND_ACCOUNT = "17841400000000002"
CONTACT = "1000000000000007"
CONVERSATION = conversation_id(ACCOUNT, CONTACT)
MARGIN = timedelta(seconds=60)
PAUSE = timedelta(hours=12)


class Api:
    """The HTTP API on a world, called by Zaynab, who may do everything but send as a program."""

    def __init__(self, world):
        self.world = world
        conversations = Conversations(
            merchants=world.directory,
            contacts=world.contacts,
            acceptance=Acceptance(ledger=world.ledger, publish=world.publish, clock=world.clock),
            publish=world.publish,
            clock=world.clock,
            margin=MARGIN,
            human_pause=PAUSE,
            log_end=world.log_end,
        )
        routes = conversation_routes(conversations, jwt_secrets=[SECRET], clock=world.clock)
        app = Litestar(route_handlers=routes, openapi_config=None)
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://delivery")

    def token(self, *scopes, subject="zaynab", merchant="shop"):
        allowed = " ".join(scopes or [scope for scope in SCOPES if scope != SEND_MESSAGES])
        return issue_token(SECRET, merchant, now=self.world.clock.now(), subject=subject, scope=allowed)

    async def post(self, what, body=None, *, merchant="shop", contact=CONTACT, token=None, key=None, raw=None):
        headers = {"authorization": f"Bearer {token or self.token(merchant=merchant)}"}
        if key:
            headers["idempotency-key"] = key
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        url = f"/api/conversations/{merchant}/{contact}/{what}"
        return await self.client.post(url, content=content, headers=headers)

    async def get(self, contact=CONTACT, *, merchant="shop", token=None, account=None):
        params = {"accountId": account} if account else {}
        headers = {"authorization": f"Bearer {token or self.token(merchant=merchant)}"}
        return await self.client.get(f"/api/conversations/{merchant}/{contact}", params=params, headers=headers)

    async def look(self, location):
        return (await self.client.get(location, headers={"authorization": f"Bearer {self.token()}"})).json()

    async def take_effect(self):
        """Let delivery take in and do everything that was published until now."""
        events, self.world.published[:] = list(self.world.published), []
        for event in events:
            if event.type.startswith("com.jawab.conversation."):
                await self.world.observer.control(event)
            elif event.type == "com.jawab.reply.generated.v1":
                await self.world.sender.deliver(event)


@pytest.fixture
def api(world):
    return Api(world)


@pytest.fixture
def two_accounts(world):
    merchant = world.merchant(other_accounts=[{"account_id": SECOND_ACCOUNT}])
    world.directory.merchants = [merchant]


def wrote(world, *, ago=timedelta(minutes=1)):
    return world.contacts.customer_acted(CONVERSATION, world.clock.now() - ago)


class TestWhoAnswers:
    async def test_a_takeover_is_in_the_log_when_it_is_answered(self, api, world):
        response = await api.post("takeover", {"reason": "a complaint"})
        assert response.status_code == 202
        (event,) = world.published
        assert event.type == "com.jawab.conversation.takenover.v1"
        assert (event.partitionkey, event.subject, event.topic) == (
            CONVERSATION,
            CONVERSATION,
            "conversations.controlled.v1",
        )
        assert (event.data.by, event.data.reason, event.data.merchant_id) == ("zaynab", "a complaint", "shop")
        assert response.json() == {
            "conversationId": CONVERSATION,
            "answeredBy": "person",
            "by": "zaynab",
            "since": "2026-03-01T12:00:00+00:00",
            "until": "2026-03-02T00:00:00+00:00",
        }

    async def test_after_it_the_bot_is_silent_until_it_is_released(self, api, world):
        await wrote(world)
        await api.post("takeover")
        await api.take_effect()
        silenced = world.reply()
        await world.sender.deliver(silenced)
        assert world.row(silenced).reason == "human_owns"
        assert world.platform.sends() == []
        world.clock.advance(timedelta(seconds=1))
        await api.post("release")
        await api.take_effect()
        spoken = world.reply()
        await world.sender.deliver(spoken)
        assert world.row(spoken).state == "delivered"

    @pytest.mark.parametrize(("what", "kind"), [("release", "released"), ("resolve", "resolved")])
    async def test_a_release_and_a_resolution_give_the_conversation_back(self, api, world, what, kind):
        response = await api.post(what)
        assert response.status_code == 202
        assert (response.json()["answeredBy"], response.json()["until"]) == ("bot", None)
        assert [event.type for event in world.published] == [f"com.jawab.conversation.{kind}.v1"]

    @pytest.mark.parametrize("what", ["takeover", "release", "resolve"])
    async def test_a_change_says_how_far_the_conversations_log_reached(self, api, world, what):
        """What came in before it is decided by the log, whatever the clocks say."""
        world.log_ends[CONVERSATION] = LogPosition(partition=3, offset=17)
        await api.post(what)
        world.log_ends.clear()
        await api.post(what)
        assert [event.data.log for event in world.published] == [LogPosition(partition=3, offset=17), None]

    async def test_a_merchants_own_quiet_time_counts(self, api, world):
        world.directory.merchants = [world.merchant(quiet_hours=2)]
        assert (await api.post("takeover")).json()["until"] == "2026-03-01T14:00:00+00:00"

    @pytest.mark.usefixtures("two_accounts")
    async def test_another_account_of_the_merchant_can_be_named(self, api, world):
        await api.post("takeover", {"accountId": SECOND_ACCOUNT})
        (event,) = world.published
        assert (event.partitionkey, event.data.account_id) == (f"{SECOND_ACCOUNT}:{CONTACT}", SECOND_ACCOUNT)

    @pytest.mark.parametrize("error", [KafkaConnectionError(), ConnectionError(), TimeoutError()])
    async def test_without_an_acknowledgement_the_answer_says_that_it_may_take_effect(self, api, world, error):
        world.publish_fails = [error]
        response = await api.post("takeover")
        assert (response.status_code, "retry-after" in response.headers) == (503, True)
        assert "may take effect or not" in response.json()["detail"]
        assert world.published == []


class TestAnswering:
    async def test_a_persons_text_goes_out_and_the_bot_is_silent_from_then_on(self, api, world):
        await wrote(world)
        response = await api.post("reply", {"text": "I am looking into it"}, key="k1")
        assert response.status_code == 202
        taken, generated = world.published
        assert (taken.type, taken.data.by) == ("com.jawab.conversation.takenover.v1", "zaynab")
        assert (generated.topic, generated.partitionkey) == ("replies.generated.v1", CONVERSATION)
        assert (generated.data.origin, generated.data.action) == ("human", DirectMessage(text="I am looking into it"))
        await api.take_effect()
        said = await api.look(response.headers["location"])
        assert (said["status"], said["messageIds"]) == ("delivered", ["mid.1"])
        (outcome,) = world.published
        assert (outcome.type, outcome.data.origin) == ("com.jawab.reply.delivered.v1", "human")
        bot = world.reply()
        await world.sender.deliver(bot)
        assert world.row(bot).reason == "human_owns"

    async def test_a_person_may_answer_and_leave_the_conversation_to_the_bot(self, api, world):
        await wrote(world)
        await api.post("reply", {"text": "Hello", "takeover": False})
        assert [event.type for event in world.published] == ["com.jawab.reply.generated.v1"]

    async def test_a_person_answers_while_a_person_owns_the_conversation(self, api, world):
        await wrote(world)
        await api.post("takeover")
        await api.take_effect()
        location = (await api.post("reply", {"text": "Hello"})).headers["location"]
        await api.take_effect()
        assert (await api.look(location))["status"] == "delivered"

    async def test_the_same_key_sends_once_and_something_else_under_it_is_refused(self, api, world):
        await wrote(world)
        first = await api.post("reply", {"text": "Hello"}, key="k1")
        second = await api.post("reply", {"text": "Hello", "idempotencyKey": "k1"})
        assert first.json()["replyId"] == second.json()["replyId"]
        await api.take_effect()
        await api.post("reply", {"text": "Hello"}, key="k1")
        await api.take_effect()
        assert len(world.platform.sends()) == 1
        assert (await api.post("reply", {"text": "Bye"}, key="k1")).status_code == 409
        assert (await api.post("reply", {"text": "Hello"}, key="k1", contact="5")).status_code == 409

    async def test_two_pictures_under_one_key_are_told_apart(self, api):
        def picture(name):
            urls = [f"https://shop.example/{name}.png"]
            return {"action": {"kind": "media_message", "media": "image", "urls": urls}}

        assert (await api.post("reply", picture("a"), key="k1")).status_code == 202
        assert (await api.post("reply", picture("a"), key="k1")).status_code == 202
        assert (await api.post("reply", picture("b"), key="k1")).status_code == 409

    @pytest.mark.parametrize(
        "action",
        [
            {"kind": "direct_message", "text": "Which?", "quick_replies": [{"title": "A", "payload": "a"}]},
            {"kind": "media_message", "media": "image", "urls": ["https://shop.example/a.png"]},
            {"kind": "heart"},
            {"kind": "shared_post", "media_id": "178"},
            {"kind": "cards", "cards": [{"title": "A", "buttons": [{"title": "B", "payload": "b"}]}]},
            {"kind": "buttons", "text": "A", "buttons": [{"title": "B", "url": "https://shop.example"}]},
            {"kind": "flow", "flow_ns": "content20260301"},
        ],
        ids=lambda action: action["kind"],
    )
    async def test_whatever_goes_into_the_thread_can_be_sent(self, api, world, action):
        response = await api.post("reply", {"action": action})
        assert (response.status_code, response.json()["kind"]) == (202, action["kind"])
        assert world.published[-1].data.action.kind == action["kind"]

    async def test_after_24_hours_the_reason_says_what_to_do(self, api, world):
        await wrote(world, ago=timedelta(hours=30))
        location = (await api.post("reply", {"text": "Hello"})).headers["location"]
        await api.take_effect()
        said = await api.look(location)
        assert (said["status"], said["reason"]) == ("suppressed", "window_closed")
        assert "last wrote at 2026-02-28 06:00 UTC" in said["detail"]
        assert "`human_agent`" in said["detail"]
        assert world.platform.sends() == []

    async def test_what_is_withheld_leaves_the_conversation_to_the_bot(self, api, world):
        await wrote(world, ago=timedelta(hours=30))
        await api.post("reply", {"text": "Hello"})
        await api.take_effect()
        assert [event.type for event in world.published] == ["com.jawab.reply.suppressed.v1"]
        assert (await api.get()).json()["answeredBy"] == "bot"
        await wrote(world)
        spoken = world.reply()
        await world.sender.deliver(spoken)
        assert world.row(spoken).state == "delivered"

    async def test_an_answer_that_was_appended_unacknowledged_is_sent_once_when_it_is_repeated(self, api, world):
        await wrote(world)
        world.appends_before_failing = [KafkaConnectionError()]
        unknown = await api.post("reply", {"text": "Hello"})
        assert (unknown.status_code, "nothing" in unknown.json()["detail"]) == (503, False)
        repeated = await api.post("reply", {"text": "Hello"}, key=unknown.json()["idempotencyKey"])
        assert (repeated.status_code, repeated.json()["replyId"]) == (202, unknown.json()["replyId"])
        for event in list(world.published):
            if event.topic == "replies.generated.v1":
                await world.sender.deliver(event)
        assert len(world.platform.sends()) == 1

    async def test_a_reply_to_somebody_else_is_not_found_here(self, api):
        reply_id = (await api.post("reply", {"text": "Hello"})).json()["replyId"]
        for contact, status in [(CONTACT, 200), ("5", 404)]:
            url = f"/api/conversations/shop/{contact}/replies/{reply_id}"
            response = await api.client.get(url, headers={"authorization": f"Bearer {api.token()}"})
            assert response.status_code == status


class TestLooking:
    async def test_nothing_known_is_said_to_be_nothing(self, api):
        said = (await api.get()).json()
        assert (said["answeredBy"], said["until"]) == ("bot", None)
        assert said["window"] == {
            "open": False,
            "lastCustomerAt": None,
            "openUntil": None,
            "openForPeopleUntil": None,
        }
        assert {who: may["reason"] for who, may in said["maySend"].items()} == {
            "bot": "window_closed",
            "program": "window_closed",
            "person": "window_closed",
        }

    async def test_it_says_who_answers_until_when_and_who_may_write(self, api, world):
        await wrote(world)
        await api.post("takeover")
        await api.take_effect()
        said = (await api.get()).json()
        assert (said["conversationId"], said["accountId"], said["contactId"]) == (CONVERSATION, ACCOUNT, CONTACT)
        assert (said["answeredBy"], said["takenOverBy"]) == ("person", "zaynab")
        assert (said["since"], said["until"]) == ("2026-03-01T12:00:00+00:00", "2026-03-02T00:00:00+00:00")
        assert said["window"]["open"] is True
        assert said["window"]["openUntil"] == "2026-03-02T11:58:00+00:00"
        assert [said["maySend"][who]["allowed"] for who in ("bot", "program", "person")] == [False, True, True]
        assert said["maySend"]["person"]["how"] == "response"

    async def test_after_24_hours_a_person_may_where_the_account_has_the_feature(self, api, world):
        world.directory.merchants = [world.merchant(human_agent=True)]
        await wrote(world, ago=timedelta(hours=25))
        said = (await api.get()).json()
        assert said["window"]["openForPeopleUntil"] == "2026-03-07T10:59:00+00:00"
        assert said["maySend"]["person"] == {"allowed": True, "how": "human_agent", "reason": None, "detail": None}
        assert said["maySend"]["bot"]["allowed"] is False
        assert "a person may still answer" in said["maySend"]["bot"]["detail"]

    async def test_an_opt_in_is_told_and_its_token_is_not(self, api, world):
        await world.contacts.opted_in(CONVERSATION, OptInToken("a-secret-token", world.clock.now()))
        response = await api.get()
        assert response.json()["maySend"]["program"]["how"] == "opt_in"
        assert "a-secret-token" not in response.text

    @pytest.mark.usefixtures("two_accounts")
    async def test_another_account_of_the_merchant_can_be_asked_about(self, api):
        assert (await api.get(account=SECOND_ACCOUNT)).json()["accountId"] == SECOND_ACCOUNT
        unknown = await api.get(account="99")
        assert unknown.status_code == 404
        assert unknown.json()["detail"].endswith("has no account 99; `jawab merchants accounts shop` shows all")


class TestRefusing:
    @pytest.mark.parametrize("account", ["x", "9" * 33, "\x00", "a" * 20_000, "٤٢"])
    async def test_an_account_in_the_query_that_is_no_id_is_400_by_name(self, api, account):
        response = await api.get(account=account)
        assert (response.status_code, response.json()["detail"].startswith("accountId: ")) == (400, True)
        assert account not in response.text

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({}, "text: give either text or action"),
            ({"text": "x", "action": {"kind": "heart"}}, "text: give either text or action"),
            ({"text": "  "}, "text: must be more than white space"),
            ({"text": 17}, "text: must be a string"),
            ({"text": "x" * 10_001}, "text: must have at most 10000 characters"),
            ({"action": {"kind": "direct_message", "text": " "}}, "action.text: must be more than white space"),
            ({"action": {"kind": "direct_message", "text": "x", "message_tag": " "}}, "action.message_tag: must be a"),
            ({"text": "ش" * 5001}, "text has 10002 bytes; at most 10000"),
            ({"action": {"kind": "typing"}}, "action: kind must be one of "),
            ({"action": {"kind": "private_reply", "comment_id": "c", "text": "x"}}, "action: "),
            ({"action": {"text": "x"}}, "action: needs the field kind"),
            ({"action": {"kind": "heart", "size": 3}}, "action: size is no field of heart"),
            (
                {"action": {"kind": "cards", "cards": [{"title": "A", "link": "https://shop.example"}]}},
                "action: cards.0.link is no field of cards",
            ),
            ({"action": {"kind": "media_message", "media": "image"}}, "action.urls: is missing"),
            ({"action": {"kind": "media_message", "media": "image", "urls": ["ftp://x/a.png"]}}, "http"),
            ({"text": "x", "accountId": "shop"}, "accountId: must be an Instagram id"),
            ({"text": "x", "takeover": "perhaps"}, "takeover: must be true or false"),
            ({"text": "x", "idempotencyKey": ""}, "idempotencyKey: "),
            ({"message": "x"}, "message: is no field here"),
            ([], "JSON object"),
        ],
    )
    async def test_a_wrong_answer_names_the_field_and_the_fix(self, api, world, body, said):
        response = await api.post("reply", body)
        assert response.status_code == 400
        assert said in response.json()["detail"]
        assert world.published == []
        assert world.ledger.rows == {}

    async def test_what_concerns_two_fields_names_one_of_them_as_every_problem_does(self, api):
        assert (await api.post("reply", {})).json()["extra"] == [
            {"field": "text", "problem": 'give either text or action, e.g. {"text": "..."}'}
        ]

    @pytest.mark.parametrize("raw", [b"{", b"\xff", b"[" * 10_000, b"7"])
    @pytest.mark.parametrize("what", ["reply", "takeover", "release", "resolve"])
    async def test_what_is_no_json_object_is_refused(self, api, what, raw):
        response = await api.post(what, raw=raw)
        assert (response.status_code, "JSON" in response.json()["detail"]) == (400, True)

    @pytest.mark.parametrize(
        "raw",
        [
            b'{"text": "\\ud800"}',
            b'{"action": {"kind": "heart", "\\udfff": 1}}',
            b'{"action": {"kind": "cards", "cards": [{"title": "\\ud83d"}]}}',
        ],
    )
    async def test_half_a_character_is_refused_wherever_it_stands(self, api, world, raw):
        response = await api.post("reply", raw=raw)
        assert (response.status_code, "half a character" in response.json()["detail"]) == (400, True)
        assert world.ledger.rows == {}

    @pytest.mark.parametrize("body", [{"until": "tomorrow"}, {"reason": "x" * 201}, {"accountId": 7}])
    async def test_a_wrong_takeover_names_the_field(self, api, world, body):
        response = await api.post("takeover", body)
        assert (response.status_code, next(iter(body)) in response.json()["detail"]) == (400, True)
        assert world.published == []

    async def test_what_was_said_is_not_repeated_in_an_error(self, api):
        response = await api.post("reply", {"text": "a private matter", "accountId": "x"})
        assert "a private matter" not in response.text

    @pytest.mark.parametrize("what", ["reply", "takeover", "release", "resolve"])
    async def test_the_account_itself_is_no_customer(self, api, world, what):
        response = await api.post(what, {"text": "x"} if what == "reply" else None, contact=ACCOUNT)
        assert response.status_code == 400
        assert response.json()["detail"].startswith(f"contactId: {ACCOUNT} is the merchant's own account")
        assert world.published == []

    @pytest.mark.parametrize("contact", ["ali", "1" * 33, "1%3A2", "-"])
    async def test_a_contact_is_named_by_digits(self, api, contact):
        for response in (await api.post("takeover", contact=contact), await api.get(contact)):
            assert response.status_code == 400
            assert response.json()["detail"].startswith("contactId: ")

    async def test_an_unknown_merchant_or_account_is_not_found(self, api, world):
        world.directory.merchants.append(world.merchant(id="other", account_id="5"))
        assert (await api.post("takeover", merchant="nobody")).status_code == 404
        response = await api.post("takeover", {"accountId": "5"})
        assert response.status_code == 404
        assert response.json()["detail"].startswith("accountId: ")
        assert world.published == []

    @pytest.mark.parametrize(
        ("what", "scope"),
        [
            ("takeover", "conversations:control"),
            ("release", "conversations:control"),
            ("resolve", "conversations:control"),
            ("reply", "conversations:reply"),
        ],
    )
    async def test_each_thing_needs_its_own_scope(self, api, world, what, scope):
        others = [one for one in SCOPES if one != scope]
        response = await api.post(what, {"text": "x"} if what == "reply" else None, token=api.token(*others))
        assert (response.status_code, scope in response.json()["detail"]) == (403, True)
        assert (await api.get(token=api.token(scope))).status_code == 403
        assert world.published == []
        allowed = await api.post(what, {"text": "x"} if what == "reply" else None, token=api.token(scope))
        assert allowed.status_code == 202

    async def test_a_token_of_another_merchant_none_and_jawabs_name_are_refused(self, api, world):
        assert (await api.post("takeover", token=api.token(merchant="other"))).status_code == 403
        assert (await api.client.post(f"/api/conversations/shop/{CONTACT}/takeover")).status_code == 401
        assert (await api.post("takeover", token=api.token(subject="jawab"))).status_code == 403
        assert world.published == []

    async def test_without_mongodb_it_says_so(self, api, world):
        async def away(_):
            raise ServerSelectionTimeoutError("x")

        world.directory.by_id = away
        assert (await api.get()).status_code == 503
        assert (await api.post("reply", {"text": "x"})).status_code == 503


@pytest.mark.parametrize("what", ["takeover", "release", "resolve", "reply"])
async def test_a_body_that_would_be_read_for_seconds_is_not_read(api, what):
    """A hundred thousand quick replies held the whole process up for 1.5 seconds."""
    body = {
        "action": {"kind": "direct_message", "text": "x", "quick_replies": [{"title": "a", "payload": "b"}] * 10**5}
    }
    assert (await api.post(what, body)).status_code == 413
