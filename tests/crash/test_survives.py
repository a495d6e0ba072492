"""Twenty-five kills, freezes and cut wires under load: nothing lost, nothing doubled, nothing out of order."""

import os

import pytest
from chaos import perform
from plan import Plan
from report import Asked, facts, show, write
from rich.console import Console

KILLS = 25
SEED = int(os.environ.get("CHAOS_SEED", "1"))


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.timeout(400)
def test_every_promise_is_held_while_everything_dies_in_turn(tmp_path, project_root):
    asked = Asked(Plan.of(SEED, KILLS))
    console = Console(highlight=False, width=110)
    ran, verdict, seconds = perform(asked, tmp_path, console)
    show(asked, verdict, ran.counts, seconds, console)
    write(asked, facts(asked, verdict, ran.counts, seconds), project_root / "reports")
    assert verdict.breaches == ()
    assert ran.counts["kills"] >= KILLS
    assert verdict.figures["acknowledged"] > 200
    assert verdict.figures["replies"] > 100
