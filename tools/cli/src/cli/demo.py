"""`jawab demo`: the whole system from nothing, twelve scenes, a judgement."""

import asyncio
import shutil
import time
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from cli.local import FAILURES, Interrupted, ended_by_signals, run_folder, start
from devkit.demo import Demo, Played
from devkit.scenes import scenes
from devkit.simulator import Simulator
from devkit.stack import Ports, Stack


def demo(
    *,
    seed: Annotated[str, Parameter(help="Makes the ids; the same seed plays the same webhooks.")] = "demo",
    keep: Annotated[bool, Parameter(help="Keep the logs in .run/demo even if all was right.", negative="")] = False,
) -> int:
    """Start everything, play twelve conversations, show each, and end with 0 only if every one was right."""
    console = Console(highlight=False)
    begun = time.monotonic()
    try:
        with ended_by_signals(), run_folder("demo", keep=False) as folder:
            stack = Stack(folder, ports=Ports.free())
            try:
                start(stack, console)
                with stack.kept_running(lambda name: console.print(f"  [yellow]{name} ended; started again[/yellow]")):
                    played, wrong = asyncio.run(_play(stack, seed, console))
                memory = stack.rss_bytes()
            finally:
                console.print("\nStopping everything …")
                stack.stop()
            if not (wrong or keep):
                shutil.rmtree(folder)
    except Interrupted:
        console.print("[yellow]Stopped.[/yellow] Nothing was left running.")
        return 130
    except FAILURES as error:
        console.print(f"[red]The demo could not run:[/red] {error}", markup=True)
        return 1
    _summary(console, played, memory, time.monotonic() - begun)
    if wrong:
        for line in wrong:
            console.print(f"[red]✗[/red] {line}")
        console.print(f"Logs: {folder}", markup=False)
        return 1
    console.print(
        "[bold green]✓ Everything expected was delivered exactly once, and the forged webhook was refused.[/]"
    )
    console.print("Next: make up   (stays up, with a page to look at), then make test")
    return 0


async def _play(stack: Stack, seed: str, console: Console) -> tuple[list[Played], list[str]]:
    environment = stack.environment()
    simulator = Simulator(seed=seed, account=environment["INSTAGRAM_PAGE_ID"])
    player = Demo(
        ingest=stack.url("ingest"),
        sandbox=stack.url("sandbox"),
        secret=environment["META_APP_SECRET"].split(",")[0],
        console=console,
    )
    return await player.play(scenes(simulator))


def _summary(console: Console, played: list[Played], memory: dict[str, int], seconds: float) -> None:
    times = sorted((d.at - one.sent_at) * 1000 for one in played for d in one.deliveries)
    delivered = sum(len(one.deliveries) for one in played)
    console.print()
    console.rule(style="dim")
    console.print(f"{len(played)} scenes, {delivered} deliveries, {seconds:.0f} s from start to end")
    if times:
        median = times[len(times) // 2]
        console.print(f"From webhook to delivery: median {median:.0f} ms, slowest {times[-1]:.0f} ms")
    sizes = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in memory.items())
    console.print(f"Memory in MB: {sizes}")
