"""`make fuzz`: bytes nobody thought of, through ingest's reading of a webhook, for as long as it is given.

Guided by coverage (atheris, libFuzzer): what reaches a new branch is kept and changed further. The seeds are the bodies
of the catalogue. An input is anything that could be signed: bytes are read as JSON and taken apart, and what must hold
for every body (`invariants.py`) is asserted, at Meta's door and at ManyChat's. It ends by itself, keeps what it learned
in `reports/fuzz/corpus` for the next run, and says how many inputs it tried; a crash is written to `reports/fuzz`.

    python tests/fuzz/webhook_body.py --minutes 10
    python tests/fuzz/webhook_body.py reports/fuzz/crash-…      # see one again, without the fuzzer
"""

import argparse
import contextlib
import importlib.util
import json
import random
import re
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

REPORTS = Path(__file__).parents[2] / "reports" / "fuzz"
CORPUS = REPORTS / "corpus"
INSIDE = "--inside"

LONGEST_INPUT = 16 * 1024
SECONDS_FOR_ONE = 10
MEGABYTES = 2048
PROGRESS_SECONDS = 30

STATUS = re.compile(r"#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+) corp: (\d+)/")
EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def webhook(raw: bytes) -> int:
    """Read `raw` as ingest does and return how many events it became, 0 when it is refused.

    Raises for whatever must not be.
    """
    from invariants import check, check_contact

    from ingest.body import BadBody, json_object
    from ingest.size import fitted

    try:
        body = json_object(raw)
    except BadBody:
        return 0
    check_contact(body)  # the same bytes at ManyChat's door
    events, _ = fitted(check(body), body_bytes=len(raw))
    return len(events)


class Changer:
    """Changes inputs as JSON, so that most of them get past the first byte: places are lost, moved, doubled, recast."""

    def __init__(self, bodies):
        self.pieces = [piece for body in bodies for piece in self._pieces(body)]
        self.names = sorted({name for piece in self.pieces if isinstance(piece, dict) for name in piece})
        self.odd = [None, True, False, 0, -1, 10**30, 2**63, 1.5, 1e300, "", " ", "0", "true", "a:b", "9" * 600]
        self.odd += ["\ud83d", "\x00", [], {}, [[]], {"id": None}, "2026-10-05T09:30:00+0000", 1791192600]

    def _pieces(self, value):
        yield value
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from self._pieces(part)

    def __call__(self, raw, limit, seed):
        """Return another input of at most `limit` bytes, the same for the same `seed`."""
        import atheris

        chance = random.Random(seed)
        if chance.random() < 0.2:  # now and then below JSON: the reading of bytes is tried, too
            return atheris.Mutate(raw, limit)
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = deepcopy(chance.choice(self.pieces))
        for _ in range(chance.randint(1, 4)):
            value = self._changed(value, chance)
        changed = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "replace")
        return changed if len(changed) <= limit else raw[:limit]

    def _changed(self, value, chance):
        """Change one place: walk down at random, then let something happen there."""
        if not isinstance(value, dict | list) or not value:
            return self._other(value, chance)
        inside = value
        while True:
            place = chance.choice(list(inside)) if isinstance(inside, dict) else chance.randrange(len(inside))
            deeper = inside[place]
            if not (isinstance(deeper, dict | list) and deeper) or chance.random() < 0.1:
                break
            inside = deeper
        self._accident(inside, place, chance)
        return value

    def _accident(self, inside, place, chance):
        what = chance.randrange(6)
        if what == 0:
            del inside[place]
        elif what == 1 and isinstance(inside, list):
            inside.insert(place, deepcopy(inside[chance.randrange(len(inside))]))
        elif what == 1:
            inside[chance.choice(self.names)] = deepcopy(inside[place])
        elif what == 2 and isinstance(inside, dict):
            inside[chance.choice(self.names)] = inside.pop(place)
        elif what == 3:
            inside[place] = deepcopy(chance.choice(self.pieces))
        else:
            inside[place] = self._other(inside[place], chance)

    def _other(self, value, chance):
        recast = [[value], {"id": value}, str(value)]
        if isinstance(value, str):
            recast += [value + chance.choice(["1", ":", "é"]), value[: len(value) // 2]]
            recast += [int(value)] if value.isdigit() and len(value) < 100 else []
        return deepcopy(chance.choice([*recast, chance.choice(self.odd), chance.choice(self.pieces)]))


def fuzz_here(arguments):
    """Be libFuzzer until it ends this process."""
    import atheris

    # Everything that reads is watched; Pydantic and the standard library are not, they only cost time.
    with atheris.instrument_imports(include=["ingest", "common.events"]):
        import ingest.body
        import ingest.notifications
        import ingest.size  # noqa: F401 loaded to be instrumented
    from invariants import catalogue_bodies, contact_bodies

    atheris.Setup([sys.argv[0], *arguments], webhook, custom_mutator=Changer([*catalogue_bodies(), *contact_bodies()]))
    atheris.Fuzz()


def seeds():
    """Write the catalogue's bodies where libFuzzer begins, in both byte styles of the platform."""
    from invariants import catalogue_bodies, contact_bodies

    CORPUS.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate([*catalogue_bodies(), *contact_bodies()]):
        (CORPUS / f"seed-{number:03}-compact").write_bytes(json.dumps(body, separators=(",", ":")).encode())
        (CORPUS / f"seed-{number:03}-spaced").write_bytes(json.dumps(body, ensure_ascii=False).encode())
    return len(list(CORPUS.iterdir()))


def run(minutes):
    """Run the fuzzer in a process of its own, show how it goes, and return the exit code."""
    seconds = int(minutes * 60)
    say(f"{seeds()} inputs to begin with, {minutes:g} minutes; what is found goes to {REPORTS}")
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT}",
        f"-timeout={SECONDS_FOR_ONE}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-artifact_prefix={REPORTS}/",
        "-print_final_stats=1",
        "-report_slow_units=5",
    ]
    command = [sys.executable, __file__, INSIDE, *options, str(CORPUS)]
    begun = shown = time.monotonic()
    executed, told = 0, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as fuzzer:
        for line in fuzzer.stdout:
            if status := STATUS.match(line):
                executed = max(executed, int(status[1]))
                if time.monotonic() - shown >= PROGRESS_SECONDS:
                    shown = time.monotonic()
                    grown = f"{status[3]} branches, {status[5]} inputs kept"
                    say(f"{shown - begun:5.0f} s: {executed:,} executions, {grown}")
            elif final := EXECUTED.match(line):
                executed = int(final[1])
            else:
                told = [*told[-80:], line]
    crashes = [
        path for path in REPORTS.glob("*-*") if path.is_file() and path.stat().st_mtime > time.time() - seconds - 60
    ]
    if fuzzer.returncode == 0:
        say(f"{executed:,} executions in {time.monotonic() - begun:.0f} s, no crash")
        return 0
    say("".join(told))
    say(f"{executed:,} executions, then it ended with {fuzzer.returncode}")
    for path in crashes:
        say(f"  the input: {path}\n  again:     python {Path(__file__).relative_to(REPORTS.parents[1])} {path}")
    say("Mend what is wrong, then make the body a test in services/ingest/tests, so that it stays mended.")
    return 1


def say(text):
    """Print a line now."""
    print(text, flush=True)  # noqa: T201 this is a command


def main():
    """Fuzz, or look at single inputs again; return the exit code."""
    if sys.argv[1:2] == [INSIDE]:
        fuzz_here(sys.argv[2:])
    options = argparse.ArgumentParser(description="Fuzz the reading of webhooks.")
    options.add_argument("inputs", nargs="*", type=Path, help="files to try once each, instead of fuzzing")
    options.add_argument("--minutes", type=float, default=10)
    chosen = options.parse_args()
    for path in chosen.inputs:
        say(f"{path}: {webhook(path.read_bytes())} events")
    if chosen.inputs:
        return 0
    if importlib.util.find_spec("atheris") is None:
        say("atheris is not installed: start this with `make fuzz`")
        return 2
    with contextlib.suppress(KeyboardInterrupt):
        return run(chosen.minutes)
    return 130


if __name__ == "__main__":
    sys.exit(main())
