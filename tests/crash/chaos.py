"""Starts the stack, carries a plan out on it, judges what came of it and reports."""

import argparse
import asyncio
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from director import SETTINGS, Director, Ran
from oracle import Verdict, judge
from plan import Plan
from report import Asked, facts, show, write
from rich.console import Console

from common.failpoints import SABOTAGES
from devkit.environment import project_root
from devkit.stack import Stack

JOURNAL_LIMIT = 500_000
INTERRUPTED = 130
"""128 + SIGINT, as shells say it."""

Perform = Callable[[Asked, Path, Console], tuple[Ran, Verdict, float]]


def perform(asked: Asked, home: Path, console: Console) -> tuple[Ran, Verdict, float]:
    """Start the stack, carry out a plan, judge it; also return how many seconds all of that took.

    However it ends, all that was started is stopped. Raises KeyboardInterrupt.
    """
    begun = time.monotonic()
    settings = {**SETTINGS, **({"JAWAB_FAILPOINT": asked.sabotage} if asked.sabotage else {})}
    sandbox = {
        "SANDBOX_JOURNAL_LIMIT": str(JOURNAL_LIMIT),
        "SANDBOX_CLOCK_OFFSET": f"{asked.plan.platform_ahead:g}",
    }
    stack = Stack(home, faults=True, settings=settings, sandbox=sandbox)

    def tell(line: str) -> None:
        console.print(line, style="dim", soft_wrap=True, markup=False)

    console.print(f"Starting the stack in {home} …", soft_wrap=True)
    stack.start(lambda name, seconds: tell(f"  ✓ {name} {seconds:.1f} s"))
    try:
        ran = asyncio.run(Director(stack, asked.plan, tell=tell).run())
        tell("Stopping everything …")
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever is impatient must not leave half of it running
        tell("Stopping everything …")
        raise
    finally:
        stack.stop()
    (home / "director.log").write_text("\n".join(ran.log) + "\n", encoding="utf-8")
    return ran, judge(ran.history), time.monotonic() - begun


def main(arguments: Sequence[str] | None = None, *, perform: Perform = perform, folder: Path | None = None) -> int:
    """Run, report to `folder` (the project's reports), and say by the exit code whether everything was held."""
    chosen = options().parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    asked = Asked(Plan.of(seed, chosen.kills, chosen.minutes), chosen.minutes, chosen.sabotage or "")
    plan = asked.plan
    console = Console(highlight=False)
    if chosen.plan:
        console.print("\n".join(plan.lines()), markup=False, soft_wrap=True)
        return 0
    console.print(f"Seed {seed}, plan {plan.digest}: {plan.kills} kills over {plan.heal_at:.0f} s.")
    home = Path(tempfile.mkdtemp(prefix="jawab-chaos-"))
    try:
        ran, verdict, seconds = perform(asked, home, console)
    except KeyboardInterrupt:
        console.print(f"stopped; logs: {home}; again: {asked.command}", soft_wrap=True, markup=False)
        return INTERRUPTED
    path = write(asked, facts(asked, verdict, ran.counts, seconds), folder or project_root() / "reports")
    if verdict.held and not chosen.keep:
        shutil.rmtree(home, ignore_errors=True)
    show(asked, verdict, ran.counts, seconds, console)
    console.print(f"written: {path}", soft_wrap=True)
    if home.exists():
        console.print(f"logs: {home}", soft_wrap=True)
    return 0 if verdict.held else 1


def options() -> argparse.ArgumentParser:
    """Return what can be chosen."""
    parser = argparse.ArgumentParser(
        prog="run.py", description="Kill, freeze and cut everything while customers write."
    )
    parser.add_argument("--kills", type=_kills, default=200, help="SIGKILLs at least, 1 or more")
    parser.add_argument("--seed", type=int, help="repeats a run; without it one is drawn and printed")
    parser.add_argument("--minutes", type=_minutes, default=0.0, help="how long at least")
    parser.add_argument("--plan", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--sabotage", type=_sabotage, help=f"try a build without one of: {_sabotages()}")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs also when all was held")
    return parser


def _kills(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"{given!r} is no number of kills: give 1 or more, e.g. KILLS=25")
    return int(given)


def _minutes(given: str) -> float:
    try:
        minutes = float(given)
    except ValueError:
        minutes = -1.0
    if not 0.0 <= minutes <= 24 * 60:
        raise argparse.ArgumentTypeError(f"{given!r} is no number of minutes: give 0 to 1440, e.g. MINUTES=30")
    return minutes


def _sabotage(given: str) -> str:
    name = f"sabotage.{given.removeprefix('sabotage.')}"
    if name not in SABOTAGES:
        raise argparse.ArgumentTypeError(f"{given!r} cannot be taken away; there are {_sabotages()}")
    return name


def _sabotages() -> str:
    return ", ".join(name.removeprefix("sabotage.") for name in SABOTAGES)
