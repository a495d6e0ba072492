"""What is sent to a customer comes back signed, a few times if need be, and never holds up the sender."""

import asyncio
import json
import threading
from collections import Counter, deque
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from devkit.sandbox import SandboxSettings
from devkit.sandbox.client import SandboxClient
from devkit.sandbox.journal import Journal
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.webhooks import EchoSettings, WebhookPoster, retry_waits
from devkit.sandbox.world import subscriber_of
from devkit.signing import sign
from devkit.simulator import Simulator

ACCOUNT = "17841405309211844"
PERSON = "118354031656615"
SECRET = "a test's secret"


class Inbox:
    """A webhook endpoint that keeps what it gets and answers as it is told, 200 when it is told nothing."""

    def __init__(self):
        self.received = []
        self.statuses = deque()
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.received.append((self.headers.get("X-Hub-Signature-256"), raw))
                self.send_response(inbox.statuses.popleft() if inbox.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhooks/instagram"

    def items(self):
        found = []
        for _, raw in list(self.received):
            for entry in json.loads(raw)["entry"]:
                found += [(entry["id"], item) for item in entry.get("messaging", []) + entry.get("changes", [])]
        return found

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def inbox():
    endpoint = Inbox()
    yield endpoint
    endpoint.close()


@pytest.fixture
def url(inbox):
    settings = SandboxSettings(port=0, seed="t", webhook_url=inbox.url, app_secret=SECRET, echo_delay_seconds=0)
    with running_sandbox(settings) as address:
        yield address


@pytest.fixture
async def http(url):
    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": "Bearer 1:key"}, timeout=10) as client:
        yield client


@pytest.fixture
def sandbox(http, url):
    return SandboxClient(url, http)


async def until(condition):
    async with asyncio.timeout(10):
        while not (found := condition()):
            await asyncio.sleep(0.005)
        return found


async def send_graph(http, text="أهلاً", recipient=None):
    body = {"recipient": recipient or {"id": PERSON}, "message": {"text": text, "metadata": "r-1"}}
    return await http.post(f"/graph/{ACCOUNT}/messages", json=body)


async def test_a_graph_send_comes_back_as_a_signed_echo_and_a_read_with_its_own_id(http, inbox):
    message_id = (await send_graph(http, "أهلاً بيك 😍")).json()["message_id"]
    (account, echo), (_, read) = await until(lambda: len(inbox.items()) == 2 and inbox.items())
    assert account == ACCOUNT
    assert (echo["sender"]["id"], echo["recipient"]["id"]) == (ACCOUNT, PERSON)
    assert echo["message"] == {"mid": message_id, "is_echo": True, "text": "أهلاً بيك 😍", "metadata": "r-1"}
    assert (read["sender"]["id"], read["read"]) == (PERSON, {"mid": message_id})
    for signature, raw in inbox.received:
        assert signature == sign(raw, SECRET)
        assert raw.isascii()


async def test_a_manychat_send_and_a_private_reply_come_back_too(http, inbox):
    data = {"version": "v2", "content": {"type": "instagram", "messages": [{"type": "text", "text": "١"}]}}
    body = {"subscriber_id": subscriber_of(PERSON), "data": data}
    assert (await http.post("/manychat/fb/sending/sendContent", json=body)).status_code == 200
    await send_graph(http, "٢", {"comment_id": "18012345678901234"})

    def echoes():
        return [item["message"]["text"] for _, item in inbox.items() if "message" in item]

    assert sorted(await until(lambda: len(echoes()) == 2 and echoes())) == ["١", "٢"]


async def test_a_public_reply_comes_back_as_the_accounts_own_comment(http, inbox):
    comment = Simulator().comment(PERSON, "السعر؟")
    await http.post("/sandbox/webhooks?deliver=false", json=comment.body())
    reply = await http.post(f"/graph/{comment.id}/replies", json={"message": "بالخاص"})
    ((account, change),) = await until(inbox.items)
    assert change["field"] == "comments"
    assert change["value"]["from"]["id"] == account == ACCOUNT
    assert (change["value"]["id"], change["value"]["parent_id"]) == (reply.json()["id"], comment.id)


async def test_a_dropped_send_is_echoed_all_the_same(http, inbox, sandbox):
    await sandbox.add_fault(api="graph", behaviour="drop", times=1)
    with pytest.raises(httpx2.TransportError):
        await send_graph(http)
    await until(inbox.items)


async def test_an_echo_can_arrive_before_the_sends_own_answer(http, inbox, sandbox):
    await sandbox.behave(echo_before_answer=True)
    message_id = (await send_graph(http)).json()["message_id"]
    assert inbox.items()[0][1]["message"]["mid"] == message_id


async def test_echoes_and_reads_can_be_switched_off(http, inbox, sandbox):
    await sandbox.behave(echoes=False, echo_before_answer=True)
    await send_graph(http)
    assert [list(item)[-1] for _, item in inbox.items()] == ["read"]
    await sandbox.behave(reads=False)
    await send_graph(http)
    assert len(inbox.items()) == 1


async def test_an_account_that_lost_its_subscription_hears_nothing(http, inbox, sandbox):
    await sandbox.behave(echo_before_answer=True)
    await sandbox.tell_account(ACCOUNT, subscribed_fields=[])
    await send_graph(http)
    assert inbox.items() == []


async def test_what_is_not_taken_is_posted_again(http, inbox, sandbox):
    inbox.statuses.extend([503, 500])
    await sandbox.behave(reads=False)
    await send_graph(http)
    await until(lambda: len(inbox.received) == 3)
    assert len({raw for _, raw in inbox.received}) == 1
    entries = await until_journal(sandbox, "webhook", 1)
    assert [(e["outcome"], e["effect"]) for e in entries] == [("200", True)]


async def until_journal(sandbox, api, count):
    found, after = [], 0
    async with asyncio.timeout(10):
        while len(found) < count:
            told = await sandbox.journal(after, wait=5, api=api)
            found += told["entries"]
            after = told["next"]
    return found


async def test_a_webhook_sent_through_the_sandbox_reaches_the_endpoint_signed_and_teaches_the_sandbox(inbox, sandbox):
    inbox.statuses.append(202)
    assert await sandbox.webhook(Simulator().text(PERSON, "شكد السعر؟")) == 202
    ((signature, raw),) = inbox.received
    assert signature == sign(raw, SECRET)
    (conversation,) = (await sandbox.conversations(contact=PERSON))["conversations"]
    assert [line["text"] for line in conversation["lines"]] == ["شكد السعر؟"]


async def test_a_signature_given_along_is_passed_on_untouched(http, inbox):
    forged = "sha256=" + "0" * 64
    inbox.statuses.append(401)
    response = await http.post("/sandbox/webhooks", content=b"{}", headers={"X-Hub-Signature-256": forged})
    assert response.json()["status"] == 401
    assert inbox.received == [(forged, b"{}")]


async def test_an_endpoint_that_is_not_there_is_named(http, sandbox):
    await sandbox.behave(webhook_url="http://127.0.0.1:9/webhooks/instagram")
    response = await http.post("/sandbox/webhooks", json={})
    assert response.status_code == 503
    assert "127.0.0.1:9" in response.json()["detail"]


@asynccontextmanager
async def posting(poster):
    poster.start()
    try:
        yield
    finally:
        await poster.stop()


def make_poster(answer, *, journal=None, **bounds):
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    return WebhookPoster(
        url="http://ingest.test/",
        secret=SECRET,
        client=client,
        journal=journal or Journal(1000),
        settings=EchoSettings(delay_seconds=0),
        wants=lambda _: True,
        **bounds,
    )


async def test_posting_is_given_up_after_the_last_attempt_and_counted():
    attempts = []

    def refuse(request):
        attempts.append(request)
        raise httpx2.ConnectError("nobody", request=request)

    journal = Journal(10)
    poster = make_poster(refuse, journal=journal, retry_seconds=(0.0, 0.0))
    async with posting(poster):
        poster.offer((Simulator().echo(PERSON, "x"),))
        await until(lambda: not poster.waiting)
    assert len(attempts) == 3
    assert (poster.counts.failed, poster.counts.posted) == (1, 0)
    (entry,) = journal.after(0)
    assert (entry.outcome, entry.ending, entry.effect, entry.answered) == ("ConnectError", "unreached", False, None)
    assert entry.detail == {"attempts": 3}


def test_attempts_end_with_the_patience_and_are_never_further_apart_than_five_seconds():
    assert retry_waits(0) == ()
    assert retry_waits(1.0) == (0.25, 0.5, 0.25)
    waits = retry_waits(600)
    assert sum(waits) == 600
    assert max(waits) == 5


async def test_what_waits_to_be_tried_again_holds_up_nothing_else():
    journal = Journal(100)

    def pick(request):
        return httpx2.Response(503 if b"unlucky" in request.content else 200)

    poster = make_poster(pick, journal=journal, retry_seconds=(300.0,))
    async with posting(poster):
        for n in range(10):
            poster.offer((Simulator(seed=n).echo(PERSON, "unlucky"),))
            await until(lambda attempts=n + 1: poster.counts.attempts == attempts)
        poster.offer((Simulator(seed=10).echo(PERSON, "lucky"),))
        await until(lambda: poster.counts.posted == 1)
    assert (poster.waiting, len(journal.after(0))) == (10, 1)


async def test_a_body_that_is_tried_again_stays_the_same_and_takes_nothing_new_along():
    bodies = []

    def refuse_once(request):
        bodies.append(request.content)
        return httpx2.Response(503 if len(bodies) == 1 else 200)

    poster = make_poster(refuse_once, retry_seconds=(0.03,))
    await poster.post_now((Simulator().echo(PERSON, "old"),))
    poster.offer((Simulator(seed=1).echo(PERSON, "new"),))
    await asyncio.sleep(0.04)  # both are due when the posters start, the new one first
    async with posting(poster):
        await until(lambda: not poster.waiting)
    assert len(bodies) == 3
    assert bodies.count(bodies[0]) == 2
    assert b"old" in bodies[0]


async def test_an_early_echo_that_nobody_takes_lets_its_send_be_answered_and_is_tried_again():
    statuses = [503, 200]
    journal = Journal(10)
    poster = make_poster(lambda _: httpx2.Response(statuses.pop(0)), journal=journal, retry_seconds=(0.0,))
    poster.settings.before_answer = 1.0
    await poster.tell((Simulator().echo(PERSON, "x"),))
    assert (poster.waiting, statuses) == (1, [200])
    async with posting(poster):
        await until(lambda: not poster.waiting)
    (entry,) = journal.after(0)
    assert (entry.outcome, entry.ending, entry.effect, entry.detail) == ("200", "answered", True, {"attempts": 2})
    assert entry.received <= entry.answered


async def told_echoes(number=400, **settings):
    """Tell of so many echoes and return how often each arrived, and how many were told of before `tell` returned."""
    arrived, early = [], 0

    def accept(request):
        for entry in json.loads(request.content)["entry"]:
            arrived.extend(item["message"]["text"] for item in entry["messaging"] if "message" in item)
        return httpx2.Response(200)

    poster = make_poster(accept, seed="s")
    for name, value in settings.items():
        setattr(poster.settings, name, value)
    for n in range(number):
        before = len(arrived)
        await poster.tell((Simulator(seed=n).echo(PERSON, str(n)),))
        early += len(arrived) > before
    async with posting(poster):
        await until(lambda: not poster.waiting)
    return Counter(arrived), early


async def test_a_share_of_the_echoes_comes_before_the_answer_and_the_rest_after():
    arrived, early = await told_echoes(before_answer=0.25)
    assert set(arrived.values()) == {1}
    assert 60 < early < 140


async def test_a_share_of_the_echoes_is_told_twice_and_a_share_never():
    arrived, _ = await told_echoes(duplicates=0.25)
    assert 60 < sum(count == 2 for count in arrived.values()) < 140
    assert len(arrived) == 400
    arrived, _ = await told_echoes(losses=0.25)
    assert 260 < len(arrived) < 340


async def test_shares_are_drawn_from_the_seed():
    assert await told_echoes(50, losses=0.5) == await told_echoes(50, losses=0.5)


async def test_echoes_with_a_range_of_delays_overtake_one_another():
    arrived = list((await told_echoes(100, delay_seconds=0.0, delay_max_seconds=0.3))[0])
    assert sorted(arrived, key=int) == [str(n) for n in range(100)]
    assert arrived != [str(n) for n in range(100)]


async def test_a_read_is_neither_lost_nor_told_twice():
    bodies = []

    def accept(request):
        bodies.append(request.content)
        return httpx2.Response(200)

    poster = make_poster(accept)
    poster.settings.duplicates = poster.settings.losses = 1.0
    async with posting(poster):
        poster.offer((Simulator().read(PERSON, "m"),))
        await until(lambda: not poster.waiting)
    assert len(bodies) == 1


async def test_a_full_queue_refuses_and_counts_instead_of_growing():
    poster = make_poster(lambda _: httpx2.Response(200), queue_limit=2)
    poster.offer(tuple(Simulator().echo(PERSON, str(n)) for n in range(5)))
    assert (poster.waiting, poster.counts.refused) == (2, 3)


async def test_what_piled_up_leaves_in_batches_with_everything_in_it():
    bodies = []

    def accept(request):
        bodies.append(json.loads(request.content))
        return httpx2.Response(200)

    poster = make_poster(accept)
    poster.offer(tuple(Simulator(seed=n).echo(PERSON, str(n)) for n in range(120)))
    poster.start()
    await until(lambda: poster.waiting == 0)
    await poster.stop()
    texts = [i["message"]["text"] for body in bodies for e in body["entry"] for i in e["messaging"]]
    assert sorted(texts, key=int) == [str(n) for n in range(120)]
    assert len(bodies) < 10
