"""Breaks what a plan breaks, and starts again what ended, as Kubernetes would.

A process that is to die at a named place is killed and started again with that failpoint armed; whoever did not come by
its place is restarted without it in the end. Calls of the stack block, so they run in threads.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import httpx2
from aiokafka.errors import KafkaError
from customers import Customers
from log_breakage import LogBreakage
from log_steps import ForeignRecords, ForgeCommits, Transaction, Truncate
from pymongo.errors import PyMongoError
from steps import (
    BendEchoes,
    BreakWire,
    ClockSkew,
    EchoesAgain,
    Fault,
    Freeze,
    Kill,
    KillAt,
    MerchantTrouble,
    Misbehave,
    Replica,
    Restart,
)
from tenant_troubles import MisbehavingMerchant

from devkit.process import ProcessError
from devkit.sandbox.client import SandboxClient
from devkit.stack import Stack

TRIES = 4
VICTIM_WITHIN = 10.0
"""Seconds to wait for a process to be at work before it is killed."""
AT_WORK_SECONDS = 1.0
"""How long it may be at work before."""
LOOK_SECONDS = 0.25
WATCH_SECONDS = 0.15
THREADS = 24
GRACE_SECONDS = 20.0
SIGKILLED = -9
ECHOED = frozenset({"sendContent", "message", "private_reply"})

T = TypeVar("T")
Note = Callable[[str], None]


class Breakage:
    """Everything that goes wrong, and the processes' keeper."""

    def __init__(
        self,
        stack: Stack,
        sandbox: SandboxClient,
        client: httpx2.AsyncClient,
        customers: Customers,
        *,
        logs: LogBreakage,
        merchant: MisbehavingMerchant,
        seed: int,
        counts: Counter[str],
        note: Note,
        sabotage: str = "",
    ) -> None:
        self._stack = stack
        self._sandbox = sandbox
        self._client = client
        self._customers = customers
        self._logs = logs
        self._merchant = merchant
        self._seed = seed
        self._counts = counts
        self._note = note
        self._sabotage = sabotage
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="breakage")
        self._wanted = set(stack.names())
        self._arming: dict[str, str] = {}
        self._clocks: dict[str, float] = {}
        self._named: set[str] = set()
        self._armed: set[str] = set()
        self._killed: set[str] = set()
        self._frozen: set[str] = set()
        self._acts: Mapping[type[Any], Callable[[Any], Awaitable[None]]] = {
            Kill: self._on_kill,
            KillAt: self._on_kill_at,
            Restart: self._on_restart,
            Freeze: self._on_freeze,
            Replica: self._on_replica,
            BreakWire: self._on_break_wire,
            Misbehave: self._on_misbehave,
            BendEchoes: self._on_bend_echoes,
            EchoesAgain: self._on_echoes_again,
            ClockSkew: self._on_clock_skew,
            MerchantTrouble: self._on_merchant_trouble,
            ForeignRecords: logs.append_foreign,
            Transaction: logs.transact,
            Truncate: logs.truncate,
            ForgeCommits: self._on_forge_commits,
        }

    async def carry_out(self, fault: Fault) -> None:
        """Carry one fault out to its end. What cannot be done is noted and counted."""
        self._note(str(fault))
        try:
            await self._acts[type(fault)](fault)
        except (ProcessError, KeyError, httpx2.HTTPError, KafkaError, PyMongoError, OSError) as error:
            self._note(f"not carried out: {fault}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
            self._counts["faults not carried out"] += 1

    async def heal(self) -> None:
        """Make everything whole, and disarm what did not come by its place."""
        self._note("all is made whole")
        self._arming.clear()
        await self._blocking(self._stack.faults.heal)
        await self._sandbox.clear_faults()
        await self._straighten_echoes()
        await self._merchant.open_shop()
        for name in list(self._frozen):
            await self._blocking(partial(self._stack.thaw, name))
        for name in list(self._armed & set(self._stack.names())):
            await self._restart(name)

    async def keep_running(self) -> None:
        """Start what ended again, for ever."""
        while True:
            for name in self._stack.names():
                process = self._stack.processes.get(name)
                if process is not None and name in self._wanted and not process.running:
                    self._count_end(name, process.exit_code)
                    await self._start(name)
            await asyncio.sleep(WATCH_SECONDS)

    def down(self) -> list[str]:
        """Return the processes that do not run now."""
        processes = self._stack.processes
        return [name for name in self._stack.names() if name in processes and not processes[name].running]

    def close(self) -> None:
        """Let go of the threads; what still blocks in one ends by its own bound."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _start(self, name: str) -> None:
        arm = self._arming.pop(name, None)
        (self._armed.add if arm else self._armed.discard)(name)
        settings = {"JAWAB_FAILPOINT": ",".join(filter(None, (self._sabotage, arm)))} if arm else {}
        if name in self._named:
            settings["KAFKA_GROUP_INSTANCE_ID"] = name
        if name in self._clocks:
            settings["JAWAB_CLOCK_OFFSET"] = f"{self._clocks[name]:g}"
        try:
            await self._blocking(partial(self._stack.start_service, name, settings, wait=False))
        except (ProcessError, KeyError) as error:
            self._note(f"{name} could not be started: {error}")

    def _count_end(self, name: str, exit_code: int | None) -> None:
        if name in self._killed:
            self._killed.discard(name)
        elif exit_code == SIGKILLED and name in self._armed:
            self._counts["kills"] += 1
            self._counts["kills at a named place"] += 1
            self._note(f"{name} died at its place")
        elif exit_code:
            self._counts["services that ended by themselves"] += 1
            self._note(f"{name} ended by itself with {exit_code}")

    # What each fault is

    async def _on_kill(self, fault: Kill) -> None:
        if fault.victim in {"kafka", "mongo"}:
            await self._kill_store(fault.victim)
        else:
            name = self._chosen(fault.victim, newest=fault.newest)
            await self._kill(name, named=fault.named, starting=fault.starting)

    async def _on_kill_at(self, fault: KillAt) -> None:
        name = self._chosen(fault.victim)
        await self._at_work(name)
        self._arming[name] = f"{fault.place}={fault.nth}"
        await self._kill(name, named=fault.named, starting=True)

    async def _kill(self, name: str, *, named: bool, starting: bool = False) -> None:
        """SIGKILL a process that is at work, or one that just starts."""
        if not starting:
            await self._at_work(name)
        self._killed.add(name)
        (self._named.add if named else self._named.discard)(name)
        await self._blocking(partial(self._stack.kill, name))
        self._counts["kills"] += 1
        self._counts[f"kills of {name.partition('-')[0]}"] += 1

    async def _at_work(self, name: str) -> None:
        """Wait until a process is ready, and a little; a frozen one never will be and need not."""
        give_up = time.monotonic() + VICTIM_WITHIN
        while time.monotonic() < give_up and name not in self._frozen:
            with contextlib.suppress(httpx2.TransportError):
                response = await self._client.get(f"{self._stack.url(name)}/readyz", timeout=1.0)
                if response.is_success:
                    await asyncio.sleep(AT_WORK_SECONDS)
                    return
            await asyncio.sleep(LOOK_SECONDS)

    async def _kill_store(self, store: str) -> None:
        server = self._stack.kafka if store == "kafka" else self._stack.mongo
        if server is None:
            return
        await self._blocking(server.kill)
        self._counts["kills"] += 1
        self._counts[f"kills of {store}"] += 1
        begun = time.monotonic()
        for left in range(TRIES, 0, -1):
            try:
                await self._blocking(server.start)
                break
            except ProcessError:
                if left == 1:
                    raise
        self._note(f"{store} is back after {time.monotonic() - begun:.1f} s")

    async def _on_restart(self, fault: Restart) -> None:
        await self._restart(self._chosen(fault.service))

    async def _restart(self, name: str) -> None:
        """SIGTERM and wait for the end; the keeper starts it again."""
        self._wanted.discard(name)
        try:
            ended = await self._blocking(partial(self._stack.stop_service, name, GRACE_SECONDS))
            self._counts["restarts"] += 1
            if ended.exit_code == SIGKILLED and ended.seconds >= GRACE_SECONDS:
                self._counts["restarts past the grace period"] += 1
                self._note(f"{name} did not end within {GRACE_SECONDS:g} s of SIGTERM")
        finally:
            self._killed.add(name)  # its end is accounted for, whatever its exit code
            self._wanted.add(name)

    async def _on_clock_skew(self, fault: ClockSkew) -> None:
        name = self._chosen(fault.service)
        self._clocks[name] = fault.ahead
        await self._restart(name)
        self._counts["clocks set apart"] += 1

    async def _on_merchant_trouble(self, fault: MerchantTrouble) -> None:
        async with self._merchant.in_trouble(fault.trouble):
            await asyncio.sleep(fault.seconds)
        self._counts["another merchant's troubles"] += 1

    async def _on_forge_commits(self, fault: ForgeCommits) -> None:
        """Kill every process of a group, forge its commits and let the keeper start them again."""
        names = self._stack.names(fault.group)
        self._wanted.difference_update(names)
        try:
            for name in names:
                self._killed.add(name)
                await self._blocking(partial(self._stack.kill, name))
            await self._logs.forge(fault)
        finally:
            self._wanted.update(names)

    async def _on_freeze(self, fault: Freeze) -> None:
        name = self._chosen(fault.service)
        await self._blocking(partial(self._stack.freeze, name))
        self._frozen.add(name)
        self._counts["freezes"] += 1
        await asyncio.sleep(fault.seconds)
        self._frozen.discard(name)
        await self._blocking(partial(self._stack.thaw, name))

    async def _on_replica(self, fault: Replica) -> None:
        begun = time.monotonic()
        name = await self._blocking(partial(self._stack.start_replica, fault.service, wait=False))
        self._wanted.add(name)
        self._counts["replicas added"] += 1
        await asyncio.sleep(max(0.0, fault.seconds - (time.monotonic() - begun)))
        self._wanted.discard(name)
        await self._blocking(partial(self._stack.remove, name, GRACE_SECONDS))
        self._counts["replicas removed"] += 1

    async def _on_break_wire(self, fault: BreakWire) -> None:
        proxy = self._stack.faults[fault.wire]
        acts: Mapping[str, Callable[[], None]] = {
            "cut": proxy.cut,
            "drop": proxy.drop_connections,
            "half_open": proxy.half_open,
            "delay": partial(proxy.delay, fault.delay),
        }
        await self._blocking(acts[fault.how])
        self._counts["wires broken"] += 1
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            await self._blocking(proxy.heal)

    async def _on_misbehave(self, fault: Misbehave) -> None:
        rule = {
            "api": fault.api,
            "behaviour": fault.behaviour,
            "probability": fault.probability,
            "seed": self._seed,
            "seconds": fault.wait,
            "effect": fault.effect,
            "retry_after": fault.retry_after,
            "status": fault.status or None,
            "body": fault.body or None,
        }
        number = await self._sandbox.add_fault(**{name: value for name, value in rule.items() if value is not None})
        self._counts["provider faults"] += 1
        await asyncio.sleep(fault.seconds)
        await self._client.delete(f"{self._stack.url('sandbox')}/sandbox/faults/{number}")

    async def _on_bend_echoes(self, fault: BendEchoes) -> None:
        ways: Mapping[str, Mapping[str, Any]] = {
            "late": {"echo_delay_seconds": fault.delay},
            "early": {"echo_before_answer": True},
            "lost": {"echoes": False},
        }
        await self._sandbox.behave(**ways[fault.way])
        self._counts["echoes bent"] += 1
        await asyncio.sleep(fault.seconds)
        await self._straighten_echoes()

    async def _straighten_echoes(self) -> None:
        await self._sandbox.behave(echoes=True, echo_delay_seconds=0.05, echo_before_answer=False)

    async def _on_echoes_again(self, fault: EchoesAgain) -> None:
        health = (await self._client.get(f"{self._stack.url('sandbox')}/health")).json()
        told = await self._sandbox.journal(max(0, health["calls"] - 20 * fault.count))
        echoed = [entry for entry in told["entries"] if entry["effect"] and entry["kind"] in ECHOED]
        for entry in echoed[-fault.count :]:
            await self._customers.echo_again(entry["contact"], entry["text"], entry["message_id"])
            self._counts["echoes sent again"] += 1

    def _chosen(self, service: str, *, newest: bool = False) -> str:
        names = self._stack.names(service)
        return names[-1] if newest else names[0]

    async def _blocking(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act)
