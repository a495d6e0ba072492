"""The runner says what it was asked wrongly, what it is doing, and how to go on when it was stopped."""

from collections import Counter

import pytest
from chaos import INTERRUPTED, main
from director import Ran
from history import History
from oracle import Breach, Verdict
from progress import COLUMNS, progress


def held(asked, home, console):
    return Ran(History(), Counter(kills=asked.plan.kills), ()), Verdict(), 1.0


def torn(asked, home, console):
    return Ran(History(), Counter(kills=asked.plan.kills), ()), Verdict((Breach("lost", ("#c1m1",), "gone"),)), 1.0


def stopped(asked, home, console):
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--kills=0", "'0' is no number of kills: give 1 or more, e.g. KILLS=25"),
        ("--kills=-3", "'-3' is no number of kills"),
        ("--kills=", "'' is no number of kills"),
        ("--minutes=-1", "'-1' is no number of minutes"),
        ("--minutes=nan", "'nan' is no number of minutes"),
        ("--sabotage=fence", "there are no_fence, attempting_after_call, eager_commit, no_lookout"),
    ],
)
def test_a_wrong_wish_is_explained(given, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main([given])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_exit_code_says_whether_all_was_held_and_the_logs_stay_when_it_was_not(tmp_path, capsys):
    assert main(["--seed=7", "--kills=2"], perform=held, folder=tmp_path) == 0
    assert list(tmp_path.glob("jawab-chaos-*")) == []
    assert main(["--seed=7", "--kills=2", "--sabotage=no_fence"], perform=torn, folder=tmp_path) == 1
    (logs,) = tmp_path.glob("jawab-chaos-*")
    assert f"logs: {logs}" in capsys.readouterr().out
    assert {path.name for path in tmp_path.glob("*.json")} == {"chaos-7-2.json", "chaos-7-2-no_fence.json"}


def test_whoever_stops_it_reads_where_the_logs_are_and_how_to_go_on(tmp_path, capsys):
    assert main(["--seed=7", "--kills=2"], perform=stopped, folder=tmp_path) == INTERRUPTED
    (logs,) = tmp_path.glob("jawab-chaos-*")
    assert f"stopped; logs: {logs}; again: make chaos KILLS=2 SEED=7" in capsys.readouterr().out


def test_the_plan_is_printed_a_line_a_step(capsys):
    assert main(["--seed=7", "--kills=2", "--plan"]) == 0
    first, *steps = capsys.readouterr().out.splitlines()
    assert first.startswith("seed 7: 2 kills")
    assert all(step[8:12] == " s  " for step in steps)


MANY = Counter(
    {
        "kills": 237,
        "freezes": 15,
        "wires broken": 37,
        "provider faults": 59,
        "webhooks sent": 3703,
        "webhooks acknowledged": 3690,
        "records waiting": 1200,
    }
)


@pytest.mark.parametrize("resting", [True, False])
@pytest.mark.parametrize("elapsed", [0.0, 559.0, 571.0])
def test_a_line_of_progress_fits_the_terminal(resting, elapsed):
    down = ("ingest", "ai", "ai-10", "delivery", "delivery-15", "cleanup")
    assert len(progress(MANY, elapsed, 560.0, resting=resting, down=down)) <= COLUMNS
    assert len(progress(Counter(), elapsed, 560.0, resting=resting)) <= COLUMNS


def test_a_line_of_progress_says_how_far_it_is_and_counts_in_words():
    one = Counter({"kills": 1, "freezes": 1, "wires broken": 1, "provider faults": 2, "webhooks sent": 9})
    line = progress(one | {"webhooks acknowledged": 8}, 10.2, 22.0, resting=False, down=["ai"])
    assert line == "  10 of 22 s  1 kill, 1 freeze, 1 wire, 2 faults, 9 webhooks  1 open  down: ai"
    assert progress(Counter(), 23.0, 22.0, resting=False).startswith("all whole, last messages")
    one["records waiting"] = 1
    assert progress(one, 30.0, 22.0, resting=True) == "waiting for rest  1 record is not committed  9 open"
