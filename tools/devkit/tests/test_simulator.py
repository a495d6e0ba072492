"""The simulator builds the shapes, ids and units of the platform, the same ones for the same seed."""

import json

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devkit.attachments import ATTACHMENT_KINDS
from devkit.ids import DEFAULT_ACCOUNT_ID, Ids, username_of
from devkit.one_of_each import one_of_each
from devkit.signing import sign
from devkit.simulator import Simulator
from devkit.updates import body_of, dashboard_test
from devkit.webhook_sender import WebhookSender

NOW = 1_760_000_000.25


def make_simulator(seed=1, account=DEFAULT_ACCOUNT_ID):
    return Simulator(seed=seed, account=account, now=lambda: NOW)


@given(st.integers() | st.text())
def test_ids_have_the_platforms_look_and_repeat_for_the_same_seed(seed):
    ids, again = Ids(seed), Ids(seed)
    account, contact, comment, media, mid = (
        ids.account(),
        ids.contact(),
        ids.comment(),
        ids.media(),
        ids.message(),
    )
    assert [again.account(), again.contact(), again.comment(), again.media(), again.message()] == [
        account,
        contact,
        comment,
        media,
        mid,
    ]
    assert len(account) == len(comment) == len(media) == 17
    assert int(account) > 2**53
    assert contact.isdigit()
    assert 15 <= len(contact) <= 17
    assert contact[0] != "0"
    assert mid.startswith("aWdfZAG1f")
    assert "=" not in mid
    assert 140 <= len(mid) <= 180


def test_ids_never_repeat_within_a_seed():
    ids = Ids(0)
    made = [make() for _ in range(500) for make in (ids.contact, ids.comment, ids.message)]
    assert len(set(made)) == len(made)


def test_two_runs_with_one_seed_build_the_same_bodies():
    first, second = ([u.body() for u in one_of_each(make_simulator(), "123456789012345")] for _ in range(2))
    assert first == second


def test_every_kind_is_json_and_names_its_account():
    for update in one_of_each(make_simulator(), "123456789012345"):
        body = json.loads(json.dumps(update.body()))
        assert body["object"] == "instagram"
        assert [entry["id"] for entry in body["entry"]] == [DEFAULT_ACCOUNT_ID]


def test_times_are_milliseconds_on_messaging_and_seconds_on_changes():
    simulator = make_simulator()
    message = simulator.text("123456789012345", "hi").body()["entry"][0]
    assert message["messaging"][0]["timestamp"] == 1_760_000_000_250
    assert message["time"] >= message["messaging"][0]["timestamp"]
    assert simulator.comment("123456789012345", "hi").body()["entry"][0]["time"] == 1_760_000_000


@pytest.mark.parametrize("kind", ATTACHMENT_KINDS)
def test_each_attachment_kind_is_carried_under_its_own_name(kind):
    message = make_simulator().attachment("123456789012345", kind).item["message"]
    (attachment,) = message["attachments"]
    assert attachment["type"] == kind
    assert ("payload" in attachment) == (kind not in {"like_heart", "ephemeral"})
    if kind == "ig_story":
        assert "url" not in attachment["payload"]
        assert attachment["payload"]["story_media_url"].startswith("https://")


def test_an_echo_goes_from_the_account_to_the_person():
    item = make_simulator().echo("123456789012345", "أهلاً", mid="m7").item
    assert (item["sender"]["id"], item["recipient"]["id"]) == (DEFAULT_ACCOUNT_ID, "123456789012345")
    assert item["message"] == {"mid": "m7", "is_echo": True, "text": "أهلاً"}


def test_a_standby_postback_loses_its_payload_and_its_original_keeps_it():
    postback = make_simulator().postback("123456789012345", "Track", "TRACK")
    entry = postback.standby().body()["entry"][0]
    assert "messaging" not in entry
    assert "payload" not in entry["standby"][0]["postback"]
    assert postback.item["postback"]["payload"] == "TRACK"


def test_a_flat_comment_has_field_and_value_in_the_entry():
    comment = make_simulator().comment("123456789012345", "love it")
    entry = comment.flat().body()["entry"][0]
    assert "changes" not in entry
    assert (entry["field"], entry["value"]) == ("comments", comment.item["value"])


def test_the_dashboards_test_is_a_change_of_account_zero():
    update = make_simulator().text("123456789012345", "hi")
    (entry,) = dashboard_test(update)["entry"]
    assert entry["id"] == "0"
    (change,) = entry["changes"]
    assert change["field"] == "messages"
    assert change["value"]["message"]["mid"] == update.id


def test_the_guides_lists_are_plural_with_times_as_strings_of_seconds():
    simulator = make_simulator()
    (entry,) = simulator.plural_messages(("111111111111111", "salut"), ("222222222222222", "prix")).body()["entry"]
    messages = entry["changes"][0]["value"]["messages"]
    assert [(m["from"]["id"], m["text"], m["timestamp"]) for m in messages] == [
        ("111111111111111", "salut", "1760000000"),
        ("222222222222222", "prix", "1760000000"),
    ]


@given(st.lists(st.tuples(st.sampled_from(["17841400000000001", "17841400000000002"]), st.integers(0, 3))))
def test_a_batch_keeps_every_update_in_order(picks):
    """However accounts and shapes alternate, unpacking the entries gives the updates in their order."""
    simulators = {account: make_simulator(account, account) for account, _ in picks}
    updates = []
    for account, shape in picks:
        simulator = simulators[account]
        text = simulator.text("123456789012345", "hi")
        comment = simulator.comment("123456789012345", "hi")
        updates.append([text, text.standby(), comment, comment.flat()][shape])
    unpacked = []
    for entry in body_of(*updates)["entry"]:
        for section in ("messaging", "standby", "changes"):
            unpacked += [(entry["id"], section, item) for item in entry.get(section, [])]
        if "field" in entry:
            unpacked.append((entry["id"], "flat", {"field": entry["field"], "value": entry["value"]}))
    assert unpacked == [(u.account, u.section, u.item) for u in updates]


def test_a_persons_name_is_always_the_same():
    assert username_of("123456789012345") == username_of("123456789012345")


async def test_the_sender_posts_exactly_the_bytes_it_signed():
    seen = []

    def answer(request):
        seen.append((request.headers["x-hub-signature-256"], request.content))
        return httpx2.Response(200)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        sender = WebhookSender("http://ingest.test/webhooks/instagram", "s3cret", client)
        status = await sender.send(make_simulator().attachment("123456789012345", "share", text="هلو"))
    ((signature, raw),) = seen
    assert status == 200
    assert signature == sign(raw, "s3cret")
    assert rb"\u0647" in raw
    assert rb"https:\/\/" in raw


async def test_the_sender_can_carry_a_forged_signature():
    seen = []

    def answer(request):
        seen.append(request.headers.get("x-hub-signature-256"))
        return httpx2.Response(401)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        sender = WebhookSender("http://ingest.test/", "s3cret", client)
        assert await sender.send_bytes(b"{}", headers={"X-Hub-Signature-256": "sha256=" + "0" * 64}) == 401
        assert await sender.send_bytes(b"{}", headers={}) == 401
    assert seen == ["sha256=" + "0" * 64, None]


def test_a_voice_message_says_its_words_where_a_sandbox_world_serves_it():
    simulator = Simulator(media="http://127.0.0.1:8090")
    attachment = simulator.voice(simulator.contact(), "hi there").item["message"]["attachments"][0]
    assert attachment == {
        "type": "audio",
        "payload": {"url": "http://127.0.0.1:8090/media/voice.wav?words=hi+there"},
    }


def test_without_a_sandbox_world_media_links_look_like_the_platforms():
    simulator = Simulator()
    attachment = simulator.voice(simulator.contact(), "hi there").item["message"]["attachments"][0]
    assert attachment["payload"]["url"].startswith("https://lookaside.fbsbx.com/")
