"""`make load`: acknowledged webhooks per second, and how long from a webhook to its delivered reply.

Runs the whole stack with the sandbox model at zero latency, on loopback, and ends by itself. Figures of one machine are
for comparing with figures of the same machine.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx2
from rich.console import Console

from devkit.demo import deliveries_in
from devkit.sandbox.client import SandboxClient
from devkit.signing import serialise, signed_headers
from devkit.simulator import Simulator
from devkit.stack import Stack
from devkit.updates import Update, body_of

CONNECTIONS = 32


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def latency(stack: Stack, rate: float, seconds: float) -> tuple[list[float], int]:
    """Send messages at a steady rate; return the milliseconds to each delivery and how many were not delivered."""
    account, secret = stack.environment()["INSTAGRAM_PAGE_ID"], stack.environment()["META_APP_SECRET"]
    simulator = Simulator(seed=f"latency-{time.time()}", account=account)
    updates = [simulator.text(simulator.contact(), "Do you deliver to Basra?") for _ in range(int(rate * seconds))]
    sent: dict[str, float] = {}
    async with httpx2.AsyncClient(trust_env=False, limits=httpx2.Limits(max_connections=200)) as client:
        sandbox = SandboxClient(stack.url("sandbox"), client)
        before = (await sandbox.journal(2**52))["last"]

        async def send(update: Update) -> None:
            raw = serialise(body_of(update))
            sent[update.contact] = time.time()
            url = f"{stack.url('ingest')}/webhooks/instagram"
            response = await client.post(url, content=raw, headers=signed_headers(raw, secret), timeout=10)
            response.raise_for_status()

        begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, update in enumerate(updates):
                await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
                tasks.create_task(send(update))
        arrived: dict[str, float] = {}
        deadline = time.monotonic() + 60
        while len(arrived) < len(updates) and time.monotonic() < deadline:
            told = await sandbox.journal(before, wait=1)
            before = told["next"]
            for delivery in deliveries_in(told["entries"]):
                arrived.setdefault(delivery.contact, delivery.at)
    times = [(arrived[contact] - at) * 1000 for contact, at in sent.items() if contact in arrived]
    return times, len(updates) - len(times)


async def acknowledged(stack: Stack, seconds: float) -> float:
    """Post webhooks over 32 connections as fast as they are answered; return acknowledged webhooks per second."""
    account, secret = stack.environment()["INSTAGRAM_PAGE_ID"], stack.environment()["META_APP_SECRET"]
    simulator = Simulator(seed=f"rate-{time.time()}", account=account)
    contact = simulator.contact()
    # Reads: events that are published like any other and cost the later stages next to nothing.
    bodies = [serialise(body_of(simulator.read(contact, simulator.ids.message()))) for _ in range(2000)]
    signed = [(raw, signed_headers(raw, secret)) for raw in bodies]
    done = 0
    until = time.monotonic() + seconds
    url = f"{stack.url('ingest')}/webhooks/instagram"

    async def one(client: httpx2.AsyncClient, first: int) -> None:
        nonlocal done
        number = first
        while time.monotonic() < until:
            raw, headers = signed[number % len(signed)]
            response = await client.post(url, content=raw, headers=headers, timeout=10)
            done += response.status_code == httpx2.codes.OK
            number += CONNECTIONS

    async with httpx2.AsyncClient(trust_env=False, limits=httpx2.Limits(max_connections=CONNECTIONS)) as client:
        begun = time.monotonic()
        await asyncio.gather(*(one(client, number) for number in range(CONNECTIONS)))
        return done / (time.monotonic() - begun)


def main() -> int:
    """Start the stack, measure, print, stop."""
    options = argparse.ArgumentParser(description="Measure latency and throughput of the whole stack.")
    options.add_argument("--rate", type=float, default=50.0, help="messages per second")
    options.add_argument("--seconds", type=float, default=30.0, help="how long each part takes")
    options.add_argument(
        "--slow-mongo", action="store_true", help="use the wheel's MongoDB server even if a fast one is there"
    )
    chosen = options.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(
            Path(folder), fast_mongo=False if chosen.slow_mongo else None, sandbox={"SANDBOX_JOURNAL_LIMIT": "200000"}
        )
        console.print("Starting the stack …")
        with stack:
            server = stack.mongo.name if stack.mongo else "MongoDB"
            console.print(f"Warming up, then {chosen.rate:g} messages/s for {chosen.seconds:g} s ({server}) …")
            asyncio.run(latency(stack, min(20.0, chosen.rate), 5))
            times, missing = asyncio.run(latency(stack, chosen.rate, chosen.seconds))
            console.print(
                f"webhook to delivered reply at {chosen.rate:g}/s: median {percentile(times, 0.5):.0f} ms, "
                f"p99 {percentile(times, 0.99):.0f} ms, slowest {max(times):.0f} ms, "
                f"{len(times)} delivered, {missing} missing"
            )
            console.print(f"Webhooks over {CONNECTIONS} connections for {chosen.seconds / 3:g} s …")
            rate = asyncio.run(acknowledged(stack, chosen.seconds / 3))
            console.print(f"acknowledged webhooks per second: {rate:.0f}")
            sizes = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in stack.rss_bytes().items())
            console.print(f"memory in MB: {sizes}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
