"""Memory and commit metadata while one record at the head of a partition does not end and 200,000 others do.

All are in one partition: whatever is kept per record done beyond the stuck one adds up here. It runs in a process of
its own, whose memory nothing else uses.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain

from rig import Row, consuming, create_topic, fill, fresh, offsets_of, resident_bytes, round_robin, run, settings_for

from common.events import AnyEvent

RECORDS = 200_000
KEYS = 1_000
EVERY = 10_000
WARM_UP = 30_000
"""Records until the interpreter's and the fetcher's own buffers have their size."""
SLOW = 50
"""One record in so many takes a moment, so that records end in another order than they were read."""
STUCK = "stuck"
STANDSTILL = 10.0
LONGEST = 150.0

SLOPE_GOAL = 20.0
"""Bytes a record: 4 MB over all of them. One integer in a set costs more than 32."""
METADATA_GOAL = 4096
"""Kafka's `offset.metadata.max.bytes`: above it a commit is refused."""


def ids() -> Iterator[tuple[str, int]]:
    """Yield the stuck record, then all the others."""
    return chain([(STUCK, 0)], round_robin(KEYS, RECORDS - 1))


async def consume(bootstrap: str, topic: str, group: str) -> None:
    """Consume all but the stuck record, and print the memory held at every 10,000."""
    handled = 0
    let_go = asyncio.Event()
    moved = time.monotonic()
    done = asyncio.Event()

    async def handler(event: AnyEvent) -> None:
        nonlocal handled, moved
        if event.partitionkey == STUCK:
            await let_go.wait()
            return
        if not hash(event.id) % SLOW:
            await asyncio.sleep(0.005)
        handled += 1
        if not handled % EVERY:
            gc.collect()
            print(json.dumps({"handled": handled, "rss": resident_bytes()}), flush=True)  # noqa: T201
            moved = time.monotonic()
        if handled == RECORDS - 1:
            done.set()

    async with consuming(settings_for(bootstrap), topic, group, handler) as consumer:
        paused = 0
        begun = time.monotonic()
        while not done.is_set() and time.monotonic() - moved < STANDSTILL and time.monotonic() - begun < LONGEST:
            paused = max(paused, consumer.paused())
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), 0.5)
        seconds = time.monotonic() - begun
        await asyncio.sleep(1)  # a few commit intervals: the metadata of the end
        metadata = max(
            (len(kept.metadata.encode()) for kept in (await offsets_of(bootstrap, group)).values()), default=0
        )
        failed = consumer.metric("kafka_commit_failures_total") or 0
        let_go.set()
    print(  # noqa: T201
        json.dumps(
            {
                "end": True,
                "handled": handled,
                "seconds": seconds,
                "metadata": metadata,
                "paused": paused,
                "failed": failed,
            }
        ),
        flush=True,
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the least-squares slope through the points; 0 for fewer than two."""
    count = len(points)
    if count < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


async def measure(bootstrap: str) -> list[Row]:
    """Fill one partition and consume it in another process."""
    topic = await create_topic(bootstrap, fresh("memory"), partitions=1)
    await fill(bootstrap, topic, ids(), partitions=1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, bootstrap, topic, fresh("memory"), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(LONGEST + 60):
            output, _ = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    told = [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]
    points = [(one["handled"], one["rss"]) for one in told if "rss" in one]
    end = told[-1]
    settled = [point for point in points if point[0] >= WARM_UP]
    growth = slope(settled)
    part = "one stuck at the head"
    return [
        Row(part, "records handled beyond it", end["handled"], "", f"{RECORDS - 1:,}", end["handled"] == RECORDS - 1),
        Row(part, "rate", end["handled"] / end["seconds"], "records/s"),
        Row(part, f"memory at {settled[0][0]:,}", settled[0][1] / 1e6, "MB"),
        Row(part, f"memory at {settled[-1][0]:,}", settled[-1][1] / 1e6, "MB"),
        Row(part, "growth", growth, "bytes/record", f"≤ {SLOPE_GOAL:g}", growth <= SLOPE_GOAL),
        Row(
            part,
            "commit metadata at the end",
            end["metadata"],
            "bytes",
            f"≤ {METADATA_GOAL}",
            end["metadata"] <= METADATA_GOAL,
        ),
        Row(part, "commits refused", end["failed"], "", "0", end["failed"] == 0),
        Row(part, "partitions paused at most", end["paused"], ""),
    ]


if __name__ == "__main__":
    run(consume(*sys.argv[1:]))
