"""A run's report says what was broken, and how to do it all again."""

import json
from collections import Counter
from dataclasses import replace
from io import StringIO

from oracle import INVARIANTS, Breach, Verdict
from plan import Plan
from report import Asked, facts, shorten, show, why_so_many, write
from rich.console import Console

PLAN = replace(Plan.of(7, 1), kills=25)
ASKED = Asked(PLAN, minutes=2.0)
CLEAN = Verdict(fates={"answered": 3}, unknown={"sent_again": 2}, figures={"replies": 3, "dead_letters": 0})
TORN = replace(CLEAN, breaches=(Breach("twice", ("#c1m1", "c"), "taken 2 times [in 3.0 s]"),))


def shown(verdict, asked=ASKED):
    console = Console(record=True, width=200, file=StringIO())
    show(asked, verdict, Counter(kills=26), 61.0, console)
    return console.export_text()


def test_the_table_names_every_promise_and_the_command_that_repeats_the_run():
    text = shown(CLEAN)
    assert all(says in text for says in INVARIANTS.values())
    assert "make chaos KILLS=25 SEED=7 MINUTES=2\n" in text
    assert "kills 26" in text


def test_the_last_line_says_whether_every_promise_was_held():
    assert shown(CLEAN).splitlines()[-1] == "✓ every promise was held"
    assert shown(TORN).splitlines()[-1] == "✗ 1 promise broken"
    more = replace(TORN, breaches=(*TORN.breaches, *TORN.breaches, Breach("lost", (), "")))
    assert shown(more).splitlines()[-1] == "✗ 2 promises broken"


def test_figures_are_named_in_words():
    text = shown(replace(CLEAN, breaches=(Breach("committed_past", (), "x"),)))
    assert "dead letters 0" in text
    assert "sent again 2" in text
    assert "_" not in text


def test_it_says_why_there_were_more_kills_than_asked_for():
    assert why_so_many(8, Counter(kills=8)) == ""
    told = why_so_many(8, Counter({"kills": 10, "kills at a named place": 2}))
    assert told == "10 kills where 8 were asked for: 2 processes died once more at a named place after the kill"
    told = why_so_many(2, Counter({"kills": 1, "faults not carried out": 1}))
    assert told == "1 kill where 2 were asked for: 1 fault could not be carried out"


def test_a_sabotaged_run_is_named_as_one_everywhere(tmp_path):
    asked = Asked(PLAN, sabotage="sabotage.no_fence")
    assert "without no_fence" in shown(CLEAN, asked)
    told = facts(asked, TORN, Counter(), 1.0)
    assert told["sabotage"] == "sabotage.no_fence"
    assert told["command"] == "make chaos KILLS=25 SEED=7 SABOTAGE=sabotage.no_fence"
    assert write(asked, told, tmp_path).name == "chaos-7-25-no_fence.json"


def test_a_breach_is_shown_with_its_ids():
    assert "twice #c1m1 c: taken 2 times [in 3.0 s]" in shown(TORN)


def test_a_long_id_is_shown_by_its_ends():
    assert shorten("a" * 100 + "b" * 100, 21) == "a" * 10 + "…" + "b" * 10
    assert shorten("short", 21) == "short"


def test_the_file_holds_figures_and_breaches(tmp_path):
    asked = Asked(PLAN)
    path = write(asked, facts(asked, TORN, Counter(kills=26), 61.04), tmp_path / "reports")
    told = json.loads(path.read_text())
    assert path.name == "chaos-7-25.json"
    assert (told["seed"], told["plan"], told["held"], told["seconds"]) == (7, PLAN.digest, False, 61.0)
    assert told["broken"] == dict.fromkeys(INVARIANTS, 0) | {"twice": 1}
    assert told["breaches"] == [{"invariant": "twice", "ids": ["#c1m1", "c"], "what": "taken 2 times [in 3.0 s]"}]
    assert told["unknown_outcomes"] == {"sent_again": 2}
    assert (told["command"], told["kills"], told["sabotage"]) == ("make chaos KILLS=25 SEED=7", 25, "")
