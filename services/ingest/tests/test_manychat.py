"""ManyChat's External Request: a contact's data becomes the message they wrote."""

import json
from datetime import timedelta

import pytest

from ingest.account_secret import main, secret_of

PATH = "/webhooks/manychat"


def contact(world, **changed):
    """Return the full contact data ManyChat sends, with some of it changed; None leaves a field out."""
    data = {
        "id": "1234567",
        "key": "user:1234567",
        "page_id": "555",
        "ig_id": 729300000000041,
        "ig_username": "noor.alhuda",
        "last_input_text": "شگد السعر؟",
        "ig_last_interaction": (world.now - timedelta(seconds=9)).isoformat(),
        "custom_fields": {"size": "M"},
    }
    return {name: value for name, value in (data | changed).items() if value is not None}


MINE = object()


async def post(world, body, secret=MINE):
    """Post with the right secret, another one, or (None) without."""
    headers = {} if secret is None else {"X-Jawab-Secret": world.manychat_secret if secret is MINE else secret}
    return await world.client.post(PATH, json=body, headers=headers)


async def test_the_last_input_is_a_message_of_the_instagram_contact(world):
    answer = await post(world, contact(world))
    assert (answer.status_code, answer.json()) == (200, {"status": "accepted", "events": 1})
    [event] = world.publisher.events
    assert event.type == "com.jawab.message.received.v1"
    assert event.source == "/ingest/manychat"
    assert event.subject == event.partitionkey == f"{world.account}:729300000000041"
    assert event.time == world.now - timedelta(seconds=9)
    assert (event.data.text, event.data.envelope) == ("شگد السعر؟", "external_request")
    assert event.data.original["custom_fields"] == {"size": "M"}
    assert await world.metric('ingest_webhook_seconds_count{platform="manychat"}') == 1


async def test_the_same_request_has_the_same_id_and_another_message_another(world):
    later = (world.now - timedelta(seconds=1)).isoformat()
    for body in ({}, {}, {"ig_last_interaction": later}, {"last_input_text": "هلو"}, {"ig_id": 5}):
        await post(world, contact(world, **body))
    first, again, *others = (event.id for event in world.publisher.events)
    assert first == again
    assert len({first, *others}) == 4


async def test_without_the_contacts_own_time_the_minute_of_arrival_tells_messages_apart(world, clock):
    for seconds in (0, 1, 120):
        clock.advance(timedelta(seconds=seconds))
        await post(world, contact(world, ig_last_interaction=None))
    first, again, later = (event.id for event in world.publisher.events)
    assert first == again != later


async def test_a_contact_without_instagram_id_is_known_by_manychats(world):
    await post(world, contact(world, ig_id=None))
    assert world.publisher.events[0].data.contact_id == "1234567"


async def test_an_unfilled_placeholder_is_nobodys_id(world):
    """It would be everybody's: strangers would share a conversation."""
    answer = await post(world, contact(world, ig_id="{{ig_id}}", id="{{contact_id}}"))
    assert answer.status_code == 400
    assert world.publisher.events == []


async def test_blanks_around_an_id_are_no_part_of_it(world):
    await post(world, contact(world, ig_id=" 729300000000041\n"))
    assert world.publisher.events[0].data.contact_id == "729300000000041"


async def test_manychats_own_id_is_kept_beside_the_instagram_id(world):
    """Whoever answers through ManyChat then needs no look-up."""
    await post(world, contact(world))
    [event] = world.publisher.events
    assert (event.data.contact_id, event.data.subscriber_id) == ("729300000000041", "1234567")


@pytest.mark.parametrize("nothing", [0, "0", "", None, "{{ig_id}}", "null", "undefined", -1, "7.2e14"])
async def test_an_instagram_id_that_is_none_is_not_taken_for_one(world, nothing):
    await post(world, contact(world) | {"ig_id": nothing})
    assert world.publisher.events[0].data.contact_id == "1234567"


async def test_the_contacts_data_may_be_a_part_of_the_body(world):
    mine = secret_of("42", world.manychat_secret)
    await post(world, {"account_id": "42", "contact": contact(world)}, mine)
    await post(world, contact(world, account_id="42"), mine)
    nested, flat = world.publisher.events
    assert (nested.id, nested.data.subscriber_id) == (flat.id, "1234567")


async def test_a_customer_may_write_a_zero(world):
    await post(world, contact(world, last_input_text="0"))
    assert world.publisher.events[0].data.text == "0"


@pytest.mark.parametrize("named", [None, "42", 42])
async def test_an_accounts_own_secret_speaks_for_it_whether_the_body_names_it_or_not(world, named):
    await post(world, contact(world, account_id=named), secret_of("42", world.manychat_secret))
    assert [event.data.account_id for event in world.publisher.events] == ["42"]


@pytest.mark.parametrize("account", ["42", None])
async def test_no_secret_speaks_for_another_account(world, account):
    secret = world.manychat_secret if account is None else secret_of(account, world.manychat_secret)
    answer = await post(world, contact(world, account_id="43"), secret)
    assert (answer.status_code, "account_id" in answer.json()["detail"]) == (401, True)
    assert world.publisher.events == []
    assert await world.metric('ingest_signature_failures_total{reason="account",route="manychat"}') == 1


async def test_the_secret_of_one_account_with_the_number_of_another_is_none(world):
    _, _, proof = secret_of("42", world.manychat_secret).partition(".")
    for forged in (f"43.{proof}", f".{proof}", proof, f"42.{proof.upper()}", f"42.{proof} ", f"٤٢.{proof}".encode()):
        assert (await post(world, contact(world, account_id="43"), forged)).status_code == 401
    assert world.publisher.events == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ig_id": None, "id": None}, "ig_id"),
        ({"ig_id": True, "id": []}, "ig_id"),
        ({"last_input_text": None}, "last_input_text"),
        ({"last_input_text": ""}, "last_input_text"),
        ({"last_input_text": " \n"}, "last_input_text"),
        ({"last_input_text": {"a": 1}}, "last_input_text"),
    ],
)
async def test_what_is_missing_is_named(world, changed, says):
    answer = await post(world, contact(world, **changed))
    assert answer.status_code == 400
    assert says in answer.json()["detail"]
    assert world.publisher.events == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", 10**29),
        ("id", "9" * 30),
        ("id", 2**63),
        ("id", "9" * 5000),
        ("subscriber_id", 2**63),
        ("ig_id", "9" * 33),
        ("ig_id", 10**32),
        ("account_id", "9" * 33),
    ],
)
async def test_an_id_that_nothing_behind_can_store_is_400_and_named(world, name, value):
    """It would die in delivery: one tenant could stop the partitions of all."""
    answer = await post(world, contact(world) | ({name: value} if name == "id" else {"id": None, name: value}))
    assert (answer.status_code, answer.json()["detail"].startswith(name)) == (400, True)
    assert world.publisher.events == []


@pytest.mark.parametrize(("value", "kept"), [(2**63 - 1, str(2**63 - 1)), ("007", "7"), ("000", None)])
async def test_the_largest_subscriber_and_a_padded_one_are_kept_as_the_number_they_are(world, value, kept):
    await post(world, contact(world, id=value))
    assert world.publisher.events[0].data.subscriber_id == kept


async def test_an_unfilled_placeholder_is_no_account(world):
    answer = await post(world, contact(world, account_id="{{account_id}}"))
    assert answer.status_code == 400
    assert "account_id is no number" in answer.text
    assert world.publisher.events == []


@pytest.mark.parametrize("settings", [{"account_id": None}], indirect=True)
async def test_without_an_account_of_its_own_the_installations_secret_speaks_for_nobody(world):
    for named in (None, "42"):
        answer = await post(world, contact(world, account_id=named))
        assert (answer.status_code, "INSTAGRAM_PAGE_ID" in answer.json()["detail"]) == (401, True)
    assert world.publisher.events == []


@pytest.mark.parametrize("secret", [None, "", "wrong", "manychat-secret-of-the-test"])
async def test_without_the_shared_secret_nothing_is_read(world, secret):
    assert (await post(world, contact(world), secret)).status_code == 401
    assert world.publisher.events == []


async def test_a_secret_outside_ascii_is_refused_too(world):
    answer = await world.client.post(PATH, json={}, headers={"X-Jawab-Secret": "سر".encode()})
    assert answer.status_code == 401


@pytest.mark.parametrize("settings", [{"manychat_secrets": ()}], indirect=True)
async def test_without_a_configured_secret_the_route_is_off(world):
    for secret in (None, "", "x"):
        assert (await post(world, contact(world), secret)).status_code == 404
    assert world.publisher.events == []


@pytest.mark.parametrize("settings", [{"manychat_secrets": "new-one, old-one"}], indirect=True)
async def test_a_secret_is_rotated_by_naming_both(world):
    for secret in ("new-one", "old-one", secret_of(world.account, "new-one"), secret_of(world.account, "old-one")):
        assert (await post(world, contact(world), secret)).status_code == 200


async def test_a_body_that_is_no_object_or_too_large_is_refused(world):
    headers = {"X-Jawab-Secret": world.manychat_secret}
    assert (await world.client.post(PATH, content=b"[]", headers=headers)).status_code == 400
    assert (await world.client.post(PATH, content=b"x" * 8193, headers=headers)).status_code == 413


async def test_eight_kibibytes_of_contact_data_are_read(world):
    body = contact(world, custom_fields={})
    filled = contact(world, custom_fields={"a": "x" * (8192 - len(json.dumps(body)) - len('"a": ""'))})
    raw = json.dumps(filled).encode()
    headers = {"X-Jawab-Secret": world.manychat_secret}
    assert len(raw) == 8192
    assert (await world.client.post(PATH, content=raw, headers=headers)).status_code == 200


@pytest.mark.parametrize("settings", [{"manychat_per_minute": 3}], indirect=True)
async def test_an_account_has_its_requests_a_minute_and_another_its_own(world):
    answers = [await post(world, contact(world)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert "3 requests" in answers[-1].json()["detail"]
    other = secret_of("42", world.manychat_secret)
    assert (await post(world, contact(world), other)).status_code == 200
    assert (await world.send(world.body(world.message()))).status_code == 200  # signed traffic is never limited


async def test_kafka_away_is_503(world):
    world.publisher.away = True
    assert (await post(world, contact(world))).status_code == 503


def test_the_command_prints_the_newest_secret_of_an_account():
    assert main(["42"], {"MANYCHAT_WEBHOOK_SECRET": "new-one, old-one"}) == secret_of("42", "new-one")


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (["42"], {}, "MANYCHAT_WEBHOOK_SECRET"),
        (["42"], {"MANYCHAT_WEBHOOK_SECRET": " ,"}, "MANYCHAT_WEBHOOK_SECRET"),
        ([], {"MANYCHAT_WEBHOOK_SECRET": "x"}, "its id"),
        (["my.shop"], {"MANYCHAT_WEBHOOK_SECRET": "x"}, "its id"),
        (["42", "43"], {"MANYCHAT_WEBHOOK_SECRET": "x"}, "its id"),
    ],
)
def test_the_command_says_what_it_needs(arguments, environ, says):
    with pytest.raises(SystemExit, match=says):
        main(arguments, environ)
