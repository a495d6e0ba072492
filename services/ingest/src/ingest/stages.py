"""The four stages of a message's way, under the names the operators know: how much waits at each, and is that well.

Pure: what Kafka says comes in as numbers. A *committed* offset is the next one to be read, so everything before it is
completed; what lies between it and the end either waits or is in progress, which the consumer notes in its commits.
"""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal, Self

from common.events.interactions import INTERACTIONS
from common.events.privacy import PRIVACY
from common.events.replies import REPLIES, REQUESTED
from common.job_status import JobStatus, overdue

PROCESS_WEBHOOK = "process-webhook"

CONSUMED: dict[str, tuple[str, tuple[str, ...]]] = {
    "ai-response": ("ai", (INTERACTIONS,)),
    "message-delivery": ("delivery", (REPLIES, REQUESTED)),
    "cleanup": ("cleanup", (PRIVACY,)),
}
"""The stages that read topics: stage → (consumer group, topics)."""

SLOW_SECONDS = 60.0
STUCK_SECONDS = 600.0
GROWTH_SECONDS = 300.0
LOOK_SECONDS = 5.0

Verdict = Literal["ok", "degraded", "failing"]


@dataclass(frozen=True)
class Stage:
    """One stage at one moment. `failed` counts dead letters that are still kept, or webhooks that were sent back."""

    waiting: int
    in_progress: int
    completed: int
    failed: int
    oldest_age_seconds: float
    jobs: Mapping[str, JobStatus] = field(default_factory=dict)
    """The scheduled jobs of the service behind the stage."""
    overdue: tuple[str, ...] = ()
    """Those of them that have not succeeded for too long."""

    def as_json(self) -> dict[str, Any]:
        """Return the stage as `/api/queue/stats` shows it."""
        told = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in {"jobs", "overdue"}}
        if self.jobs:
            told["jobs"] = {
                name: {**status.as_json(), "overdue": name in self.overdue} for name, status in self.jobs.items()
            }
        return told

    def with_jobs(self, jobs: Mapping[str, JobStatus], now: datetime) -> Self:
        """Return the same stage, knowing how its scheduled jobs stand."""
        return replace(self, jobs=jobs, overdue=tuple(overdue(jobs, now)))


@dataclass(frozen=True)
class Partition:
    """What Kafka says about one partition of a stage's topic and the group's commit in it.

    `committed` is None when the group has committed nothing there; `head_ms` is when the record at the committed offset
    was written, None when there is none or it is not known.
    """

    beginning: int
    end: int
    committed: int | None = None
    note: str = ""
    head_ms: int | None = None

    def with_head(self, head_ms: int | None) -> Self:
        """Return the same partition, knowing when its first unfinished record was written."""
        return replace(self, head_ms=head_ms)

    @property
    def position(self) -> int:
        """The next offset the group will finish."""
        return self.beginning if self.committed is None else max(self.committed, self.beginning)

    @property
    def lag(self) -> int:
        """How many records are not finished."""
        return max(self.end - self.position, 0)

    @property
    def noted(self) -> tuple[int, int | None]:
        """What the consumer wrote into its commit: records in progress, and when the oldest was written (ms)."""
        try:
            told = json.loads(self.note)
        except (ValueError, RecursionError):
            return 0, None
        if not isinstance(told, dict):
            return 0, None
        number, oldest = told.get("in_progress"), told.get("oldest_ms")
        return (
            number if isinstance(number, int) and number >= 0 else 0,
            oldest if isinstance(oldest, int) and oldest > 0 else None,
        )


def consumed_stage(partitions: list[Partition], *, dead_letters: int, now_ms: int) -> Stage:
    """Return a stage that reads a topic, from all partitions of it."""
    lag = sum(partition.lag for partition in partitions)
    in_progress = sum(min(partition.noted[0], partition.lag) for partition in partitions)
    completed = sum(partition.committed or 0 for partition in partitions)
    heads = [head for partition in partitions if partition.lag and (head := partition.noted[1] or partition.head_ms)]
    return Stage(
        waiting=lag - in_progress,
        in_progress=in_progress,
        completed=max(completed - dead_letters, 0),
        failed=dead_letters,
        oldest_age_seconds=round(max(now_ms - min(heads), 0) / 1000, 3) if heads else 0.0,
    )


class FailureHistory:
    """How many failures each stage had at earlier looks, for telling whether there are more of them lately.

    One look in `LOOK_SECONDS` is kept, whoever asks how often: the window's beginning is known to within that.
    """

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, int]]] = deque()

    def growth(self, stages: Mapping[str, Stage], now: float) -> dict[str, int]:
        """Return, by stage, the failures added within `GROWTH_SECONDS`. `now` are seconds of our own clock."""
        if self._looks and now < self._looks[-1][0]:
            self._looks.clear()  # the clock was set back: nothing is known of before
        while self._looks and self._looks[0][0] < now - GROWTH_SECONDS:
            self._looks.popleft()
        current = {name: stage.failed for name, stage in stages.items()}
        before = self._looks[0][1] if self._looks else current
        if not self._looks or now - self._looks[-1][0] >= LOOK_SECONDS:
            self._looks.append((now, current))
        return {name: max(failed - before.get(name, failed), 0) for name, failed in current.items()}


def assessed(stage: Stage, grown: int) -> tuple[Verdict, str]:
    """Return how a stage is, and why, in words. `grown` are the failures added lately."""
    age = stage.oldest_age_seconds
    if age > STUCK_SECONDS:
        return "failing", f"the oldest has waited {age:.0f} s: nobody is working on it"
    if age > SLOW_SECONDS:
        return "degraded", f"the oldest has waited {age:.0f} s, more than {SLOW_SECONDS:.0f}"
    if grown:
        return "degraded", f"{grown} failed within the last {GROWTH_SECONDS / 60:.0f} minutes"
    if stage.overdue:
        return "degraded", f"not done for twice its interval: {', '.join(stage.overdue)} (see cleanup's log)"
    return "ok", "nothing waits for long and nothing failed lately"


def overall(verdicts: Mapping[str, tuple[Verdict, str]]) -> Verdict:
    """Return the worst of all."""
    said = {verdict for verdict, _ in verdicts.values()}
    return "failing" if "failing" in said else "degraded" if "degraded" in said else "ok"
