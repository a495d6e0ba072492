"""The webhook: what is published, what is answered, and everything that must not get through."""

import asyncio
import gzip
import json
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

MIB = 1024 * 1024
FORGED = {"x-hub-signature-256": "sha256=" + "0" * 64}
"""As a signature is written, but nobody's: only the whole body shows it."""

PATHS = ["/webhooks/instagram", "/api/instagram/webhook"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_signed_message_is_published_and_answered_200(world, path):
    answer = await world.send(world.body(world.message(text="شگد سعر الجنطة؟")), path=path)
    assert (answer.status_code, answer.json()) == (200, {"status": "accepted", "events": 1})
    [event] = world.publisher.events
    assert event.type == "com.jawab.message.received.v1"
    assert event.id == f"{world.account}:msg:m-1"
    assert event.source == "/ingest/instagram"
    assert event.subject == event.partitionkey == f"{world.account}:7001"
    assert event.time == world.now - timedelta(seconds=2)
    assert event.data.text == "شگد سعر الجنطة؟"
    assert event.data.received_at_ms == world.now_ms
    assert event.data.original["message"]["mid"] == "m-1"


async def test_both_live_secrets_sign(world):
    raw = json.dumps(world.body(world.message())).encode()
    for secret in (world.secret, world.old_secret):
        assert (await world.send(raw, headers=world.sign(raw, secret))).status_code == 200


async def test_an_incoming_trace_is_continued_and_a_broken_one_replaced(world):
    raw = json.dumps(world.body(world.message())).encode()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await world.send(raw, headers={**world.sign(raw), "traceparent": trace})
    await world.send(raw, headers={**world.sign(raw), "traceparent": "rubbish"})
    first, second = (event.traceparent for event in world.publisher.events)
    assert first.startswith(trace[:36])
    assert first != trace
    assert second.startswith("00-")
    assert trace[3:35] not in second


async def test_a_batch_of_several_accounts_is_published_whole_and_in_order(world):
    entries = [
        {"id": f"acc-{n % 3}", "time": world.now_ms, "messaging": [world.message(f"m-{n}-{i}") for i in range(10)]}
        for n in range(100)
    ]
    answer = await world.send({"object": "instagram", "entry": entries})
    assert answer.json()["events"] == 1000
    assert [event.data.mid for event in world.publisher.events] == [f"m-{n}-{i}" for n in range(100) for i in range(10)]


async def test_an_entry_that_names_the_linked_page_is_answered_as_the_account_and_counted(world):
    body = world.body(world.message("a"), world.message("b"))
    body["entry"][0]["id"] = "102938475610293"
    assert (await world.send(body)).status_code == 200
    assert [event.subject for event in world.publisher.events] == [f"{world.account}:7001"] * 2
    assert await world.metric("ingest_foreign_entries_total") == 2
    await world.send(world.body(world.message("c")))
    assert await world.metric("ingest_foreign_entries_total") == 2


async def test_an_unknown_item_in_a_batch_does_not_cost_its_neighbours(world):
    answer = await world.send(world.body(world.message("a"), {"hologram": {"id": 1}}, 17, world.message("b")))
    assert answer.status_code == 200
    assert world.publisher.types() == [
        "message.received.v1",
        "unknown.received.v1",
        "unknown.received.v1",
        "message.received.v1",
    ]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing"),
        ({"X-Hub-Signature": "sha1=41b7d0df8900d837763e35fe786fb4e0bed12216"}, "missing"),
        ({"X-Hub-Signature-256": "sha1=41b7d0df8900d837763e35fe786fb4e0bed12216"}, "not_sha256"),
        ({"X-Hub-Signature-256": "sha256=abc"}, "malformed"),
        ({"X-Hub-Signature-256": "sha256=" + "a" * 63}, "malformed"),
        ({"X-Hub-Signature-256": ("sha256=" + "é" * 64).encode("latin-1")}, "not_ascii"),
        ({"X-Hub-Signature-256": b"sha256=" + b"\xff" * 64}, "not_ascii"),
        ({"X-Hub-Signature-256": "sha256=" + "0" * 64}, "mismatch"),
    ],
)
async def test_a_bad_signature_is_refused_with_its_reason_and_nothing_is_published(world, headers, reason):
    answer = await world.send(world.body(world.message()), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["detail"].startswith("X-Hub-Signature-256")
    assert world.publisher.events == []
    assert await world.metric(f'ingest_signature_failures_total{{reason="{reason}",route="webhook"}}') == 1


async def test_the_wrong_secret_and_an_altered_byte_are_refused(world):
    raw = json.dumps(world.body(world.message(text="price 10"))).encode()
    assert (await world.send(raw, headers=world.sign(raw, "not-a-secret-of-ours"))).status_code == 401
    assert (await world.send(raw.replace(b"10", b"11"), headers=world.sign(raw))).status_code == 401
    assert world.publisher.events == []


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "empty"),
        (b"hello", "not JSON"),
        (b'{"entry": NaN}', "not JSON"),
        (b'["entry"]', "not an object"),
        (b'"text"', "not an object"),
        (b"12", "not an object"),
        (b"null", "not an object"),
        (b"[" * 10_000, "nested"),
        (b'{"entry":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested"),
    ],
)
async def test_a_signed_body_that_is_no_json_object_is_400_in_one_line(world, raw, says):
    answer = await world.send(raw)
    assert answer.status_code == 400
    assert says in answer.json()["detail"]
    assert world.publisher.events == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"object": "instagram"},
        {"entry": []},
        {"entry": "none"},
        {"entry": 5},
        {"entry": None},
        {"entry": [None]},
        {"entry": [[]]},
        {"entry": [{}]},
        {"entry": [{"id": 1, "messaging": 7}]},
        {"entry": {"id": True, "changes": "x"}},
        {"object": 3, "entry": [{"id": 1.5, "time": [], "messaging": [{"sender": 4, "message": 9}]}]},
    ],
)
async def test_a_signed_object_is_always_accepted_and_kept(world, body):
    """An error would make the platform send it again for hours, and it would never get better."""
    assert (await world.send(body)).status_code == 200
    assert world.publisher.types() == ["unknown.received.v1"]


async def test_numbers_where_strings_are_expected_become_strings(world):
    item = {
        "sender": {"id": 70011234567890123},
        "recipient": {"id": int(world.account)},
        "timestamp": str(world.now_ms // 1000 - 60),
        "message": {"mid": 90071992547409931, "text": 250},
    }
    body = {"entry": [{"id": int(world.account), "time": world.now_ms // 1000, "messaging": [item]}]}
    assert (await world.send(body)).status_code == 200
    [event] = world.publisher.events
    assert event.subject == f"{world.account}:70011234567890123"
    assert (event.data.mid, event.data.text) == ("90071992547409931", "250")
    assert event.time == world.now - timedelta(seconds=60)


def padded(size: int) -> bytes:
    """Return a JSON object of exactly `size` bytes that holds one message."""
    head = b'{"entry":[{"id":"1","messaging":[{"sender":{"id":"2"},"recipient":{"id":"1"},"message":{"mid":"m","text":"'
    tail = b'"}}]}]}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


async def test_eight_mebibytes_are_accepted_and_fit_into_a_record(world):
    answer = await world.send(padded(8 * MIB))
    assert answer.status_code == 200
    [event] = world.publisher.events
    assert len(event.data.text) > 8 * MIB - 200
    assert len(event.to_json()) < 9 * MIB
    assert event.data.original["reduced"]
    assert await world.metric("ingest_originals_reduced_total") == 1


async def test_one_byte_more_is_413(world):
    answer = await world.send(padded(8 * MIB + 1))
    assert answer.status_code == 413
    assert "8388608" in answer.json()["detail"]
    assert world.publisher.events == []


@pytest.mark.parametrize("headers", [{}, {"content-length": "10"}])
async def test_the_bytes_that_come_count_not_those_announced(world, headers):
    raw = padded(8 * MIB + 1)
    chunks = [raw[start : start + MIB] for start in range(0, len(raw), MIB)]
    status, body = await world.post_in_chunks([*chunks, b""], {**world.sign(raw), **headers})
    assert (status, "8388608" in body["detail"]) == (413, True)
    exact = padded(8 * MIB)
    status, _ = await world.post_in_chunks([exact[:MIB], exact[MIB:], b""], {**world.sign(exact), **headers})
    assert status == 200
    assert await world.metric("ingest_buffered_bytes") == 0


async def test_what_announces_too_much_is_refused_before_it_is_read(world):
    status, _ = await world.post_in_chunks([], {**FORGED, "content-length": str(8 * MIB + 1)})
    assert status == 413


@pytest.mark.parametrize("settings", [{"body_deadline": 0.05}], indirect=True)
async def test_a_body_that_never_ends_is_408(world):
    status, body = await world.post_in_chunks([b"{"], FORGED)
    assert (status, "took over 0.05 s" in body["detail"]) == (408, True)
    assert await world.metric("ingest_buffered_bytes") == 0


async def test_a_sender_that_hangs_up_leaves_nothing_behind(world):
    status, _ = await world.post_in_chunks([b"{", None], FORGED)
    assert status == 400
    assert await world.metric("ingest_buffered_bytes") == 0
    assert await world.metric("ingest_webhooks_in_flight") == 0


@pytest.mark.parametrize("settings", [{"max_buffered": 8 * MIB, "body_deadline": 5.0}], indirect=True)
async def test_of_bodies_being_read_the_slowest_makes_room_for_the_next(world):
    big = b"x" * (5 * MIB)
    first = asyncio.create_task(world.post_in_chunks([big], FORGED))
    while await world.metric("ingest_buffered_bytes") < len(big):
        await asyncio.sleep(0)
    exact = padded(5 * MIB)
    status, _ = await world.post_in_chunks([exact, b""], world.sign(exact))
    assert status == 200
    status, body = await first
    assert (status, body["detail"]) == (503, "too many bodies are being read at once")
    assert (await world.send(world.body(world.message()))).status_code == 200
    assert await world.metric("ingest_buffered_bytes") == 0


@pytest.mark.parametrize("headers", [{}, {"x-hub-signature-256": "sha256=abc"}, {"x-hub-signature-256": "sha1=abc"}])
async def test_without_a_well_formed_signature_nothing_of_the_body_is_read(world, headers):
    status, _ = await world.post_in_chunks([], headers)  # whoever waits for a body waits for ever here
    assert status == 401


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "GZIP", "x-what"])
async def test_a_compressed_body_is_415_and_says_so(world, encoding):
    """Its signature covers the bytes as sent: without this line the answer would be that the secret is wrong."""
    raw = gzip.compress(json.dumps(world.body(world.message())).encode())
    answer = await world.send(raw, headers={**world.sign(raw), "Content-Encoding": encoding})
    assert (answer.status_code, answer.json()["detail"].startswith("Content-Encoding ")) == (415, True)
    assert world.publisher.events == []


async def test_identity_is_no_encoding(world):
    raw = json.dumps(world.body(world.message())).encode()
    assert (await world.send(raw, headers={**world.sign(raw), "Content-Encoding": "identity"})).status_code == 200


async def test_kafka_away_is_503_with_a_time_to_come_again_and_never_200(world):
    world.publisher.away = True
    answer = await world.send(world.body(world.message()))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    world.publisher.away = False
    assert (await world.send(world.body(world.message()))).status_code == 200
    outcome = 'ingest_webhooks_total{outcome="%s",platform="instagram",route="webhook"}'
    assert await world.metric(outcome % "kafka_away") == 1
    assert await world.metric(outcome % "accepted") == 1


@pytest.mark.parametrize("settings", [{"failures_per_minute": 3}], indirect=True)
async def test_an_address_that_keeps_failing_is_told_429_and_signed_webhooks_still_pass(world):
    forged = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
    body = world.body(world.message())
    assert [(await world.send(body, headers=forged)).status_code for _ in range(5)] == [401, 401, 401, 429, 429]
    answer = await world.send(body, headers=forged)
    assert int(answer.headers["retry-after"]) > 0
    assert [(await world.send(body)).status_code for _ in range(20)] == [200] * 20
    assert (await world.send(body, headers=forged)).status_code == 429


@pytest.mark.parametrize("settings", [{"failures_per_minute": 1, "trusted_proxies": 1}], indirect=True)
async def test_behind_a_trusted_proxy_addresses_are_told_apart(world):
    async def fail(forwarded: str) -> int:
        return (await world.send(b"{}", headers={"X-Forwarded-For": forwarded})).status_code

    assert await fail("198.51.100.1") == 401
    assert await fail("203.0.113.9, 198.51.100.1") == 429
    assert await fail("198.51.100.2") == 401


@pytest.mark.parametrize("settings", [{"failures_per_minute": 1}], indirect=True)
async def test_without_trusted_proxies_a_forwarded_address_is_ignored(world):
    codes = [(await world.send(b"{}", headers={"X-Forwarded-For": f"198.51.100.{n}"})).status_code for n in range(3)]
    assert codes == [401, 429, 429]


@dataclass
class SlowPublisher:
    """Holds every publication until it is let go."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0

    async def publish(self, events):
        """Wait."""
        self.waiting += 1
        await self.go.wait()

    async def check(self):
        """Be well."""


@pytest.mark.parametrize("settings", [{"max_in_flight": 2}], indirect=True)
async def test_more_webhooks_than_can_be_held_are_sent_away(world, settings):
    from prometheus_client import CollectorRegistry

    from common.clock import SystemClock
    from ingest.metrics import IngestMetrics
    from ingest.reception import Reception, Refused

    slow = SlowPublisher()
    reception = Reception(settings, slow, IngestMetrics(CollectorRegistry()), SystemClock())
    held = [asyncio.create_task(reception.publish([])) for _ in range(2)]
    while slow.waiting < 2:
        await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await reception.publish([])
    assert (refused.value.status_code, refused.value.outcome) == (503, "busy")
    slow.go.set()
    await asyncio.gather(*held)
    await reception.publish([])


async def test_the_figures_tell_routes_outcomes_and_types(world):
    await world.send(world.body(world.message(), {"reaction": {}, "sender": {"id": "7"}}))
    await world.send(b"nonsense")
    assert await world.metric('ingest_events_total{type="com.jawab.message.received.v1"}') == 1
    assert await world.metric('ingest_events_total{type="com.jawab.unknown.received.v1"}') == 1
    assert await world.metric('ingest_bad_bodies_total{reason="not_json"}') == 1
    assert await world.metric('ingest_webhook_seconds_count{platform="instagram"}') == 2
    assert await world.metric("ingest_webhooks_in_flight") == 0


async def test_health_is_kafka_and_nothing_else(world):
    assert (await world.client.get("/health")).status_code == 200
    assert (await world.client.get("/livez")).status_code == 200


async def test_readiness_fails_while_kafka_is_away(world):
    world.publisher.away = True
    answer = await world.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["kafka"] == {"status": "failing", "reason": "Kafka is away", "fix": "start it"}
    assert (await world.client.get("/livez")).status_code == 200


async def test_nothing_of_a_webhook_is_logged_at_info(world, capsys):
    await world.send(world.body(world.message(mid="mid-not-for-logs", text="نص سري", sender="7009")))
    await world.send(world.body(world.message(mid="mid-not-for-logs", text="نص سري", sender="7009")), headers={})
    world.publisher.away = True
    await world.send(world.body(world.message(mid="mid-not-for-logs", text="نص سري", sender="7009")))
    logged = capsys.readouterr().out
    assert "request.unproven" in logged
    assert "events.not_published" in logged
    for private in ("نص سري", "7009", "mid-not-for-logs", world.secret):
        assert private not in logged
