"""What the doctor says: one finding for each thing looked at, found at the same time, each within a bound.

Knows nothing about what is checked. A check returns a few words on how things are, or raises

    Wrong       it does not work; the line fails
    Doubtful    it works, and somebody should know about it
    NotLooked   it could not be looked at, because something else is away
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from common.health import Unhealthy

State = Literal["ok", "wrong", "doubtful", "not_looked"]
Look = Callable[[], Awaitable[str]]


class Wrong(Unhealthy):
    """It does not work: what is wrong, and what to do about it."""


class Doubtful(Unhealthy):
    """It works, and somebody should know about it."""


class NotLooked(Unhealthy):
    """Something else has to work before this can be looked at."""


@dataclass(frozen=True)
class Check:
    """One thing to look at."""

    group: str
    name: str
    look: Look


@dataclass(frozen=True)
class Finding:
    """What looking at it said."""

    group: str
    name: str
    state: State
    said: str = ""
    fix: str = ""


async def examine(check: Check, *, limit: float) -> Finding:
    """Look at one thing for at most `limit` seconds."""

    def found(state: State, said: str, fix: str = "") -> Finding:
        return Finding(check.group, check.name, state, said, fix)

    try:
        async with asyncio.timeout(limit):
            return found("ok", await check.look())
    except Doubtful as doubt:
        return found("doubtful", doubt.reason, doubt.fix)
    except NotLooked as unseen:
        return found("not_looked", unseen.reason, unseen.fix)
    except Unhealthy as wrong:
        return found("wrong", wrong.reason, wrong.fix)
    except TimeoutError:
        return found("wrong", f"no answer within {limit:g} s", "see whether it is overloaded, or --patience more")
    except Exception as error:  # noqa: BLE001 one check that fails in its own way must not hide the others
        return found("wrong", f"could not be checked ({type(error).__name__})", "see its own logs")


async def examine_all(checks: Iterable[Check], *, limit: float) -> list[Finding]:
    """Look at everything at once; the findings keep the order of the checks."""
    return await asyncio.gather(*(examine(check, limit=limit) for check in checks))


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing fails."""
    return not any(finding.state in {"wrong", "not_looked"} for finding in findings)


def summary(findings: Sequence[Finding]) -> str:
    """Count what was found."""
    counts = {state: sum(finding.state == state for finding in findings) for state in ("ok", "doubtful", "wrong")}
    unseen = len(findings) - sum(counts.values())
    said = [f"{counts['ok']} of {len(findings)} are well"]
    said += [f"{counts['wrong']} to mend"] if counts["wrong"] else []
    said += [f"{counts['doubtful']} to know about"] if counts["doubtful"] else []
    said += [f"{unseen} could not be looked at"] if unseen else []
    return ", ".join(said)
