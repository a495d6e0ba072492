"""The doctor's findings: everything at once, each within its bound, none hiding another."""

import asyncio
import time

from cli.diagnosis import Check, Doubtful, Finding, NotLooked, Wrong, examine_all, healthy, summary


def check(name: str, error: Exception | None = None, *, seconds: float = 0.0) -> Check:
    async def look() -> str:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return "fine"

    return Check("group", name, look)


async def test_what_a_check_raises_is_the_state_of_its_line() -> None:
    checks = [
        check("a"),
        check("b", Wrong("broken", "mend it")),
        check("c", Doubtful("odd", "look")),
        check("d", NotLooked("something is away")),
        check("e", ZeroDivisionError("with a secret in it")),
    ]
    findings = await examine_all(checks, limit=5)
    assert [finding.name for finding in findings] == ["a", "b", "c", "d", "e"]
    assert [finding.state for finding in findings] == ["ok", "wrong", "doubtful", "not_looked", "wrong"]
    assert (findings[1].said, findings[1].fix) == ("broken", "mend it")
    assert findings[4].said == "could not be checked (ZeroDivisionError)"


async def test_checks_run_at_once_and_a_hanging_one_ends_at_its_bound() -> None:
    begun = time.monotonic()
    findings = await examine_all([check(str(n), seconds=60) for n in range(20)] + [check("quick")], limit=0.2)
    assert time.monotonic() - begun < 5
    assert {finding.state for finding in findings[:-1]} == {"wrong"}
    assert "no answer within 0.2 s" in findings[0].said
    assert findings[-1].state == "ok"


def test_doubts_are_no_illness() -> None:
    well = [Finding("g", "a", "ok"), Finding("g", "b", "doubtful")]
    assert healthy(well)
    assert not healthy([*well, Finding("g", "c", "not_looked")])
    assert not healthy([*well, Finding("g", "c", "wrong")])
    assert summary([*well, Finding("g", "c", "wrong"), Finding("g", "d", "not_looked")]) == (
        "1 of 4 are well, 1 to mend, 1 to know about, 1 could not be looked at"
    )
