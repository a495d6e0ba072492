"""One outside call on real sockets: when may the other side have seen the request?"""

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import Monotonic
from common.http_client import http_client
from common.platform_clock import RemoteClock
from delivery.platforms.calls import (
    LONGEST_WAIT,
    MAX_ANSWER_BYTES,
    Answer,
    NoAnswer,
    OutsideApi,
    looking_last,
    retry_after,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def server(behave):
    """Run `behave(reader, writer)` for each connection; leave neither a task nor a socket behind."""
    serving = set()

    async def connected(reader, writer):
        serving.add(asyncio.current_task())
        try:
            with contextlib.suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
                await behave(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    running = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    finally:
        running.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await running.wait_closed()


async def called(url, timeout=0.5, path="/x"):
    seconds = []
    async with httpx2.AsyncClient(trust_env=False) as client:
        api = OutsideApi("graph", client, url, timeout=timeout, observe=lambda *said: seconds.append(said))
        answer = await api.call("POST", path, name="send", token="t", body={"a": 1})
    assert [one[:2] for one in seconds] == [("graph", "send")]
    return answer


def answering(status, body=b"{}", headers=b""):
    async def behave(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n%s\r\n" % (status, len(body), headers) + body)
        await writer.drain()

    return behave


async def test_an_answer_is_its_status_its_json_and_how_long_to_wait():
    async with server(answering(429, b'{"a": 1}', b"retry-after: 7\r\n")) as url:
        assert await called(url) == Answer(429, {"a": 1}, 7.0)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (rb"half an emoji \ud83d", "half an emoji \ufffd"),
        (rb"\uDE00 the other", "\ufffd the other"),
        (rb"a whole one \ud83d\ude00", "a whole one \U0001f600"),
        (rb"no escape \\ud83d", "no escape \\ud83d"),
    ],
)
async def test_half_an_emoji_in_an_answer_is_replaced(text, read):
    """No store and no record can keep it: a message that is looked up with one would never be published."""
    async with server(answering(200, b'{"data": [{"message": "%s"}]}' % text)) as url:
        answer = await called(url)
    assert answer.body == {"data": [{"message": read}]}


async def test_an_answer_that_is_no_json_has_no_body():
    async with server(answering(502, b"<html>")) as url:
        assert await called(url) == Answer(502, None)


async def test_an_endless_answer_is_not_kept():
    async with server(answering(200, b"[" + b"1," * MAX_ANSWER_BYTES)) as url:
        assert await called(url, timeout=5) == Answer(200, None)


async def test_no_cookie_of_an_answer_is_kept():
    """One client calls for all merchants: what is set for one would be sent for the next, and kept for ever."""
    asked = []

    async def behave(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nset-cookie: who=merchant-a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()

    async with server(behave) as url, http_client(timeout=5) as client:
        api = OutsideApi("manychat", client, url, timeout=5, observe=lambda *_: None)
        for _ in range(2):
            assert isinstance(await api.call("GET", "/", name="x"), Answer)
        assert not list(client.cookies.jar)
    assert [b"cookie" in one.lower() for one in asked] == [False, False]


async def test_a_redirect_is_not_followed():
    async with server(answering(302, b"", b"location: http://127.0.0.1:1/\r\n")) as url:
        assert await called(url) == Answer(302, None)


async def test_a_refused_connection_sent_nothing():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert await called(f"http://127.0.0.1:{port}") == NoAnswer(left=False, evidence="ConnectError")


async def test_a_hanging_server_may_have_seen_the_request():
    async def hang(reader, writer):
        await reader.read(10)
        await asyncio.sleep(30)

    async with server(hang) as url:
        answer = await called(url, timeout=0.2)
    assert isinstance(answer, NoAnswer)
    assert answer.left


async def test_a_connection_that_is_cut_after_the_request_may_have_seen_it():
    async def cut(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with server(cut) as url:
        answer = await called(url)
    assert isinstance(answer, NoAnswer)
    assert answer.left


async def test_an_answer_that_trickles_ends_with_the_whole_calls_timeout():
    async def trickle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(200):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with server(trickle) as url:
        began = asyncio.get_running_loop().time()
        answer = await called(url, timeout=0.3)
        assert asyncio.get_running_loop().time() - began < 8  # the whole answer takes ten seconds
    assert answer == NoAnswer(left=True, evidence="TimeoutError")


@pytest.mark.parametrize(
    ("address", "evidence"),
    [
        ("no-address", "UnsupportedProtocol"),
        ("http://127.0.0.1:65536/", "UnsupportedProtocol"),
        ("http://127.0.0.1:99999/", "UnsupportedProtocol"),
        ("http://127.0.0.1:0/", "ConnectError"),
        (f"http://{'a' * 64}.test/", "ConnectError"),
        ("http://a..test/", "ConnectError"),
    ],
)
async def test_an_address_that_is_none_sent_nothing(address, evidence):
    assert await called("", path=address) == NoAnswer(left=False, evidence=evidence)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("999999", 3600.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999999999", None),
        ("9" * 5000, 3600.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header, seconds):
    assert retry_after(header, NOW) == seconds


@given(
    header=st.text(max_size=60)
    | st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{1,30} Jan [0-9]{1,30} [0-9]{1,30}:[0-9]{1,30} [+-][0-9]{1,30}\Z")
)
def test_whatever_stands_in_a_header_it_is_a_wait_or_none(header):
    """The address of an agent is the merchant's own: its answers may say anything."""
    wait = retry_after(header, NOW)
    assert wait is None or 0 <= wait <= LONGEST_WAIT
    clock = RemoteClock()
    clock.observe(header, Monotonic(0.0), Monotonic(0.1))


class Refused(Exception):
    """The caller's look found that the call may not begin."""


class TestLookingLast:
    async def test_the_look_is_made_when_the_connection_is_there_and_before_the_first_byte(self):
        arrived, go_on = [], asyncio.Event()

        async def behave(reader, writer):
            arrived.append(await reader.readuntil(b"\r\n\r\n"))
            await go_on.wait()
            writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
            await writer.drain()

        allowed = [True]

        async def look():
            if not allowed[0]:
                raise Refused

        async with server(behave) as url:
            limits = httpx2.Limits(max_connections=1)
            async with httpx2.AsyncClient(trust_env=False, limits=limits) as client:
                api = OutsideApi("graph", client, url, timeout=20, observe=lambda *_: None)

                async def call():
                    with looking_last(look):
                        return await api.call("POST", "/x", name="send", body={"a": 1})

                first = asyncio.create_task(call())
                async with asyncio.timeout(10):
                    while not arrived:
                        await asyncio.sleep(0)
                    second = asyncio.create_task(call())  # it waits for the only connection
                    await asyncio.sleep(0)
                    allowed[0] = False
                    go_on.set()
                    assert (await first).status == 200
                    with pytest.raises(Refused):
                        await second
        assert len(arrived) == 1

    async def test_a_look_that_takes_too_long_sends_nothing(self):
        seen = []

        async def behave(reader, writer):
            seen.append(await reader.read(1))

        async with server(behave) as url:
            with looking_last(asyncio.Event().wait):
                answer = await called(url, timeout=0.2)
        assert answer == NoAnswer(left=False, evidence="TimeoutError")
        assert seen in ([], [b""])

    async def test_outside_of_it_nobody_looks(self):
        async with server(answering(200)) as url:
            with looking_last(None):
                assert (await called(url)).status == 200
