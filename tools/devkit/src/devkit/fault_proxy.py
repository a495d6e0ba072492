"""A TCP proxy that can be broken on purpose: what stands between a client and its server when a test cuts the wire.

The sockets are read and written without streams between: a byte is read only when the byte before it has left, so
nothing piles up here, back-pressure reaches the sender, and a fault strikes in the middle of a transfer too.

`FaultProxy` lives in an event loop; `FaultProxies` runs several in a thread of its own for blocking code. Faults may
be set from any thread. Set from another thread than the proxy's, they hold when the call returns; set inside its
loop, at the loop's next turns.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Self

from devkit.ports import free_ports

HOST = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
BACKLOG = 512
CONNECT_SECONDS = 5.0
APPLIED_WITHIN_SECONDS = 10.0
ACCEPT_PAUSE_SECONDS = 0.05
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, no seconds: close() sends RST


class _Wire(Enum):
    WHOLE = "whole"
    CUT = "cut"
    HALF_OPEN = "half_open"


@dataclass(eq=False)
class _Pair:
    """One client's connection and the one to the server for it; `silent` ones are held and never carry again."""

    client: socket.socket
    server: socket.socket | None = None
    carrying: asyncio.Task[bool] | None = None
    silent: bool = False

    def close(self, *, reset: bool) -> None:
        for end in (self.client, self.server):
            if end is None:
                continue
            if reset:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            end.close()


class FaultProxy:
    """Listens on 127.0.0.1:`port` and carries each connection to the target, as well as its faults let it.

    `port` 0 picks a free one; it is known before the start and stays the same over stop and start. A target that
    refuses shows as a reset connection.
    """

    def __init__(self, target_host: str, target_port: int, *, port: int = 0) -> None:
        self.target = (target_host, target_port)
        self.port = port or free_ports(1)[0]
        self._wire = _Wire.WHOLE
        self._delay = 0.0
        self._changed = asyncio.Event()
        self._pairs: set[_Pair] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listening: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected now, silent ones too."""
        return len(self._pairs)

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken, `RuntimeError` when it listens already."""
        if self._loop is not None:
            raise RuntimeError(f"the proxy on port {self.port} runs already")
        listening = socket.create_server((HOST, self.port), backlog=BACKLOG)
        listening.settimeout(0)
        self._listening = listening
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._accepting = asyncio.create_task(self._accept(listening), name=f"fault proxy {self.port}")

    async def stop(self) -> None:
        """Stop listening and reset what is open. The faults set stay set. May be called twice."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            self._accepting = None
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        await _all_ended(self._reset_open())
        self._loop = None

    # Faults

    def cut(self) -> None:
        """Reset every open connection and, until `heal()`, each new one."""
        self._apply(partial(self._set_wire, _Wire.CUT))

    def drop_connections(self) -> None:
        """Reset every open connection once; new ones are carried as before."""
        self._apply(self._reset_open)

    def half_open(self) -> None:
        """Let nothing pass either way, ends of connections neither: until `heal()` both sides wait for the other.

        New connections are accepted and as silent. `heal()` and `cut()` reset the silent ones.
        """
        self._apply(partial(self._set_wire, _Wire.HALF_OPEN))

    def delay(self, seconds: float) -> None:
        """Hold back every piece for so long before it goes on, each way; later bytes wait behind it."""
        if seconds < 0:
            raise ValueError(f"delay: {seconds} seconds; give 0 or more")
        self._apply(partial(self._set_delay, seconds))

    def heal(self) -> None:
        """Lift every fault; connections that were silent are reset, so that both sides notice."""
        self._apply(self._heal)

    def _set_wire(self, wire: _Wire) -> list[asyncio.Task[bool]]:
        self._wire = wire
        if wire is _Wire.CUT:
            return self._reset_open()
        ending = []
        for pair in self._pairs:
            pair.silent = True
            if pair.carrying is not None and pair.carrying.cancel():
                ending.append(pair.carrying)
        return ending

    def _set_delay(self, seconds: float) -> list[asyncio.Task[bool]]:
        self._delay = seconds
        self._changed.set()
        self._changed = asyncio.Event()
        return []

    def _heal(self) -> list[asyncio.Task[bool]]:
        self._wire = _Wire.WHOLE
        self._set_delay(0.0)
        return self._reset([pair for pair in self._pairs if pair.silent])

    def _reset_open(self) -> list[asyncio.Task[bool]]:
        return self._reset(list(self._pairs))

    def _reset(self, pairs: Iterable[_Pair]) -> list[asyncio.Task[bool]]:
        ending = []
        for pair in pairs:
            pair.silent = False
            if pair.carrying is not None and pair.carrying.cancel():
                ending.append(pair.carrying)
            else:
                self._pairs.discard(pair)
                pair.close(reset=True)
        return ending

    def _apply(self, change: Callable[[], list[asyncio.Task[bool]]]) -> None:
        loop = self._loop
        try:
            inside = asyncio.get_running_loop() is loop
        except RuntimeError:
            inside = False
        if loop is None or inside:
            change()
            return

        async def changed() -> None:
            await _all_ended(change())

        asyncio.run_coroutine_threadsafe(changed(), loop).result(APPLIED_WITHIN_SECONDS)

    # Carrying

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(listening)
            except OSError:  # the client is gone again, or no descriptor is left for the moment
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            pair = _Pair(client)
            if self._wire is _Wire.CUT:
                pair.close(reset=True)
                continue
            self._pairs.add(pair)
            if self._wire is _Wire.HALF_OPEN:
                pair.silent = True
                continue
            pair.carrying = asyncio.create_task(self._carry(pair))
            pair.carrying.add_done_callback(partial(self._ended, pair))

    def _ended(self, pair: _Pair, carrying: asyncio.Task[bool]) -> None:
        """Close a pair's sockets once nothing waits on them any more, or keep them open and silent."""
        if carrying.cancelled() and pair.silent:
            return
        self._pairs.discard(pair)
        pair.close(reset=carrying.cancelled() or carrying.exception() is not None or not carrying.result())

    async def _carry(self, pair: _Pair) -> bool:
        """Carry both ways until both have ended; say whether they ended in order."""
        in_order = True
        try:
            pair.server = server = await self._connect()
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass_on(pair.client, server))
                ways.create_task(self._pass_on(server, pair.client))
        except* OSError:
            in_order = False
        return in_order

    async def _connect(self) -> socket.socket:
        server = socket.socket()
        try:
            server.settimeout(0)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(server, self.target)
        except BaseException:
            server.close()
            raise
        return server

    async def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            piece = await loop.sock_recv(source, CHUNK_BYTES)
            await self._hold_back()
            if not piece:
                sink.shutdown(socket.SHUT_WR)
                return
            await loop.sock_sendall(sink, piece)

    async def _hold_back(self) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        while (left := since + self._delay - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)


async def _all_ended(tasks: list[asyncio.Task[bool]]) -> None:
    """Wait until the tasks have ended and their callbacks have closed the sockets."""
    if tasks:
        await asyncio.wait(tasks)
        await asyncio.sleep(0)


class FaultProxies:
    """Several proxies, each under a name, in a thread of their own. Methods block; any thread may call them."""

    def __init__(self, proxies: Mapping[str, FaultProxy]) -> None:
        self._proxies = dict(proxies)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None

    def __getitem__(self, name: str) -> FaultProxy:
        """Return the proxy of that name."""
        return self._proxies[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self._proxies)

    def __len__(self) -> int:
        """Count the proxies."""
        return len(self._proxies)

    def __contains__(self, name: object) -> bool:
        """Say whether there is a proxy of that name."""
        return name in self._proxies

    def heal(self) -> None:
        """Lift every fault of every proxy."""
        for proxy in self._proxies.values():
            proxy.heal()

    def start(self) -> None:
        """Start all of them; when one cannot (its port is taken: `OSError`), none runs."""
        if self._thread is not None:
            raise RuntimeError("the fault proxies run already")
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started)), name="fault proxies", daemon=True
        )
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._thread.join()
            self._thread = None
            raise

    def stop(self) -> None:
        """Stop all of them, resetting what is open. May be called twice."""
        if self._thread is None or self._loop is None or self._ending is None:
            return
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        self._thread = self._loop = self._ending = None

    def __enter__(self) -> Self:
        """Start all of them."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all of them."""
        self.stop()

    async def _run(self, started: Future[None]) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        running: list[FaultProxy] = []
        try:
            for proxy in self._proxies.values():
                await proxy.start()
                running.append(proxy)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked for the start
            started.set_exception(error)
        else:
            started.set_result(None)
            await self._ending.wait()
        finally:
            for proxy in running:
                await proxy.stop()
