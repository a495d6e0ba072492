"""`jawab up`: the whole system on the usual ports, until Ctrl-C."""

import signal
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from cli.local import FAILURES, Interrupted, ended_by_signals, run_folder, start
from devkit.stack import USUAL_PORTS, Ports, Stack


def up(
    *,
    free_ports: Annotated[
        bool, Parameter(help="Choose free ports instead of 8000-8003 and 8090.", negative="")
    ] = False,
    keep: Annotated[
        bool, Parameter(help="Keep the data of the last time instead of starting empty.", negative="")
    ] = False,
) -> int:
    """Start everything, print the addresses, and stay up until Ctrl-C. A service that dies is started again."""
    console = Console(highlight=False, soft_wrap=True)
    folder = run_folder("up", keep=keep)
    stack = Stack(folder, ports=Ports.free() if free_ports else USUAL_PORTS)
    try:
        with ended_by_signals():
            try:
                start(stack, console)
                _show(stack, console)
                with stack.kept_running(lambda name: console.print(f"[yellow]{name} ended; started again[/yellow]")):
                    signal.pause()
            finally:
                console.print("Stopping everything …")
                stack.stop()
    except Interrupted:
        console.print("Stopped. Nothing was left running.")
        return 0
    except FAILURES as error:
        console.print(f"[red]Could not start:[/red] {error}")
        console.print(f"Logs: {folder}. Next: jawab doctor", markup=False)
        return 1
    return 0


def _show(stack: Stack, console: Console) -> None:
    ingest = stack.url("ingest")
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("conversations, live", f"{stack.url('sandbox')}/sandbox/")
    for name in ("ingest", "ai", "delivery", "cleanup"):
        table.add_row(name, f"{stack.url(name)}  (/health, /metrics, /schema)")
    environment = stack.environment()
    table.add_row("Kafka", environment["KAFKA_BOOTSTRAP_SERVERS"])
    table.add_row("MongoDB", environment["MONGODB_URL"].rsplit("@", 1)[-1])
    table.add_row("logs", str(stack.home))
    console.print(table)
    token = environment["IG_VERIFY_TOKEN"]
    console.print("\nTry:", style="bold")
    console.print(
        f'  curl "{ingest}/webhooks/instagram?hub.mode=subscribe&hub.challenge=TEST123&hub.verify_token={token}"',
        markup=False,
    )
    console.print('  scripts/uv run jawab simulate dm --text "شلونكم، عدكم توصيل؟" --wait', markup=False)
    console.print("  scripts/uv run jawab doctor", markup=False)
    console.print("Ctrl-C stops everything.")
