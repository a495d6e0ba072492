"""The guide's local test: its example bodies, as printed, are answered here and now."""

import pytest

PATH = "/api/instagram/webhook-test"

MESSAGE = {
    "object": "instagram",
    "entry": [
        {
            "id": "page_id",
            "time": 1234567890,
            "changes": [
                {
                    "field": "messages",
                    "value": {
                        "messages": [
                            {"id": "msg_1", "from": {"id": "user_1"}, "timestamp": "1234567890", "text": "Bonjour !"}
                        ]
                    },
                }
            ],
        }
    ],
}
COMMENT = {"id": "comment_1", "from": {"id": "user_2"}, "media": {"id": "media_3"}, "text": "Merci, super !"}


async def test_an_unsigned_example_message_is_addressed_to_this_account_and_taken_as_now(world):
    answer = await world.client.post(PATH, json=MESSAGE)
    assert answer.status_code == 200
    [event] = world.publisher.events
    assert answer.json()["events"] == [
        {"id": event.id, "type": "com.jawab.message.received.v1", "conversation": f"{world.account}:user_1"}
    ]
    assert "only once" in answer.json()["note"]
    assert (event.source, event.data.envelope) == ("/ingest/test", "test")
    assert event.time == world.now
    assert event.data.text == "Bonjour !"


@pytest.mark.parametrize(
    "body",
    [
        {"entry": [{"id": "x", "changes": [{"field": "comments", "value": {"comments": [COMMENT]}}]}]},
        {"entry": [{"changes": [{"field": "comments", "value": {"comments": [COMMENT]}}]}]},
        {"entry": {"changes": [{"field": "comments", "value": COMMENT}]}},
        {"entry": [{"field": "comments", "value": COMMENT}]},
        {"field": "comments", "value": COMMENT},
        {"field": "comments", "value": {"comments": [COMMENT]}},
        {"comments": [COMMENT]},
    ],
)
async def test_an_example_comment_is_read_in_whatever_wrapping(world, body):
    assert (await world.client.post(PATH, json=body)).status_code == 200
    [event] = world.publisher.events
    assert event.type == "com.jawab.comment.received.v1"
    assert event.subject == f"{world.account}:user_2"
    assert (event.data.comment_id, event.data.media_id) == ("comment_1", "media_3")


@pytest.mark.parametrize("body", [{}, COMMENT])
async def test_a_body_that_is_no_webhook_is_told_that_nothing_will_be_answered(world, body):
    answer = await world.client.post(PATH, json=body)
    assert [one["type"] for one in answer.json()["events"]] == ["com.jawab.unknown.received.v1"]
    assert "nothing will be answered" in answer.json()["note"]


async def test_a_recent_time_is_kept(world):
    await world.client.post(PATH, json=world.body(world.message()))
    assert (world.now - world.publisher.events[0].time).total_seconds() == 2


@pytest.mark.parametrize("settings", [{"account_id": None}], indirect=True)
async def test_without_an_account_of_its_own_the_body_names_it(world):
    await world.client.post(PATH, json=MESSAGE)
    assert world.publisher.events[0].data.account_id == "page_id"


async def test_bad_bodies_are_refused_as_at_the_webhook(world):
    for raw in (b"", b"[]", b"nonsense"):
        assert (await world.client.post(PATH, content=raw)).status_code == 400
    assert (await world.client.post(PATH, json={"entry": [5]})).status_code == 200
    world.publisher.away = True
    assert (await world.client.post(PATH, json=MESSAGE)).status_code == 503
