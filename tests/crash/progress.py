"""What is said of a run while it goes on: a line that fits a terminal of 80 columns."""

from collections.abc import Mapping, Sequence

COLUMNS = 80
SHOWN: Sequence[tuple[str, str, str]] = (
    ("kills", "kill", "kills"),
    ("freezes", "freeze", "freezes"),
    ("wires broken", "wire", "wires"),
    ("provider faults", "fault", "faults"),
    ("webhooks sent", "webhook", "webhooks"),
)
"""What is counted, and how one and more of it are called."""


def progress(
    counts: Mapping[str, int], elapsed: float, heal_at: float, *, resting: bool, down: Sequence[str] = ()
) -> str:
    """Return a line about a run: how far it is, what was done, what waits and who is down."""
    waiting = counts.get("records waiting", 0)
    words = [f"{min(elapsed, heal_at):4.0f} of {heal_at:.0f} s"]
    if resting:
        words = ["waiting for rest", counted(waiting, "record is", "records are") + " not committed"]
    elif elapsed >= heal_at:
        words = ["all whole, last messages"]
    if not resting:
        words.append(", ".join(counted(counts.get(name, 0), one, more) for name, one, more in SHOWN))
    answered = sum(counts.get(f"webhooks {how}", 0) for how in ("acknowledged", "given up"))
    if unanswered := counts.get("webhooks sent", 0) - answered:
        words.append(f"{unanswered} open")
    if down:
        words.append(f"down: {', '.join(down)}")
    line = "  ".join(words)
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…"


def counted(number: int, one: str, more: str) -> str:
    """Return a number with its word."""
    return f"{number} {one if number == 1 else more}"
