"""`make bench`: what the key-ordered subscriber costs and holds, on real Kafka, in pairs of one run.

Every comparison alternates its two sides inside one run and takes medians, so that figures of a busy machine still
compare; absolute figures are for comparing with figures of the same machine. Ingest's normaliser is measured beside it,
without Kafka. Prints a table, writes `reports/bench-keyed.json`, and ends with 1 when something is wrong that no load
excuses (`--strict`: any missed goal).

    python tests/bench/keyed.py                     # all parts, at most six minutes
    python tests/bench/keyed.py throughput hanging  # some
    python tests/bench/keyed.py profile             # where the time of a record without work goes
"""

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import hanging
import memory
import normaliser
import rebalance
import sigterm
import throughput
from rich.console import Console
from rich.table import Table
from rig import Row, run

from common.log import configure_logging
from devkit.kafka import EmbeddedKafka

REPORT = Path(__file__).parents[2] / "reports" / "bench-keyed.json"

Part = Callable[[str], Awaitable[list[Row]]]

PARTS: dict[str, Part] = {
    "throughput": throughput.measure,
    "hanging": hanging.measure,
    "rebalance": rebalance.measure,
    "memory": memory.measure,
    "sigterm": sigterm.measure,
    "normaliser": normaliser.measure,
}
ON_REQUEST: dict[str, Part] = {"profile": throughput.profile}


def shown(rows: Sequence[Row]) -> Table:
    """Return the figures as a table."""
    table = Table("part", "figure", "value", "goal", "")
    for row in rows:
        verdict = "" if row.held is None else "[green]held[/]" if row.held else "[red]missed[/]"
        table.add_row(row.part, row.name, f"{row.value:,.4g} {row.unit}".strip(), row.goal, verdict)
    return table


def machine(kafka: EmbeddedKafka) -> dict[str, object]:
    """Say on what the figures were measured."""
    return {
        "kafka": kafka.name,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        **{name: version(name) for name in ("faststream", "aiokafka", "uvloop")},
    }


def main() -> int:
    """Run the chosen parts and return the exit code."""
    options = argparse.ArgumentParser(description="Measure the key-ordered subscriber.")
    options.add_argument("parts", nargs="*", help=f"of {', '.join([*PARTS, *ON_REQUEST])}; all but the last by default")
    options.add_argument("--strict", action="store_true", help="end with 1 for any missed goal")
    chosen = options.parse_args()
    parts = {**PARTS, **ON_REQUEST}
    if unknown := set(chosen.parts) - set(parts):
        options.error(f"no such part: {', '.join(sorted(unknown))}")
    configure_logging("bench", level="error", format="console")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it retries by itself is no news here
    console = Console(highlight=False, width=120)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka(Path(folder)) as kafka:
        about = machine(kafka)
        console.print(", ".join(f"{name} {value}" for name, value in about.items()))
        for name in chosen.parts or PARTS:
            begun = time.monotonic()
            try:
                rows += run(parts[name](kafka.bootstrap))
            except Exception as error:  # noqa: BLE001 the other parts' figures are worth having
                console.print_exception()
                rows.append(Row(name, f"broke off: {error}"[:60], 1, "", "0", held=False, must=True))
            console.print(f"{name}: {time.monotonic() - begun:.0f} s")
    console.print(shown(rows))
    REPORT.parent.mkdir(exist_ok=True)
    report = {"machine": about, "figures": [asdict(row) for row in rows]}
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(any(row.held is False and (row.must or chosen.strict) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
