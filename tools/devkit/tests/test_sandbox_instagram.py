"""The sandbox's Graph API accepts, refuses and remembers as Instagram is known to."""

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devkit.ids import Ids
from devkit.sandbox import SandboxSettings, create_sandbox
from devkit.sandbox.calls import Request
from devkit.sandbox.instagram import GraphRoom
from devkit.sandbox.rates import Rates
from devkit.sandbox.world import Account, World
from devkit.simulator import Simulator

ACCOUNT = "17841405309211844"
PERSON = "118354031656615"
TOKEN = {"Authorization": "Bearer IGAAtest"}


IMAGE = {"type": "image", "payload": {"url": "https://example.com/a.png"}}
CHOICE = {"content_type": "text", "title": "نعم", "payload": "Y"}
BUTTON = {"type": "web_url", "title": "Shop", "url": "https://example.com"}
CARD = {"title": "Lamp", "subtitle": "Red", "image_url": "https://example.com/a.png", "buttons": [BUTTON]}


def template(kind, **more):
    return {"attachment": {"type": "template", "payload": {"template_type": kind, **more}}}


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self):
        self.seconds = 1_760_000_000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def http(clock):
    app = create_sandbox(SandboxSettings(seed="t"), now=clock)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        client.headers.update(TOKEN)
        yield client


async def send(http, text="أهلاً", person=PERSON, **more):
    body = {"recipient": {"id": person}, "message": {"text": text}, **more}
    return await http.post(f"/graph/v25.0/{ACCOUNT}/messages", json=body)


async def learn(http, *updates):
    for update in updates:
        response = await http.post("/sandbox/webhooks?deliver=false", json=update.body())
        assert response.json()["learnt"] == 1


def code_of(response):
    error = response.json()["error"]
    assert error["fbtrace_id"].startswith("A")
    return response.status_code, error["code"], error.get("error_subcode")


async def last_call(http):
    return (await http.get("/sandbox/journal")).json()["entries"][-1]


async def test_a_sent_text_gets_a_message_id_and_is_on_record(http):
    response = await send(http, "هلا بيك")
    assert response.status_code == 200
    assert set(response.json()) == {"recipient_id", "message_id"}
    assert response.json()["recipient_id"] == PERSON
    assert "call_count" in response.headers["x-app-usage"]
    call = await last_call(http)
    assert (call["kind"], call["account"], call["contact"], call["text"]) == ("message", ACCOUNT, PERSON, "هلا بيك")
    assert call["effect"]
    assert call["message_id"] == response.json()["message_id"]


@pytest.mark.parametrize("prefix", ["/graph", "/graph/v25.0", "/graph/v1"])
async def test_any_version_and_none_is_accepted(http, prefix):
    body = {"recipient": {"id": PERSON}, "message": {"text": "hi"}}
    assert (await http.post(f"{prefix}/me/messages", json=body)).status_code == 200


async def test_a_call_without_a_token_is_refused_with_190(http):
    body = {"recipient": {"id": PERSON}, "message": {"text": "hi"}}
    response = await http.post(f"/graph/{ACCOUNT}/messages", json=body, headers={"Authorization": ""})
    assert code_of(response)[1] == 190


async def test_an_account_with_registered_tokens_answers_to_no_other(http):
    await http.post("/sandbox/accounts", json={"account": ACCOUNT, "tokens": ["only-this"]})
    assert code_of(await send(http))[1] == 190
    http.headers["Authorization"] = "Bearer only-this"
    assert (await send(http)).status_code == 200


@given(st.text(min_size=1, max_size=600))
def test_the_limit_is_one_thousand_bytes_not_characters(text):
    world = World(account=Account(ACCOUNT, "a"), ids=Ids("t"))
    room = GraphRoom(world, Rates(enforce=False))
    body = {"recipient": {"id": PERSON}, "message": {"text": text}}
    request = Request("POST", "/me/messages", {}, {"authorization": "Bearer t"}, body)
    answer = room.perform(room.describe(request))
    assert (answer.status == 200) == (len(text.encode()) <= 1000) == answer.effect


@pytest.mark.parametrize(("text", "status"), [("a" * 1000, 200), ("a" * 1001, 400), ("ه" * 500, 200), ("ه" * 501, 400)])
async def test_a_text_one_byte_too_long_is_refused(http, text, status):
    assert (await send(http, text)).status_code == status


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"recipient": {"id": PERSON}},
        {"recipient": PERSON, "message": {"text": "hi"}},
        {"recipient": {"id": PERSON}, "message": {}},
        {"recipient": {"id": PERSON}, "message": {"text": ""}},
        {"recipient": {"id": PERSON}, "message": {"attachment": {"type": "gif", "payload": {"url": "u"}}}},
        {"recipient": {"id": PERSON}, "message": {"attachment": {"type": "image"}}},
        {"recipient": {"id": PERSON}, "message": {"attachments": "image"}},
        {"recipient": {"id": PERSON}, "message": {"text": "x", "quick_replies": [{"title": "x" * 21}]}},
        {"recipient": {"id": PERSON}, "message": {"text": "x", "attachment": {"type": "like_heart"}}},
        {"recipient": {"id": PERSON}, "message": {"attachments": [{"type": "like_heart"}] * 2}},
        {"recipient": {"id": PERSON}, "message": {"attachments": [IMAGE] * 11}},
        {"recipient": {"id": PERSON}, "message": {"attachment": {"type": "MEDIA_SHARE", "payload": {"id": "Cx"}}}},
        {"recipient": {"id": PERSON}, "message": {"text": "x", "quick_replies": [{**CHOICE, "payload": ""}]}},
        {"recipient": {"id": PERSON}, "message": {"text": "x", "quick_replies": [{**CHOICE, "content_type": "x"}]}},
        {"recipient": {"id": PERSON}, "message": {"text": "x", "quick_replies": [CHOICE] * 14}},
        {"recipient": {"id": PERSON}, "message": template("carousel")},
        {"recipient": {"id": PERSON}, "message": template("generic", elements=[])},
        {"recipient": {"id": PERSON}, "message": template("generic", elements=[CARD] * 11)},
        {"recipient": {"id": PERSON}, "message": template("generic", elements=[{"title": "bare"}])},
        {"recipient": {"id": PERSON}, "message": template("generic", elements=[{**CARD, "title": "x" * 81}])},
        {"recipient": {"id": PERSON}, "message": template("generic", elements=[{**CARD, "buttons": [BUTTON] * 4}])},
        {"recipient": {"id": PERSON}, "message": template("generic", elements=[{**CARD, "default_action": BUTTON}])},
        {"recipient": {"id": PERSON}, "message": template("button", text="x", buttons=[])},
        {"recipient": {"id": PERSON}, "message": template("button", text="x" * 641, buttons=[BUTTON])},
        {"recipient": {"id": PERSON}, "message": template("button", text="x", buttons=[{**BUTTON, "type": "flow"}])},
        {"recipient": {"id": PERSON}, "message": template("button", text="x", buttons=[{**BUTTON, "url": "x"}])},
        {"recipient": {"id": PERSON}, "sender_action": "react", "payload": {"message_id": "m"}},
        {"recipient": {"id": PERSON}, "sender_action": "dance"},
        {"recipient": {"id": PERSON}, "sender_action": "react"},
        {"recipient": {"id": PERSON}, "message": {"text": "x"}, "tag": "ACCOUNT_UPDATE"},
    ],
)
async def test_malformed_sends_are_refused_with_code_100_and_without_effect(http, body):
    assert code_of(await http.post(f"/graph/{ACCOUNT}/messages", json=body))[1] == 100
    assert not (await last_call(http))["effect"]


@pytest.mark.parametrize(
    "message",
    [
        {"attachment": {"type": "image", "payload": {"url": "https://example.com/a.png"}}},
        {"attachments": [{"type": "image", "payload": {"url": "https://example.com/a.png"}}] * 10},
        {"attachment": {"type": "like_heart"}},
        {"attachment": {"type": "MEDIA_SHARE", "payload": {"id": "17900"}}},
        template("generic", elements=[{**CARD, "default_action": {"type": "web_url", "url": "https://example.com"}}]),
        template("button", text="?", buttons=[BUTTON, {"type": "postback", "title": "Yes", "payload": "y"}]),
        {"text": "?", "quick_replies": [{"content_type": "text", "title": "نعم", "payload": "Y"}]},
    ],
)
async def test_other_content_is_accepted(http, message):
    body = {"recipient": {"id": PERSON}, "message": message}
    assert (await http.post(f"/graph/{ACCOUNT}/messages", json=body)).status_code == 200


@pytest.mark.parametrize(
    ("message", "shown", "read"),
    [
        ({"attachment": IMAGE}, ["image"], "image_data"),
        ({"attachments": [IMAGE] * 3}, ["image"] * 3, "image_data"),
        ({"attachment": {"type": "like_heart"}}, ["like_heart"], None),
        ({"attachment": {"type": "MEDIA_SHARE", "payload": {"id": "17900"}}}, ["ig_post"], None),
        (template("button", text="?", buttons=[BUTTON]), ["template"], "generic_template"),
    ],
)
async def test_what_has_no_words_comes_back_and_is_read_back_with_its_attachments(http, message, shown, read):
    room = GraphRoom(World(account=Account(ACCOUNT, "a"), ids=Ids("t")), Rates(enforce=False))
    body = {"recipient": {"id": PERSON}, "message": message}
    answer = room.perform(room.describe(Request("POST", "/me/messages", {}, {"authorization": "Bearer t"}, body)))
    echo = answer.updates[0].body()["entry"][0]["messaging"][0]["message"]
    assert (echo.get("text"), [one["type"] for one in echo["attachments"]]) == (None, shown)
    await http.post(f"/graph/{ACCOUNT}/messages", json=body)
    query = {"platform": "instagram", "user_id": PERSON, "fields": "messages.limit(20){id,message,attachments,shares}"}
    threads = (await http.get(f"/graph/{ACCOUNT}/conversations", params=query)).json()["data"]
    told = threads[0]["messages"]["data"][0]
    assert told["message"] == ""
    assert [read in one for one in told.get("attachments", {}).get("data", [])] == [True] * (len(shown) if read else 0)
    assert ("shares" in told) == (shown == ["ig_post"])


async def test_a_reaction_is_noted_and_not_echoed(http):
    body = {"recipient": {"id": PERSON}, "sender_action": "react", "payload": {"message_id": "m", "reaction": "love"}}
    assert (await http.post(f"/graph/{ACCOUNT}/messages", json=body)).status_code == 200
    call = await last_call(http)
    assert (call["kind"], call["effect"]) == ("sender_action", True)
    assert call["detail"] == {"action": "react", "message_id": "m", "reaction": "love"}


async def test_a_mention_is_answered_under_the_media_or_the_comment(http):
    asked = {"media_id": "17", "comment_id": "18", "message": "شكراً"}
    response = await http.post(f"/graph/{ACCOUNT}/mentions", json=asked)
    call = await last_call(http)
    assert (response.status_code, call["kind"], call["effect"]) == (200, "mention_reply", True)
    assert (call["message_id"], call["text"]) == (response.json()["id"], "شكراً")
    assert call["detail"] == {"media": "17", "comment": "18"}
    assert (await http.post(f"/graph/{ACCOUNT}/mentions", json={"media_id": "17", "message": "x"})).status_code == 200


@pytest.mark.parametrize("missing", ["media_id", "message"])
async def test_a_mention_without_media_or_words_is_refused(http, missing):
    asked = {name: value for name, value in (("media_id", "17"), ("message", "x")) if name != missing}
    assert code_of(await http.post(f"/graph/{ACCOUNT}/mentions", json=asked))[1] == 100


async def test_a_form_body_is_taken_as_well_as_json(http):
    form = {"recipient": f'{{"id":"{PERSON}"}}', "message": '{"text":"hi"}'}
    assert (await http.post(f"/graph/{ACCOUNT}/messages", data=form)).status_code == 200


async def test_typing_is_noted_but_is_no_message(http):
    body = {"recipient": {"id": PERSON}, "sender_action": "typing_on"}
    response = await http.post(f"/graph/{ACCOUNT}/messages", json=body)
    assert response.json() == {"recipient_id": PERSON}
    assert (await last_call(http))["kind"] == "sender_action"


@pytest.mark.parametrize(
    ("hours", "tag", "sent"),
    [(23.99, None, True), (24, None, False), (24, "HUMAN_AGENT", True), (168, "HUMAN_AGENT", False)],
)
async def test_the_window_closes_after_24_hours_and_for_people_after_seven_days(http, clock, hours, tag, sent):
    await learn(http, Simulator(now=clock).text(PERSON, "هلو"))
    clock.seconds += hours * 3600
    more = {"messaging_type": "MESSAGE_TAG", "tag": tag} if tag else {}
    response = await send(http, **more)
    if sent:
        assert response.status_code == 200
    else:
        assert code_of(response) == (403, 10, 2534022)


async def test_who_only_commented_can_be_answered_privately_but_not_written_to(http, clock):
    comment = Simulator(now=clock).comment(PERSON, "السعر؟")
    await learn(http, comment)
    assert code_of(await send(http)) == (403, 10, 2534022)
    body = {"recipient": {"comment_id": comment.id}, "message": {"text": "كتبنا لك"}}
    response = await http.post(f"/graph/{ACCOUNT}/messages", json=body)
    assert response.json()["recipient_id"] == PERSON
    call = await last_call(http)
    assert (call["kind"], call["contact"], call["detail"]) == ("private_reply", PERSON, {"comment": comment.id})


async def test_a_comment_can_be_answered_privately_once_and_within_seven_days(http, clock):
    simulator = Simulator(now=clock)
    first, second = simulator.comment(PERSON, "السعر؟"), simulator.comment(PERSON, "؟")
    await learn(http, first, second)

    async def reply(comment):
        body = {"recipient": {"comment_id": comment.id}, "message": {"text": "خاص"}}
        return await http.post(f"/graph/{ACCOUNT}/messages", json=body)

    assert (await reply(first)).status_code == 200
    assert code_of(await reply(first)) == (400, 100, 2534025)
    clock.seconds += 7 * 24 * 3600 + 1
    assert code_of(await reply(second)) == (400, 100, 2534025)


async def test_a_public_reply_attaches_to_the_top_comment_and_can_be_read_back(http, clock):
    simulator = Simulator(now=clock)
    top = simulator.comment(PERSON, "السعر؟")
    below = simulator.comment(PERSON, "؟؟", parent=top.id)
    await learn(http, top, below)
    reply = await http.post(f"/graph/v25.0/{below.id}/replies", json={"message": "كتبنا لك بالخاص"})
    read = await http.get(f"/graph/v25.0/{top.id}/replies?fields=id,text,from,parent_id")
    assert read.json()["data"] == [
        {
            "id": reply.json()["id"],
            "text": "كتبنا لك بالخاص",
            "from": {"id": f"8{ACCOUNT[1:]}", "username": "dar.zaytoon"},
            "parent_id": top.id,
        }
    ]


async def test_hidden_and_live_comments_are_not_answered_in_public(http, clock):
    simulator = Simulator(now=clock)
    live, hidden = simulator.live_comment(PERSON, "؟"), simulator.comment(PERSON, "سيئ")
    await learn(http, live, hidden)
    assert (await http.post(f"/graph/{hidden.id}?hide=true")).json() == {"success": True}
    for comment in (live, hidden):
        response = await http.post(f"/graph/{comment.id}/replies", json={"message": "?"})
        assert code_of(response)[1] == 100
    assert (await http.post(f"/graph/{hidden.id}", json={"hide": False})).json() == {"success": True}
    assert (await http.post(f"/graph/{hidden.id}/replies", json={"message": "?"})).status_code == 200


async def test_a_deleted_comment_is_gone(http, clock):
    comment = Simulator(now=clock).comment(PERSON, "؟")
    await learn(http, comment)
    assert (await http.delete(f"/graph/{comment.id}")).json() == {"success": True}
    assert code_of(await http.get(f"/graph/{comment.id}")) == (400, 100, 33)
    assert code_of(await http.delete(f"/graph/{comment.id}")) == (400, 100, 33)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"unavailable": True}, (400, 551, 1545041)),
        ({"missing": True}, (400, 100, 2534014)),
        ({"owned_by_other_app": True}, (400, 10, 2018300)),
        ({"last_message_seconds_ago": 90_000}, (403, 10, 2534022)),
    ],
)
async def test_people_declared_out_of_reach_are(http, what, expected):
    await http.post("/sandbox/people", json={"contact": PERSON, **what})
    assert code_of(await send(http)) == expected


async def test_a_profile_gives_the_asked_fields_and_knows_no_others(http):
    await http.post("/sandbox/people", json={"contact": PERSON, "name": "زينب كاظم"})
    profile = await http.get(f"/graph/v25.0/{PERSON}?fields=name,follower_count")
    assert set(profile.json()) == {"id", "name", "follower_count"}
    assert profile.json()["name"] == "زينب كاظم"
    assert code_of(await http.get(f"/graph/{PERSON}?fields=profile_picture_url"))[1] == 100


@pytest.mark.parametrize(("code", "status"), [(230, 403), (9010, 401)])
async def test_a_profile_may_be_refused(http, code, status):
    await http.post("/sandbox/people", json={"contact": PERSON, "profile_error": code})
    assert code_of(await http.get(f"/graph/{PERSON}?fields=name"))[:2] == (status, code)


async def test_a_conversation_can_be_read_back_newest_first(http, clock):
    received = Simulator(now=clock).text(PERSON, "شكد السعر؟")
    await learn(http, received)
    clock.seconds += 5
    sent = (await send(http, "تدلل")).json()["message_id"]
    listed = await http.get(f"/graph/{ACCOUNT}/conversations?platform=instagram&user_id={PERSON}")
    (conversation,) = listed.json()["data"]
    read = await http.get(f"/graph/{conversation['id']}?fields=messages{{id,created_time,from,to,message}}")
    messages = read.json()["messages"]["data"]
    assert [(m["id"], m["message"], m["from"]["id"], m["to"]["data"][0]["id"]) for m in messages] == [
        (sent, "تدلل", ACCOUNT, PERSON),
        (received.id, "شكد السعر؟", PERSON, ACCOUNT),
    ]
    assert messages[0]["created_time"] == "2025-10-09T08:53:25+0000"
    one = await http.get(f"/graph/{sent}?fields=id,message")
    assert one.json() == {"id": sent, "message": "تدلل"}
    nested = await http.get(f"/graph/{ACCOUNT}/conversations?user_id={PERSON}&fields=id,messages{{message}}")
    assert [m["message"] for m in nested.json()["data"][0]["messages"]["data"]] == ["تدلل", "شكد السعر؟"]


async def test_subscriptions_can_be_read_made_and_lost(http):
    path = f"/graph/v25.0/{ACCOUNT}/subscribed_apps"
    assert "messages" in (await http.get(path)).json()["data"][0]["subscribed_fields"]
    assert (await http.delete(path)).json() == {"success": True}
    assert (await http.get(path)).json() == {"data": []}
    made = await http.post(path, params={"subscribed_fields": "messages,comments"})
    assert made.json() == {"success": True}
    assert (await http.get(path)).json()["data"][0]["subscribed_fields"] == ["messages", "comments"]
    assert code_of(await http.post(path, params={"subscribed_fields": "telepathy"}))[1] == 100


async def test_a_refreshed_token_lasts_sixty_days_and_works_beside_the_old_one(http):
    await http.post("/sandbox/accounts", json={"account": ACCOUNT, "tokens": ["old"]})
    refresh = "/graph/refresh_access_token?grant_type=ig_refresh_token&access_token=old"
    fresh = (await http.get(refresh, headers={"Authorization": ""})).json()
    assert fresh["expires_in"] == 60 * 24 * 3600
    for token in ("old", fresh["access_token"]):
        http.headers["Authorization"] = f"Bearer {token}"
        assert (await send(http)).status_code == 200


async def test_me_is_the_account_of_the_token(http):
    await http.post("/sandbox/accounts", json={"account": "17841499999999999", "username": "b", "tokens": ["tb"]})
    me = await http.get("/graph/me?fields=user_id,username", headers={"Authorization": "Bearer tb"})
    assert (me.json()["user_id"], me.json()["username"]) == ("17841499999999999", "b")


async def test_an_unknown_path_is_refused_as_unknown(http):
    assert code_of(await http.get(f"/graph/{ACCOUNT}/insights/day"))[1] == 2500


async def test_enforced_rates_refuse_the_send_above_a_hundred_a_second(http):
    await http.patch("/sandbox/behaviour", json={"enforce_rates": True})
    statuses = [(await send(http)).status_code for _ in range(101)]
    assert statuses == [200] * 100 + [400]
