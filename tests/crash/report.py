"""Shows what a run came to: a table for people, a JSON file for whoever compares runs."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oracle import INVARIANTS, Verdict
from plan import Plan
from progress import counted
from rich.console import Console
from rich.markup import escape
from rich.table import Table

MOST_SHOWN = 12
LONGEST_ID = 40
"""Characters of an id on the terminal; the platform's have some 160. The file has the whole."""
LABELS: Mapping[str, str] = {
    "latest_ms_after_a_person": "latest message of ours after a person's (ms)",
    "assignments": "times partitions were assigned",
    "replies": "messages taken from us",
    "decided": "replies decided",
}
"""Figures whose names say too little; of the others only the underscores go."""


@dataclass(frozen=True)
class Asked:
    """What a run was asked for. `sabotage` is the mechanism that the build was without, if one."""

    plan: Plan
    minutes: float = 0.0
    sabotage: str = ""

    @property
    def command(self) -> str:
        """The command that repeats the run."""
        words = ["make", "chaos", f"KILLS={self.plan.kills}", f"SEED={self.plan.seed}"]
        words += [f"MINUTES={self.minutes:g}"] * bool(self.minutes)
        words += [f"SABOTAGE={self.sabotage}"] * bool(self.sabotage)
        return shlex.join(words)

    @property
    def file_name(self) -> str:
        """The name of its report."""
        without = [self.sabotage.removeprefix("sabotage.")] if self.sabotage else []
        return f"{'-'.join(['chaos', str(self.plan.seed), str(self.plan.kills), *without])}.json"


def shorten(text: str, longest: int) -> str:
    """Return the text, its middle left out if it is long."""
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def facts(asked: Asked, verdict: Verdict, counts: Counter[str], seconds: float) -> dict[str, object]:
    """Return a run as JSON has it."""
    return {
        "seed": asked.plan.seed,
        "plan": asked.plan.digest,
        "kills": asked.plan.kills,
        "sabotage": asked.sabotage,
        "command": asked.command,
        "held": verdict.held,
        "seconds": round(seconds, 1),
        "broken": {name: len(verdict.broken(name)) for name in INVARIANTS},
        "breaches": [{"invariant": one.invariant, "ids": one.ids, "what": one.what} for one in verdict.breaches],
        "unknown_outcomes": dict(sorted(verdict.unknown.items())),
        "fates": dict(sorted(verdict.fates.items())),
        "figures": dict(verdict.figures),
        "done": dict(sorted(counts.items())),
    }


def write(asked: Asked, told: dict[str, object], folder: Path) -> Path:
    """Write the JSON file and return where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / asked.file_name
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def show(asked: Asked, verdict: Verdict, counts: Counter[str], seconds: float, console: Console) -> None:
    """Print the table, the breaches, whether all was held, and how to repeat the run."""
    plan = asked.plan
    without = f", without {asked.sabotage.removeprefix('sabotage.')}" if asked.sabotage else ""
    table = Table(title=f"seed {plan.seed}, plan {plan.digest}, {seconds:.0f} s{without}", title_justify="left")
    table.add_column("promise")
    table.add_column("broken", justify="right")
    table.add_column("what it says", overflow="fold")
    for name, says in INVARIANTS.items():
        broken = len(verdict.broken(name))
        table.add_row(readable(name), f"[red]{broken}[/red]" if broken else "[green]0[/green]", says)
    console.print(table)
    for title, figures in (
        ("done", counts),
        ("came to", verdict.figures),
        ("messages ended", verdict.fates),
        ("unknown outcomes", verdict.unknown or {"none": 0}),
    ):
        listed = ", ".join(f"{label} {count}" for label, count in sorted((readable(n), c) for n, c in figures.items()))
        console.print(f"[bold]{title}[/bold]: {escape(listed)}")
    if why := why_so_many(plan.kills, counts):
        console.print(why)
    for breach in verdict.breaches[:MOST_SHOWN]:
        ids = " ".join(shorten(one, LONGEST_ID) for one in breach.ids)
        console.print(f"[red]{readable(breach.invariant)}[/red] {escape(ids)}: {escape(breach.what)}")
    if len(verdict.breaches) > MOST_SHOWN:
        console.print(f"[red]… and {len(verdict.breaches) - MOST_SHOWN} more, all in the JSON file[/red]")
    console.print(f"again: {escape(asked.command)}", soft_wrap=True)
    broken = len({breach.invariant for breach in verdict.breaches})
    held, torn = (
        "[green]✓[/green] every promise was held",
        f"[red]✗[/red] {counted(broken, 'promise', 'promises')} broken",
    )
    console.print(torn if broken else held)


def readable(name: str) -> str:
    """Return what a figure or a promise is called on the terminal."""
    return LABELS.get(name, name.replace("_", " "))


def why_so_many(wanted: int, counts: Counter[str]) -> str:
    """Say why more or fewer were killed than was asked for; nothing where it is as many."""
    done, twice, left = counts["kills"], counts["kills at a named place"], counts["faults not carried out"]
    if done == wanted:
        return ""
    reasons = []
    if twice:
        reasons.append(f"{counted(twice, 'process', 'processes')} died once more at a named place after the kill")
    if left:
        reasons.append(f"{counted(left, 'fault', 'faults')} could not be carried out")
    return f"{counted(done, 'kill', 'kills')} where {wanted} were asked for: {' and '.join(reasons)}" if reasons else ""
