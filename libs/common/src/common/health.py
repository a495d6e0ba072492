"""Whether a service can do its work: each thing it really depends on registers one check, and nothing else does.

`/livez` says that the process runs, `/readyz` whether it should get traffic, `/health` the same with the reasons.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

Check = Callable[[], Awaitable[None]]


class Unhealthy(Exception):
    """A dependency cannot be used: what is wrong, and what to do about it."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


@dataclass(frozen=True)
class CheckResult:
    """What one check said."""

    ok: bool
    reason: str = ""
    fix: str = ""


class Health:
    """The checks of one service. Results are kept for a second, so probes cannot become load."""

    def __init__(self, service: str, checks: Mapping[str, Check], *, timeout: float = 3.0, keep: float = 1.0) -> None:
        self.service = service
        self._checks = checks
        self._timeout = timeout
        self._keep = keep
        self._taken_at = float("-inf")
        self._results: dict[str, CheckResult] = {}
        self._lock = asyncio.Lock()

    async def results(self) -> dict[str, CheckResult]:
        """Run every check at once, each inside the timeout, and return what they said."""
        async with self._lock:
            if time.monotonic() - self._taken_at > self._keep:
                said = await asyncio.gather(*(self._run(check) for check in self._checks.values()))
                self._results = dict(zip(self._checks, said, strict=True))
                self._taken_at = time.monotonic()
            return self._results

    async def _run(self, check: Check) -> CheckResult:
        try:
            async with asyncio.timeout(self._timeout):
                await check()
        except Unhealthy as error:
            return CheckResult(ok=False, reason=error.reason, fix=error.fix)
        except TimeoutError:
            return CheckResult(ok=False, reason=f"no answer within {self._timeout:g} s")
        except Exception as error:  # noqa: BLE001 a probe must answer, whatever a driver raises
            return CheckResult(ok=False, reason=type(error).__name__)
        return CheckResult(ok=True)

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Return whether all is well, and the body of `/health`."""
        results = await self.results()
        well = all(result.ok for result in results.values())
        checks = {
            name: {"status": "ok"} if r.ok else {"status": "failing", "reason": r.reason, "fix": r.fix}
            for name, r in results.items()
        }
        return well, {"status": "ok" if well else "failing", "service": self.service, "checks": checks}
