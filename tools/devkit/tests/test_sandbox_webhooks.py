"""What is sent to a customer comes back signed, a few times if need be, and never holds up the sender."""

import asyncio
import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from devkit.sandbox import SandboxSettings
from devkit.sandbox.client import SandboxClient
from devkit.sandbox.journal import Journal
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.webhooks import EchoSettings, WebhookPoster
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


def make_poster(answer, **bounds):
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    return WebhookPoster(
        url="http://ingest.test/",
        secret=SECRET,
        client=client,
        journal=Journal(1000),
        settings=EchoSettings(delay_seconds=0),
        wants=lambda _: True,
        **bounds,
    )


async def test_posting_is_given_up_after_the_last_attempt_and_counted():
    attempts = []

    def refuse(request):
        attempts.append(request)
        raise httpx2.ConnectError("nobody", request=request)

    poster = make_poster(refuse, retry_seconds=(0.0, 0.0))
    await poster.post_now((Simulator().echo(PERSON, "x"),))
    assert len(attempts) == 3
    assert (poster.counts.failed, poster.counts.posted) == (1, 0)


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
