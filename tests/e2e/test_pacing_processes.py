"""Two sending processes that count together, in real time over HTTP: no window ever holds more than the limit.

What share of the allowed pace they reach, `tests/bench/pacing.py` measures on a quiet machine.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench" / "pacing.py"
LINE = re.compile(
    r"^(\w+) .*?(\d+) calls in [\d.]+ s, +[\d.]+% of the allowed pace, (\d+) above the limit$", re.MULTILINE
)


@pytest.mark.parametrize("counting", [[], ["--own"]], ids=["together", "each its own share"])
def test_two_processes_keep_to_every_limit_and_send(counting):
    limits = "message=30/second, media=6/second, private_reply=8/2 seconds"
    command = [sys.executable, BENCH, "--seconds", "5", "--limits", limits, *counting]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:] or ended.stdout
    figures = {name: (int(calls), int(above)) for name, calls, above in LINE.findall(ended.stdout)}
    assert set(figures) == {"message", "media", "private_reply"}, ended.stdout
    assert all(calls > 0 and above == 0 for calls, above in figures.values()), ended.stdout
