"""`make chaos`: kills, freezes and cuts everything while customers write, and says whether every promise was held.

    make chaos                       # 200 kills, a seed of its own, about ten minutes
    make chaos KILLS=25 SEED=7       # shorter, and repeatable
    make chaos MINUTES=30            # longer
    python tests/crash/run.py --plan --seed 7 --kills 25     # only print what would be done

Ends with 1 when a promise was broken; the folder with every process's log is kept then.
"""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from director import SETTINGS, Director, Ran
from oracle import Verdict, judge
from plan import Plan
from report import facts, show, write
from rich.console import Console

from common.failpoints import SABOTAGES
from devkit.environment import project_root
from devkit.stack import Stack

JOURNAL_LIMIT = 500_000


def perform(plan: Plan, home: Path, console: Console, sabotage: str = "") -> tuple[Ran, Verdict, float]:
    """Start the stack, carry out a plan, judge it; also return how many seconds all of that took."""
    begun = time.monotonic()
    settings = {**SETTINGS, **({"JAWAB_FAILPOINT": sabotage} if sabotage else {})}
    stack = Stack(home, faults=True, settings=settings, sandbox={"SANDBOX_JOURNAL_LIMIT": str(JOURNAL_LIMIT)})
    console.print(f"Starting the stack in {home} …", soft_wrap=True)
    with stack:
        director = Director(stack, plan, tell=lambda line: console.print(line, style="dim", soft_wrap=True))
        ran = asyncio.run(director.run())
    (home / "director.log").write_text("\n".join(ran.log) + "\n", encoding="utf-8")
    return ran, judge(ran.history), time.monotonic() - begun


def main() -> int:
    """Run, report, and say by the exit code whether everything was held."""
    options = argparse.ArgumentParser(description="Kill, freeze and cut everything while customers write.")
    options.add_argument("--kills", type=int, default=200, help="SIGKILLs at least")
    options.add_argument("--seed", type=int, help="repeats a run; without it one is drawn and printed")
    options.add_argument("--minutes", type=float, default=0.0, help="how long at least")
    options.add_argument("--plan", action="store_true", help="print the plan and do nothing")
    options.add_argument("--sabotage", choices=SABOTAGES, default="", help="try a build without this mechanism")
    options.add_argument("--keep", action="store_true", help="keep the folder with the logs also when all was held")
    chosen = options.parse_args()
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    plan = Plan.of(seed, chosen.kills, chosen.minutes)
    console = Console(highlight=False)
    if chosen.plan:
        console.print("\n".join(plan.lines()), markup=False)
        return 0
    console.print(f"Seed {seed}, plan {plan.digest}: {plan.kills} kills over {plan.heal_at:.0f} s.")
    home = Path(tempfile.mkdtemp(prefix="jawab-chaos-"))
    ran, verdict, seconds = perform(plan, home, console, chosen.sabotage)
    show(plan, verdict, ran.counts, seconds, console, minutes=chosen.minutes)
    path = write(facts(plan, verdict, ran.counts, seconds, minutes=chosen.minutes), project_root() / "reports")
    console.print(f"written: {path}", soft_wrap=True)
    if verdict.held and not chosen.keep:
        shutil.rmtree(home, ignore_errors=True)
    else:
        console.print(f"logs: {home}", soft_wrap=True)
    return 0 if verdict.held else 1


if __name__ == "__main__":
    sys.exit(main())
