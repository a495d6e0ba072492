"""Media is fetched from the hosts on the list and from the open Internet only, within its bounds."""

import asyncio
import contextlib

import httpcore2
import pytest

from ai.media.download import Downloads, NotFetched, PublicNetwork
from ai.media.links import AllowedHosts

KINDS = ("audio/", "image/")


class Server:
    """Answers each request with the next of its answers, the last one for ever; notes what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []
        self.talks = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await asyncio.gather(*self.talks)
        await self.server.wait_closed()

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.port}"

    async def talk(self, reader, writer):
        self.talks.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self.serve(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def serve(self, reader, writer):
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        writer.write(answer if isinstance(answer, bytes) else answer(self))
        await writer.drain()


def answer(body=b"abc", *, status=200, kind="audio/mp4", length=True, **headers):
    told = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", "Connection: close"]
    told += [f"Content-Length: {len(body)}"] if length else []
    told += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*told, "", ""]).encode() + body


def moved(to, status=302):
    return lambda server: answer(b"", status=status, Location=to.replace("{origin}", server.origin))


async def fetch(server, url="{origin}/a", *, hosts=(), most=1000, timeout=5.0, resolve=None):
    downloads = Downloads(AllowedHosts([server.origin, *hosts]), timeout=timeout, most_bytes=most, resolve=resolve)
    try:
        return await downloads.fetch(url.replace("{origin}", server.origin), kinds=KINDS)
    finally:
        await downloads.aclose()


async def reason(server, url="{origin}/a", **more):
    with pytest.raises(NotFetched) as failure:
        await fetch(server, url, **more)
    return failure.value.reason


async def test_media_is_fetched_with_its_type_and_without_credentials():
    async with Server(answer(kind="Audio/MP4; codecs=x")) as server:
        found = await fetch(server, "{origin}/a?b=c")
    assert (found.content, found.media_type) == (b"abc", "audio/mp4")
    (asked,) = server.asked
    assert asked.startswith("GET /a?b=c HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n" in asked
    assert "accept-encoding: identity" in asked
    assert not {"authorization", "cookie", "referer"} & {line.partition(":")[0].lower() for line in asked.splitlines()}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["{origin}/b", "/b", "b"])
async def test_a_redirect_inside_the_list_is_followed(status, to):
    async with Server(moved(to, status), answer()) as server:
        assert (await fetch(server)).content == b"abc"
    assert server.asked[1].startswith("GET /b ")


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/x",
        "//evil.example/x",
        "http://127.0.0.1:1/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/x",
        "http://localhost/x",
        "file:///etc/passwd",
        "https://user@lookaside.fbsbx.com/x",
        "http://lookaside.fbsbx.com/x",
        "\\\\evil.example\\x",
        "javascript:alert(1)",
        "http://[::1",
        "//[",
        "http://a]b/",
    ],
)
async def test_a_redirect_elsewhere_is_not_followed(to):
    async with Server(moved(to), answer()) as server:
        assert await reason(server, hosts=["lookaside.fbsbx.com"]) == "not_allowed"
    assert len(server.asked) == 1


async def test_redirects_end():
    async with Server(moved("/again")) as server:
        assert await reason(server) == "too_many_redirects"
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (answer(b"x" * 1001), "too_big"),
        (answer(b"x" * 1001, length=False), "too_big"),
        (answer(b"x", **{"X-Note": "1"}).replace(b"Content-Length: 1", b"Content-Length: 99999999999"), "too_big"),
        (answer(kind="text/html"), "wrong_type"),
        (answer(kind=""), "wrong_type"),
        (answer(kind="application/json"), "wrong_type"),
        (answer(**{"Content-Encoding": "gzip"}), "wrong_type"),
        (answer(status=404), "refused"),
        (answer(status=403), "refused"),
        (answer(status=302), "refused"),
        (answer(status=206), "refused"),
        (answer(status=500), "unavailable"),
        (answer(status=429), "unavailable"),
        (answer(b"abc").replace(b"Content-Length: 3", b"Content-Length: 30"), "unavailable"),
        (b"", "unavailable"),
        (b"nonsense\r\n\r\n", "unavailable"),
    ],
)
async def test_what_is_not_the_media_has_its_reason(one, expected):
    async with Server(one) as server:
        assert await reason(server) == expected


async def test_exactly_the_most_bytes_are_not_too_many():
    async with Server(answer(b"x" * 1000, length=False)) as server:
        assert len((await fetch(server)).content) == 1000


async def test_a_server_that_drips_is_left_when_the_time_is_over():
    async def drip(reader, writer):
        writer.write(answer(b"", length=False))
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    server = Server(b"")
    server.serve = drip
    async with server:
        async with asyncio.timeout(30):  # the answer itself never ends
            assert await reason(server, timeout=0.2, most=1_000_000) == "timeout"


async def test_nobody_there_is_worth_another_try():
    async with Server(b"") as server:
        pass
    assert await reason(server) == "unavailable"


class Resolver:
    """Answers the first question with the first of its answers, and so on."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        return found


class Wire:
    """Notes where it is asked to connect to, and never does."""

    def __init__(self):
        self.connected = []

    async def connect_tcp(self, host, port, *_):
        self.connected.append((host, port))
        raise OSError("a test connects to nobody")


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:10.0.0.1"],
        ["fe80::1%eth0"],
        ["8.8.8.8", "127.0.0.1"],
        ["fd00:ec2::254", "8.8.8.8"],
        [],
    ],
)
async def test_a_host_that_leads_inside_is_not_connected_to(addresses):
    wire = Wire()
    network = PublicNetwork(Resolver(addresses), backend=wire)
    with pytest.raises(NotFetched, match="not_public"):
        await network.connect_tcp("lookaside.fbsbx.com", 443)
    assert wire.connected == []


async def test_what_was_looked_at_is_what_is_connected_to():
    """Whoever answers a second question differently (DNS rebinding) is not asked a second one."""
    resolver, wire = Resolver(["8.8.8.8"], ["127.0.0.1"]), Wire()
    network = PublicNetwork(resolver, backend=wire)
    with pytest.raises(OSError, match="nobody"):
        await network.connect_tcp("lookaside.fbsbx.com", 443)
    assert (len(resolver.asked), wire.connected) == (1, [("8.8.8.8", 443)])


async def test_a_host_on_the_list_whose_name_leads_inside_is_refused():
    async with Server(answer()) as server:
        for inside in (["127.0.0.1"], ["::1"], ["10.0.0.1"]):
            found = await reason(server, "https://x.fbcdn.net/a", hosts=["*.fbcdn.net"], resolve=Resolver(inside))
            assert found == "not_public"
    assert server.asked == []


async def test_a_redirect_to_a_host_whose_name_leads_inside_is_refused():
    resolver = Resolver(["127.0.0.1"])
    async with Server(moved("https://x.fbcdn.net/a")) as server:
        assert await reason(server, hosts=["*.fbcdn.net"], resolve=resolver) == "not_public"
    assert resolver.asked[-1] == ("x.fbcdn.net", 443)


async def test_a_name_that_cannot_be_resolved_is_worth_another_try():
    async with Server(answer()) as server:
        assert await reason(server, resolve=Resolver(OSError("no such host"))) == "unavailable"


async def test_tls_asks_for_the_hosts_name_although_an_address_is_connected_to():
    heard = asyncio.get_running_loop().create_future()

    async def listen(reader, writer):
        heard.set_result(await reader.read(2000))

    server = Server(b"")
    server.serve = listen
    async with server:

        class Here(httpcore2.AnyIOBackend):
            async def connect_tcp(self, host, port, *rest):
                assert (host, port) == ("8.8.8.8", 443)
                return await super().connect_tcp("127.0.0.1", server.port, *rest)

        hosts, resolve = AllowedHosts(["*.fbcdn.net"]), Resolver(["8.8.8.8"])
        downloads = Downloads(hosts, timeout=5, most_bytes=10, resolve=resolve, backend=Here())
        with pytest.raises(NotFetched, match="unavailable"):
            await downloads.fetch("https://video.xx.fbcdn.net/a", kinds=KINDS)
        await downloads.aclose()
    hello = await heard
    assert hello[0] == 0x16
    assert b"video.xx.fbcdn.net" in hello
