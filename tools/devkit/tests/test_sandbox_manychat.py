"""The sandbox's ManyChat accepts, refuses and remembers as the public API description says."""

import httpx2
import pytest

from devkit.sandbox import SandboxSettings, create_sandbox
from devkit.sandbox.world import subscriber_of
from devkit.simulator import Simulator

ACCOUNT = "17841405309211844"
PERSON = "118354031656615"
SUBSCRIBER = subscriber_of(PERSON)
NOW = 1_760_000_000.0


@pytest.fixture
async def http():
    app = create_sandbox(SandboxSettings(seed="t"), now=lambda: NOW)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        client.headers["Authorization"] = "Bearer 101405309211844:s3cret"
        yield client


BUTTON = {"type": "url", "caption": "Shop", "url": "https://example.com"}


def content(*messages, type_="instagram", **more):
    body = {"version": "v2", "content": {"messages": list(messages), **more}}
    if type_:
        body["content"]["type"] = type_
    return body


async def send(http, data=None, subscriber=SUBSCRIBER, **more):
    data = data or content({"type": "text", "text": "تدلل"})
    body = {"subscriber_id": subscriber, "data": data, **more}
    return await http.post("/manychat/fb/sending/sendContent", json=body)


async def last_call(http):
    return (await http.get("/sandbox/journal")).json()["entries"][-1]


async def test_a_person_is_found_by_their_instagram_id_and_written_to(http):
    query = {"field_id": 11111, "field_value": PERSON}
    found = (await http.get("/manychat/fb/subscriber/findByCustomField", params=query)).json()
    (subscriber,) = found["data"]
    assert subscriber["id"] == str(SUBSCRIBER)
    assert subscriber["ig_id"] == int(PERSON)
    assert {field["value"] for field in subscriber["custom_fields"]} == {PERSON}
    response = await send(http, subscriber=int(subscriber["id"]))
    assert (response.status_code, response.json()) == (200, {"status": "success"})
    call = await last_call(http)
    assert (call["kind"], call["contact"], call["text"], call["effect"]) == ("sendContent", PERSON, "تدلل", True)


async def test_who_is_declared_no_subscriber_is_not_found_and_not_written_to(http):
    await http.post("/sandbox/people", json={"contact": PERSON, "subscriber": False})
    query = {"field_id": 11111, "field_value": PERSON}
    found = await http.get("/manychat/fb/subscriber/findByCustomField", params=query)
    assert found.json() == {"status": "success", "data": []}
    assert (await send(http)).status_code == 400


@pytest.mark.parametrize("key", ["", "Bearer nonsense", "Basic 1:2"])
async def test_a_key_without_its_page_is_refused(http, key):
    assert (await http.get("/manychat/fb/page/getInfo", headers={"Authorization": key})).status_code == 401


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"subscriber_id": str(SUBSCRIBER)}, "subscriber_id"),
        ({"subscriber_id": True}, "subscriber_id"),
        ({"subscriber_id": -1}, "subscriber_id"),
        ({"data": None}, "data"),
        ({"data": {"version": "v1", "content": {}}}, "version"),
        ({"data": content()}, "messages"),
        ({"data": content(*[{"type": "text", "text": "x"}] * 11)}, "messages"),
        ({"data": content({"type": "video", "url": "u"})}, "type"),
        ({"data": content({"type": "text", "text": "x", "buttons": [{"type": "node", "caption": "a"}]})}, "buttons"),
        ({"data": content({"type": "text", "text": "x", "buttons": [BUTTON] * 4})}, "buttons"),
        ({"data": content({"type": "text", "text": "x", "buttons": [{**BUTTON, "caption": "x" * 21}]})}, "caption"),
        ({"data": content({"type": "text", "text": "x", "buttons": [{**BUTTON, "url": ""}]})}, "url"),
        ({"data": content({"type": "cards", "elements": []})}, "elements"),
        ({"data": content({"type": "cards", "elements": [{"subtitle": "x"}]})}, "title"),
        ({"data": content({"type": "text", "text": "x"}, quick_replies=[{"type": "node", "caption": "a"}])}, "type"),
        ({"data": content({"type": "text", "text": "x"}, quick_replies=[{"type": "flow", "caption": "a"}])}, "target"),
        ({"data": content({"type": "text", "text": ""})}, "text"),
        ({"data": content({"type": "text", "text": "x" * 2001})}, "text"),
        ({"data": content({"type": "image"})}, "url"),
        ({"data": content({"type": "text", "text": "x"}, quick_replies=[{}] * 12)}, "quick_replies"),
        ({"message_tag": "SALE"}, "message_tag"),
    ],
)
async def test_wrong_requests_get_a_validation_error_naming_the_field(http, body, word):
    full = {"subscriber_id": SUBSCRIBER, "data": content({"type": "text", "text": "x"}), **body}
    response = await http.post("/manychat/fb/sending/sendContent", json=full)
    assert response.status_code == 400
    error = response.json()
    assert (error["status"], error["message"]) == ("error", "Validation error")
    assert word in error["details"]["messages"][0]["message"]
    assert "code" not in error
    assert not (await last_call(http))["effect"]


async def test_content_without_its_type_goes_to_messenger_and_not_to_instagram(http):
    response = await send(http, content({"type": "text", "text": "x"}, type_=""))
    assert response.json()["status"] == "success"
    call = await last_call(http)
    assert (call["effect"], call["detail"]["sent_as"]) == (False, "messenger")


@pytest.mark.parametrize(
    ("seconds", "tag", "code"),
    [
        (86_399, None, None),
        (86_400, None, 3011),
        (86_400, "HUMAN_AGENT", None),
        (86_400, "ACCOUNT_UPDATE", 3041),
        (604_800, "HUMAN_AGENT", 3041),
    ],
)
async def test_outside_24_hours_a_tag_is_needed_and_only_a_persons_tag_passes(http, seconds, tag, code):
    await http.post("/sandbox/people", json={"contact": PERSON, "last_message_seconds_ago": seconds})
    response = await send(http, **({"message_tag": tag} if tag else {}))
    assert response.json().get("code") == code
    assert response.status_code == (200 if code is None else 400)


async def test_a_text_above_instagrams_limit_fails_in_the_channel(http):
    response = await send(http, content({"type": "text", "text": "ه" * 501}))
    assert response.json()["code"] == 3041


async def test_a_text_of_several_messages_reaches_the_person_in_order(http):
    await send(http, content({"type": "text", "text": "١"}, {"type": "text", "text": "٢"}))
    told = (await http.get(f"/sandbox/conversations?contact={PERSON}")).json()
    assert [line["text"] for line in told["conversations"][0]["lines"]] == ["١", "٢"]


async def test_a_flow_is_sent_by_its_name(http):
    body = {"subscriber_id": SUBSCRIBER, "flow_ns": "content20260101000000_000001"}
    assert (await http.post("/manychat/fb/sending/sendFlow", json=body)).json() == {"status": "success"}
    assert (await http.post("/manychat/fb/sending/sendFlow", json={"subscriber_id": SUBSCRIBER})).status_code == 400


async def test_fields_and_tags_are_kept_and_shown(http):
    at = "/manychat/fb/subscriber"
    body = {"subscriber_id": SUBSCRIBER, "field_id": 77, "field_value": "vip"}
    assert (await http.post(f"{at}/setCustomField", json=body)).json() == {"status": "success"}
    await http.post(f"{at}/addTagByName", json={"subscriber_id": SUBSCRIBER, "tag_name": "lead"})
    info = (await http.get(f"{at}/getInfo", params={"subscriber_id": SUBSCRIBER})).json()["data"]
    assert {"id": 77, "name": "77", "type": "text", "value": "vip"} in info["custom_fields"]
    assert [tag["name"] for tag in info["tags"]] == ["lead"]
    found = await http.get(f"{at}/findByCustomField", params={"field_id": 77, "field_value": "vip"})
    assert [s["id"] for s in found.json()["data"]] == [str(SUBSCRIBER)]
    await http.post(f"{at}/removeTagByName", json={"subscriber_id": SUBSCRIBER, "tag_name": "lead"})
    assert (await http.get(f"{at}/getInfo", params={"subscriber_id": SUBSCRIBER})).json()["data"]["tags"] == []


async def test_who_is_not_linked_is_found_once_the_field_is_written(http):
    await http.post("/sandbox/people", json={"contact": PERSON, "linked": False})
    query = {"field_id": 11111, "field_value": PERSON}
    find = "/manychat/fb/subscriber/findByCustomField"
    assert (await http.get(find, params=query)).json()["data"] == []
    field = {"subscriber_id": SUBSCRIBER, "field_id": 11111, "field_value": PERSON}
    assert (await http.post("/manychat/fb/subscriber/setCustomField", json=field)).status_code == 200
    assert [one["id"] for one in (await http.get(find, params=query)).json()["data"]] == [str(SUBSCRIBER)]


async def test_a_field_without_a_value_is_unset(http):
    for value in ("red", None):
        field = {"subscriber_id": SUBSCRIBER, "field_name": "colour", "field_value": value}
        await http.post("/manychat/fb/subscriber/setCustomFieldByName", json=field)
    told = (await http.get("/manychat/fb/subscriber/getInfo", params={"subscriber_id": SUBSCRIBER})).json()["data"]
    assert "colour" not in [field["name"] for field in told["custom_fields"]]


async def test_people_are_found_by_name_and_by_phone(http):
    person = {"contact": PERSON, "name": "Zainab Kadhim", "phone": "+9647701234567"}
    await http.post("/sandbox/people", json=person)
    at = "/manychat/fb/subscriber"
    by_name = await http.get(f"{at}/findByName", params={"name": "Zainab Kadhim"})
    assert [s["id"] for s in by_name.json()["data"]] == [str(SUBSCRIBER)]
    by_phone = await http.get(f"{at}/findBySystemField", params={"phone": "+9647701234567"})
    assert by_phone.json()["data"]["id"] == str(SUBSCRIBER)


async def test_a_page_speaks_for_the_account_it_is_registered_for(http):
    other = "17841499999999999"
    await http.post("/sandbox/accounts", json={"account": other, "page_id": "555"})
    http.headers["Authorization"] = "Bearer 555:key"
    await send(http)
    assert (await last_call(http))["account"] == other


async def test_a_person_who_wrote_to_an_account_is_answered_from_it(http):
    other = "17841499999999999"
    update = Simulator(account=other, now=lambda: NOW).text(PERSON, "hi")
    await http.post("/sandbox/webhooks?deliver=false", json=update.body())
    await send(http)
    assert (await last_call(http))["account"] == other


async def test_an_unknown_method_is_not_found(http):
    assert (await http.post("/manychat/fb/sending/sendDreams", json={})).status_code == 404


async def test_enforced_rates_answer_429_above_25_a_second(http):
    await http.patch("/sandbox/behaviour", json={"enforce_rates": True})
    assert [(await send(http)).status_code for _ in range(26)] == [200] * 25 + [429]


async def test_the_journal_names_every_message_of_one_call(http):
    messages = [{"type": "text", "text": "١"}, {"type": "text", "text": "٢"}]
    data = {"version": "v2", "content": {"type": "instagram", "messages": messages}}
    body = {"subscriber_id": subscriber_of(PERSON), "data": data}
    assert (await http.post("/manychat/fb/sending/sendContent", json=body)).status_code == 200
    call = (await http.get("/sandbox/journal")).json()["entries"][-1]
    first, second = call["detail"]["message_ids"]
    assert call["message_id"] == first != second
