"""The proxy carries faithfully, and each fault looks to both sides like the real thing."""

import asyncio
import hashlib
import os
import socket
import threading
import time
from contextlib import asynccontextmanager, suppress

import pytest

from devkit.fault_proxy import HOST, FaultProxies, FaultProxy
from devkit.ports import free_port

PATIENCE = 10.0


class Server:
    """Accepts connections in threads and answers each line with itself; what ended a connection is kept."""

    def __init__(self):
        self.endings = []
        self.received = 0
        self._open = []
        self._listening = socket.create_server((HOST, 0))
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection):
        try:
            while some := connection.recv(65536):
                self.received += len(some)
                connection.sendall(some)
            self.endings.append("end")
        except OSError as error:
            self.endings.append(type(error).__name__)
        finally:
            connection.close()

    def say(self, words):
        self._open[-1].sendall(words)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.fixture
def server():
    echoing = Server()
    yield echoing
    echoing.close()


@pytest.fixture
def proxy(server):
    with FaultProxies({"it": FaultProxy(HOST, server.port)}) as proxies:
        yield proxies["it"]


@pytest.fixture
def client(proxy):
    with connected(proxy) as connection:
        assert exchange(connection, b"hello") == b"hello"
        yield connection


def connected(proxy):
    return socket.create_connection((HOST, proxy.port), timeout=PATIENCE)


def exchange(connection, words):
    connection.sendall(words)
    answer = b""
    while len(answer) < len(words) and (some := connection.recv(65536)):
        answer += some
    return answer


def is_silent(connection, seconds=0.2):
    connection.settimeout(seconds)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE)
    return False


def until(condition):
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_a_big_transfer_arrives_whole_both_ways(client):
    sent = os.urandom(20_000_000)
    writing = threading.Thread(target=client.sendall, args=(sent,))
    writing.start()
    seen, count = hashlib.sha256(), 0
    while count < len(sent):
        some = client.recv(1 << 20)
        seen.update(some)
        count += len(some)
    writing.join()
    assert seen.digest() == hashlib.sha256(sent).digest()


def test_an_end_in_order_reaches_the_other_side_and_the_answer_still_comes(server, proxy):
    with connected(proxy) as connection:
        connection.sendall(b"last words")
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").read() == b"last words"
    until(lambda: server.endings == ["end"])
    until(lambda: proxy.connections == 0)


def test_a_sender_is_held_up_when_nobody_reads(server, client):
    client.settimeout(0.5)
    with pytest.raises(TimeoutError):
        client.sendall(bytes(200_000_000))
    assert server.received < 100_000_000


def test_a_cut_resets_both_sides_and_every_new_connection_until_healed(server, proxy, client):
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    until(lambda: server.endings == ["ConnectionResetError"])
    with pytest.raises(ConnectionResetError), connected(proxy) as refused:
        refused.recv(1)
    assert proxy.connections == 0
    proxy.heal()
    with connected(proxy) as again:
        assert exchange(again, b"back") == b"back"


def test_dropped_connections_are_reset_once(server, proxy, client):
    proxy.drop_connections()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    until(lambda: server.endings == ["ConnectionResetError"])
    with connected(proxy) as again:
        assert exchange(again, b"back") == b"back"


def test_a_transfer_is_cut_in_the_middle(proxy, client):
    proxy.delay(30.0)
    client.sendall(bytes(1_000_000))
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_half_open_silences_both_directions_and_healing_resets_both_sides(server, proxy, client):
    before = server.received
    proxy.half_open()
    client.sendall(b"anybody there?")
    server.say(b"hello?")
    assert is_silent(client)
    assert server.received == before
    assert server.endings == []
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    until(lambda: server.endings == ["ConnectionResetError"])
    assert server.received == before
    until(lambda: proxy.connections == 0)


def test_half_open_hides_even_that_the_other_side_is_gone(server, proxy, client):
    proxy.half_open()
    client.close()
    time.sleep(0.1)  # what must not happen has no condition to wait for
    assert server.endings == []
    proxy.heal()
    until(lambda: server.endings == ["ConnectionResetError"])


@pytest.mark.parametrize("ending", ["heal", "cut"])
def test_a_connection_made_while_half_open_is_accepted_silent_and_reset_afterwards(server, proxy, ending):
    proxy.half_open()
    with connected(proxy) as connection:
        connection.sendall(b"hello")
        assert is_silent(connection)
        assert server.received == 0
        getattr(proxy, ending)()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_half_open_stops_a_transfer_that_was_held_up(server, proxy):
    with connected(proxy) as connection:
        proxy.delay(30.0)
        connection.sendall(b"held back")
        proxy.half_open()
        proxy.delay(0.0)
        assert is_silent(connection)
        assert server.received == 0


def test_a_delay_holds_each_direction_and_ends_when_it_is_lifted(proxy, client):
    proxy.delay(0.15)
    begun = time.monotonic()
    assert exchange(client, b"slow") == b"slow"
    assert time.monotonic() - begun >= 0.3
    proxy.delay(60.0)
    client.sendall(b"stuck")
    assert is_silent(client)
    proxy.heal()
    assert client.recv(5) == b"stuck"


def test_a_negative_delay_is_refused(proxy):
    with pytest.raises(ValueError, match="delay"):
        proxy.delay(-1)


def test_a_target_that_is_down_resets_and_one_that_is_back_is_reached_again():
    port = free_port()
    with FaultProxies({"it": FaultProxy(HOST, port)}) as proxies:
        with pytest.raises(ConnectionResetError), connected(proxies["it"]) as refused:
            refused.recv(1)
        with socket.create_server((HOST, port)) as late, connected(proxies["it"]) as reached:
            other, _ = late.accept()
            other.sendall(b"here")
            other.close()
            assert reached.recv(10) == b"here"


def test_faults_of_one_proxy_leave_the_others_alone_and_all_heal_together(server):
    names = ("a", "b")
    with FaultProxies({name: FaultProxy(HOST, server.port) for name in names}) as proxies:
        assert set(proxies) == set(names)
        proxies["a"].cut()
        with connected(proxies["b"]) as whole:
            assert exchange(whole, b"whole") == b"whole"
        proxies.heal()
        with connected(proxies["a"]) as healed:
            assert exchange(healed, b"healed") == b"healed"


def test_a_taken_port_is_told_and_nothing_is_left_running(server):
    free = FaultProxy(HOST, server.port)
    proxies = FaultProxies({"free": free, "taken": FaultProxy(HOST, server.port, port=server.port)})
    with pytest.raises(OSError, match="in use"):
        proxies.start()
    with pytest.raises(ConnectionRefusedError):
        connected(free)
    proxies.stop()


def test_proxies_start_again_on_their_ports(server):
    proxies = FaultProxies({"it": FaultProxy(HOST, server.port)})
    for _ in range(2):
        with proxies, connected(proxies["it"]) as connection:
            assert exchange(connection, b"x") == b"x"


def test_faults_from_many_threads_at_once_leave_a_working_proxy(server, proxy):
    def harass(fault):
        for _ in range(30):
            getattr(proxy, fault)()
            with suppress(OSError), connected(proxy) as connection:
                connection.settimeout(0.01)
                exchange(connection, b"x")

    threads = [
        threading.Thread(target=harass, args=(fault,)) for fault in ("cut", "drop_connections", "half_open", "heal")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    proxy.heal()
    until(lambda: proxy.connections == 0)
    with connected(proxy) as connection:
        assert exchange(connection, b"alive") == b"alive"


@asynccontextmanager
async def in_this_loop(server):
    proxy = FaultProxy(HOST, server.port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


async def test_inside_the_proxys_own_loop_a_fault_does_not_block(server):
    async with in_this_loop(server) as proxy, asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        with suppress(ConnectionResetError):
            await writer.wait_closed()


async def test_a_proxy_that_runs_refuses_a_second_start(server):
    async with in_this_loop(server) as proxy:
        with pytest.raises(RuntimeError, match="runs already"):
            await proxy.start()
