"""How much of what the Graph API allows has been used, as its answers' headers tell, and what follows from it.

Meta's "Rate Limits" page: `X-App-Usage` holds the app's share of its rolling hour in percent;
`X-Business-Use-Case-Usage` holds, by business object, up to 32 objects in all with the same shares, the use case they
are about (`type`) and, once throttled, the minutes until calls are taken again. Calling while throttled makes that
longer. Each use case has a limit of its own: what an account's advertising has used up says nothing about its messages.
Both headers are JSON in text: whatever cannot be read says nothing.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SHARES = ("call_count", "total_time", "total_cputime")
MINUTES = "estimated_time_to_regain_access"
MOST_OBJECTS = 32
OURS = ("instagram", "messenger", "pages")
"""The use cases of the calls made here. Meta's others are ads_insights, ads_management, custom_audience and leadgen."""

SLOW_FROM = 70.0
"""Percent. Well before the 80 % at which the platform's own warnings begin."""
FULL = 100.0
SLOWEST = 10.0
"""Seconds between two calls just below the limit."""
NOT_NAMED = 300.0
"""Seconds of pause where the limit is reached and no time is named: the shares are those of a rolling hour."""
LONGEST = 24 * 3600.0


@dataclass(frozen=True)
class Usage:
    """The greatest of the shares, in percent, and the seconds until access is regained where they are told."""

    percent: float
    regained_after: float | None = None


@dataclass(frozen=True)
class Pace:
    """What to do about a usage: make no call for `stop` seconds, then leave `gap` seconds between two."""

    stop: float = 0.0
    gap: float = 0.0


def of_app(header: str | None) -> Usage | None:
    """Read X-App-Usage; None where it says nothing."""
    fields = _parsed(header)
    return _usage([fields]) if isinstance(fields, dict) else None


def of_account(header: str | None, account: str) -> Usage | None:
    """Read X-Business-Use-Case-Usage for a call in an account's name; None where it says nothing.

    The objects under the account's own id count where it is named; else all do, because the call was the account's. Of
    other use cases than ours none does.
    """
    fields = _parsed(header)
    if not isinstance(fields, dict):
        return None
    chosen = {account: fields[account]} if account in fields else fields
    return _usage(list(_objects(chosen))[:MOST_OBJECTS])


def pace(usage: Usage) -> Pace:
    """Decide what a usage asks for: nothing, a gap that grows with it, or a stop for the time it names."""
    if usage.percent >= FULL or (usage.regained_after or 0.0) > 0:
        return Pace(stop=min(usage.regained_after or NOT_NAMED, LONGEST), gap=SLOWEST)
    if usage.percent <= SLOW_FROM:
        return Pace()
    return Pace(gap=SLOWEST * ((usage.percent - SLOW_FROM) / (FULL - SLOW_FROM)) ** 2)


def _objects(fields: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for listed in fields.values():
        for one in listed if isinstance(listed, list) else [listed]:
            if isinstance(one, dict) and (one.get("type") or OURS[0]) in OURS:
                yield one


def _usage(objects: list[Mapping[str, Any]]) -> Usage | None:
    shares = [share for one in objects for name in SHARES if (share := _number(one.get(name))) is not None]
    minutes = [time for one in objects if (time := _number(one.get(MINUTES))) is not None]
    if not shares and not minutes:
        return None
    longest = max(minutes, default=0.0) * 60.0
    return Usage(max(shares, default=0.0), longest if longest > 0 else None)


def _parsed(header: str | None) -> Any:
    try:
        return json.loads(header) if header else None
    except (ValueError, RecursionError):
        return None


def _number(value: object) -> float | None:
    """Return a number that is given as one or as text; None for what is neither, or no amount of anything."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
