"""`jawab up`: the whole system on the usual ports, until Ctrl-C."""

import os
import signal
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from cli.environment import ENVIRONMENT, PROCESS
from cli.local import FAILURES, Interrupted, ended_by_signals, run_folder, start
from devkit.services import SERVICES
from devkit.stack import USUAL_PORTS, Ports, Stack

OWN = ("KAFKA_BOOTSTRAP_SERVERS", "MONGODB_URL", "OPENAI_BASE_URL", "MANYCHAT_BASE_URL", "INSTAGRAM_GRAPH_URL")
"""Where one of these is set, what it names is used instead of what `up` would start."""


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
    own = {name: os.environ[name] for name in OWN if name in os.environ}
    for name in own:
        console.print(f"Using your {name} instead of one of the development world's.")
    try:
        with ended_by_signals(), run_folder("up", keep=keep) as folder:
            stack = Stack(folder, ports=Ports.free() if free_ports else USUAL_PORTS, settings=own)
            try:
                start(stack, console)
                _tell_commands(stack)
                _show(stack, console)
                with stack.kept_running(lambda name: console.print(f"[yellow]{name} ended; started again[/yellow]")):
                    signal.pause()
            finally:
                console.print("Stopping everything …")
                (folder / ENVIRONMENT).unlink(missing_ok=True)
                stack.stop()
    except Interrupted:
        console.print("Stopped. Nothing was left running.")
        return 0
    except FAILURES as error:
        console.print(f"[red]Could not start:[/red] {error}")
        return 1
    return 0


def _tell_commands(stack: Stack) -> None:
    """Leave the addresses where the other commands look for them, for as long as this runs."""
    lines = [f"{name}='{value}'\n" for name, value in stack.environment().items()]
    path = stack.home / ENVIRONMENT
    path.touch(mode=0o600)
    path.write_text("".join([f"{PROCESS}={os.getpid()}\n", *lines]), encoding="utf-8")


def _show(stack: Stack, console: Console) -> None:
    environment = stack.environment()
    lines = [("conversations, live", f"{stack.url('sandbox')}/sandbox/")]
    lines += [(name, f"{stack.url(name)}  (/health, /metrics, /schema/openapi.json)") for name in SERVICES]
    lines.append(("Kafka", environment["KAFKA_BOOTSTRAP_SERVERS"]))
    lines.append(("MongoDB", environment["MONGODB_URL"].rsplit("@", 1)[-1]))
    lines.append(("logs", str(stack.home)))
    for name, where in lines:
        console.print(f"  {name:<20} {where}", markup=False)
    console.print("\nTry:", style="bold")
    for command in commands(stack):
        console.print(f"  {command}", markup=False)
    console.print("Ctrl-C stops everything.")


def commands(stack: Stack) -> list[str]:
    """Return what can be tried while it is up; addresses that are not the usual ones have to be said."""
    webhook = f"{stack.url('ingest')}/webhooks/instagram"
    token = stack.environment()["IG_VERIFY_TOKEN"]
    there = where = ""
    if stack.ports != USUAL_PORTS:
        there = f" --url {webhook} --sandbox {stack.url('sandbox')}"
        others = "".join(f" --{name} {stack.url(name)}" for name in SERVICES if name != "ingest")
        where = f" --url {stack.url('ingest')}{others}"
    return [
        f'curl "{webhook}?hub.mode=subscribe&hub.challenge=TEST123&hub.verify_token={token}"',
        f'scripts/uv run jawab simulate dm --text "شلونكم، عدكم توصيل؟" --wait{there}',
        f"scripts/uv run jawab doctor{where}",
    ]
