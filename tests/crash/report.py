"""Shows what a run came to: a table for people, a JSON file for whoever compares runs."""

import json
import shlex
from collections import Counter
from pathlib import Path

from oracle import INVARIANTS, Verdict
from plan import Plan
from rich.console import Console
from rich.markup import escape
from rich.table import Table

MOST_SHOWN = 12
LONGEST_ID = 40
"""Characters of an id on the terminal; the platform's have some 160. The file has the whole."""


def command(plan: Plan, minutes: float) -> str:
    """Return the command that repeats a run."""
    words = ["make", "chaos", f"KILLS={plan.kills}", f"SEED={plan.seed}"]
    return shlex.join([*words, f"MINUTES={minutes:g}"] if minutes else words)


def shorten(text: str, longest: int) -> str:
    """Return the text, its middle left out if it is long."""
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def facts(
    plan: Plan, verdict: Verdict, counts: Counter[str], seconds: float, *, minutes: float = 0.0
) -> dict[str, object]:
    """Return a run as JSON has it."""
    return {
        "seed": plan.seed,
        "plan": plan.digest,
        "command": command(plan, minutes),
        "held": verdict.held,
        "seconds": round(seconds, 1),
        "broken": {name: len(verdict.broken(name)) for name in INVARIANTS},
        "breaches": [{"invariant": one.invariant, "ids": one.ids, "what": one.what} for one in verdict.breaches],
        "unknown_outcomes": dict(sorted(verdict.unknown.items())),
        "fates": dict(sorted(verdict.fates.items())),
        "figures": dict(verdict.figures),
        "done": dict(sorted(counts.items())),
    }


def write(told: dict[str, object], folder: Path) -> Path:
    """Write the JSON file and return where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"chaos-{told['seed']}.json"
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def show(
    plan: Plan,
    verdict: Verdict,
    counts: Counter[str],
    seconds: float,
    console: Console,
    *,
    minutes: float = 0.0,
) -> None:
    """Print the table, the breaches, and how to repeat the run."""
    table = Table(title=f"seed {plan.seed}, plan {plan.digest}, {seconds:.0f} s", title_justify="left")
    table.add_column("promise")
    table.add_column("broken", justify="right")
    table.add_column("what it says", overflow="fold")
    for name, says in INVARIANTS.items():
        broken = len(verdict.broken(name))
        table.add_row(name.replace("_", " "), f"[red]{broken}[/red]" if broken else "[green]0[/green]", says)
    console.print(table)
    for title, figures in (
        ("done", counts),
        ("came to", verdict.figures),
        ("messages ended", verdict.fates),
        ("unknown outcomes", verdict.unknown or {"none": 0}),
    ):
        listed = ", ".join(f"{name} {count}" for name, count in sorted(figures.items()))
        console.print(f"[bold]{title}[/bold]: {escape(listed)}")
    for breach in verdict.breaches[:MOST_SHOWN]:
        ids = " ".join(shorten(one, LONGEST_ID) for one in breach.ids)
        console.print(f"[red]{breach.invariant}[/red] {escape(ids)}: {escape(breach.what)}")
    if len(verdict.breaches) > MOST_SHOWN:
        console.print(f"[red]… and {len(verdict.breaches) - MOST_SHOWN} more, all in the JSON file[/red]")
    console.print(f"again: {escape(command(plan, minutes))}")
