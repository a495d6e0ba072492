"""A run's report says what was broken, and how to do it all again."""

import json
from collections import Counter
from dataclasses import replace
from io import StringIO

from oracle import INVARIANTS, Breach, Verdict
from plan import (
    Plan,
)
from report import facts, shorten, show, write
from rich.console import Console

PLAN = replace(Plan.of(7, 1), kills=25)
CLEAN = Verdict(fates={"answered": 3}, unknown={"echo": 2}, figures={"replies": 3})
TORN = replace(CLEAN, breaches=(Breach("twice", ("#c1m1", "c"), "taken 2 times [in 3.0 s]"),))


def shown(verdict):
    console = Console(record=True, width=200, file=StringIO())
    show(PLAN, verdict, Counter(kills=26), 61.0, console, minutes=2.0)
    return console.export_text()


def test_the_table_names_every_promise_and_the_command_that_repeats_the_run():
    text = shown(CLEAN)
    assert all(says in text for says in INVARIANTS.values())
    assert "make chaos KILLS=25 SEED=7 MINUTES=2" in text
    assert "kills 26" in text


def test_a_breach_is_shown_with_its_ids():
    assert "twice #c1m1 c: taken 2 times [in 3.0 s]" in shown(TORN)


def test_a_long_id_is_shown_by_its_ends():
    assert shorten("a" * 100 + "b" * 100, 21) == "a" * 10 + "…" + "b" * 10
    assert shorten("short", 21) == "short"


def test_the_file_holds_figures_and_breaches(tmp_path):
    path = write(facts(PLAN, TORN, Counter(kills=26), 61.04), tmp_path / "reports")
    told = json.loads(path.read_text())
    assert path.name == "chaos-7.json"
    assert (told["seed"], told["plan"], told["held"], told["seconds"]) == (7, PLAN.digest, False, 61.0)
    assert told["broken"] == dict.fromkeys(INVARIANTS, 0) | {"twice": 1}
    assert told["breaches"] == [{"invariant": "twice", "ids": ["#c1m1", "c"], "what": "taken 2 times [in 3.0 s]"}]
    assert told["unknown_outcomes"] == {"echo": 2}
    assert told["command"] == "make chaos KILLS=25 SEED=7"
