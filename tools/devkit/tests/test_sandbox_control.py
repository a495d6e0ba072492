"""The sandbox can be watched, told and run as a process by its documented addresses."""

import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from html.parser import HTMLParser

import httpx2
import pytest

from devkit.sandbox import SandboxSettings, create_sandbox
from devkit.sandbox.client import JournalForgot, SandboxClient
from devkit.sandbox.serving import running_sandbox
from devkit.simulator import Simulator

ACCOUNT = "17841405309211844"
PERSON = "118354031656615"


@asynccontextmanager
async def in_process(**settings):
    transport = httpx2.ASGITransport(create_sandbox(SandboxSettings(seed="t", **settings)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        client.headers["Authorization"] = "Bearer 1:key"
        yield client, SandboxClient("http://sandbox", client)


@pytest.fixture
async def http():
    async with in_process(journal_limit=5) as (client, _):
        yield client


@pytest.fixture
def sandbox(http):
    return SandboxClient("http://sandbox", http)


async def send(http, text="أهلاً"):
    body = {"recipient": {"id": PERSON}, "message": {"text": text}}
    return await http.post(f"/graph/{ACCOUNT}/messages", json=body)


async def test_the_journal_is_read_from_a_number_on_and_keeps_only_so_many(http, sandbox):
    for n in range(7):
        await send(http, str(n))
    told = await sandbox.journal()
    assert [entry["text"] for entry in told["entries"]] == ["2", "3", "4", "5", "6"]
    assert [entry["number"] for entry in (await sandbox.journal(after=6))["entries"]] == [7]
    assert told["next"] == told["last"] == 7
    assert (await sandbox.journal(after=7, wait=0.01))["entries"] == []


async def test_a_journal_of_many_pages_is_read_whole_in_order():
    async with in_process(journal_limit=5000) as (http, sandbox):
        for _ in range(2100):
            await http.get("/v1/models")
        await send(http)
        numbers = [entry["number"] async for entry in sandbox.whole_journal()]
        assert numbers == list(range(1, 2102))
        assert [entry["number"] async for entry in sandbox.whole_journal(2000, api="graph")] == [2101]


async def test_a_whole_journal_that_is_not_whole_is_not_read(http, sandbox):
    for _ in range(7):
        await send(http)
    with pytest.raises(JournalForgot, match="up to number 2"):
        _ = [entry async for entry in sandbox.whole_journal()]
    assert len([entry async for entry in sandbox.whole_journal(2)]) == 5


async def test_a_journal_is_read_on_after_a_reset(http, sandbox):
    await send(http)
    await sandbox.reset()
    await send(http, "again")
    assert [entry["text"] async for entry in sandbox.whole_journal()] == ["again"]


async def test_a_fault_can_be_looked_at_and_lifted_by_its_number(http, sandbox):
    number = await sandbox.add_fault(api="graph", behaviour="server_error", probability=1.0, lasts_seconds=60)
    assert (await send(http)).status_code == 500
    (told,) = await sandbox.faults()
    assert (told["id"], told["hits"], told["rule"]["lasts_seconds"]) == (number, 1, 60)
    await sandbox.remove_fault(number)
    assert (await send(http)).status_code == 200
    with pytest.raises(httpx2.HTTPStatusError):
        await sandbox.remove_fault(number)


async def test_what_is_still_to_be_posted_is_counted(http, sandbox):
    assert await sandbox.posting() == {"waiting": 0, "posted": 0, "failed": 0, "refused": 0, "lost": 0, "attempts": 0}


async def test_the_journal_tells_what_a_sender_wrote_into_its_message(http, sandbox):
    body = {"recipient": {"id": PERSON}, "message": {"text": "x", "metadata": "r-1"}, "tag": "HUMAN_AGENT"}
    await http.post(f"/graph/{ACCOUNT}/messages", json=body)
    assert (await sandbox.journal())["entries"][0]["detail"] == {"tag": "HUMAN_AGENT", "metadata": "r-1"}


async def test_the_journal_can_be_narrowed_and_shows_bodies_only_when_asked(http, sandbox):
    await send(http)
    await http.get("/v1/models")
    assert [entry["api"] for entry in (await sandbox.journal(api="graph"))["entries"]] == ["graph"]
    assert "request" not in (await sandbox.journal())["entries"][0]
    assert (await sandbox.journal(bodies=True))["entries"][0]["request"]["recipient"] == {"id": PERSON}


async def test_reset_forgets_what_happened_and_lifts_faults(http, sandbox):
    await send(http)
    await sandbox.add_fault(api="graph", behaviour="server_error")
    await sandbox.reset()
    assert (await sandbox.journal())["entries"] == []
    assert (await sandbox.conversations())["conversations"] == []
    assert (await send(http)).status_code == 200


async def test_a_conversation_shows_what_came_and_what_went_and_by_which_way(http, sandbox):
    simulator = Simulator()
    await sandbox.webhook(simulator.text(PERSON, "شكد السعر؟"), deliver=False)
    await send(http, "تدلل")
    comment = simulator.comment(PERSON, "حلو")
    await sandbox.webhook(comment, deliver=False)
    await http.post(f"/graph/{comment.id}/replies", json={"message": "تسلم"})
    told = await sandbox.conversations()
    (conversation,) = told["conversations"]
    assert [(line["direction"], line["route"], line["kind"], line["text"]) for line in conversation["lines"]] == [
        ("in", "webhook", "message", "شكد السعر؟"),
        ("out", "graph", "message", "تدلل"),
        ("in", "webhook", "comment", "حلو"),
        ("out", "graph", "comment_reply", "تسلم"),
    ]
    assert (await sandbox.conversations(since=told["version"]))["conversations"] == []


async def test_people_and_comments_told_of_are_known(http, sandbox):
    person = await sandbox.tell_person(PERSON, name="زينب", subscriber=False)
    assert (person["name"], person["subscriber"]) == ("زينب", False)
    assert [p["id"] for p in (await http.get(f"/sandbox/people?contact={PERSON}")).json()["people"]] == [PERSON]
    comment = await sandbox.tell_comment("18012345678901234", PERSON, created_seconds_ago=8 * 24 * 3600)
    body = {"recipient": {"comment_id": comment["id"]}, "message": {"text": "متأخر"}}
    late = await http.post(f"/graph/{ACCOUNT}/messages", json=body)
    assert late.json()["error"]["error_subcode"] == 2534025


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("faults", {"api": "graph"}, "behaviour"),
        ("faults", {"api": "teapot", "behaviour": "drop"}, "api"),
        ("people", {"contact": PERSON, "age": 7}, "age"),
        ("people", {}, "contact"),
        ("comments", {"id": "", "contact": PERSON}, "id"),
        ("scripts", {}, "contains"),
    ],
)
async def test_wrong_orders_are_refused_naming_the_field(http, path, body, word):
    response = await http.post(f"/sandbox/{path}", json=body)
    assert response.status_code == 400
    assert word in response.text


async def test_a_webhook_that_is_not_json_is_refused(http):
    assert (await http.post("/sandbox/webhooks", content=b"{")).status_code == 400


async def test_lifting_a_fault_that_is_not_there_says_so(http):
    assert (await http.delete("/sandbox/faults/9")).status_code == 404


async def test_the_page_fetches_nothing_from_elsewhere(http):
    found = []

    class Finder(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.extend(value for name, value in attributes if name in {"src", "href"})

    page = await http.get("/sandbox/")
    Finder().feed(page.text)
    assert page.headers["content-type"].startswith("text/html")
    assert found == []
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "innerHTML" not in page.text


async def test_health_counts(http):
    await send(http)
    health = (await http.get("/health")).json()
    assert (health["status"], health["calls"], health["conversations"]) == ("ok", 1, 1)


def test_running_it_beside_a_test_gives_a_free_port_each_time():
    with running_sandbox() as first, running_sandbox() as second:
        assert first != second
        assert httpx2.get(f"{first}/health").json()["status"] == "ok"
        assert httpx2.get(f"{second}/health").json()["status"] == "ok"


def test_it_runs_as_a_process_on_the_port_of_its_environment_and_ends_when_told():
    with running_sandbox() as free:
        port = free.rpartition(":")[2]
    environment = {**os.environ, "PORT": port, "SANDBOX_ACCOUNT_USERNAME": "my.shop"}
    process = subprocess.Popen([sys.executable, "-m", "devkit.sandbox"], env=environment)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                accounts = httpx2.get(f"http://127.0.0.1:{port}/sandbox/accounts").json()["accounts"]
                break
            except httpx2.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert accounts[0]["username"] == "my.shop"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) in {0, -signal.SIGTERM}
