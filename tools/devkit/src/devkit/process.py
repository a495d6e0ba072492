"""Child processes that never outlive us and that say why they failed.

All of it is plain blocking code without a tie to a thread or an event loop: a session fixture, a command and
`asyncio.to_thread` can use it alike.

    ProcessError
    ├── ProcessDied   it ended although it was meant to run
    └── NotReady      it runs but does not do what it was started for
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from devkit.readiness import Condition

GUARD = Path(__file__).with_name("guard.py")
SPAWN_TIMEOUT = 20.0
KILL_TIMEOUT = 10.0
FREEZE_TIMEOUT = 5.0
FREEZE_POLL_SECONDS = 0.002
POLL_SECONDS = 0.05
TAIL_LINES = 15
TAIL_BYTES = 16_384


class ProcessError(RuntimeError):
    """A child process is not in the state it was meant to be in."""


class ProcessDied(ProcessError):
    """The process ended, or could not be started at all."""


class NotReady(ProcessError):
    """The process runs but did not get ready in time."""


class ChildProcess:
    """One command in its own process group; it and all it starts end with us, even when we are SIGKILLed.

    `environment` replaces ours if given. Both outputs are appended to `log`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self._environment = environment
        self._folder = folder
        self._guard: subprocess.Popen[bytes] | None = None
        self._lifeline: socket.socket | None = None
        self._pid: int | None = None
        self._log_start = 0

    @property
    def running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def pid(self) -> int:
        """The process's own id, also its group's. Raises `ProcessDied` when it does not run."""
        if self._pid is None or not self.running:
            raise ProcessDied(f"{self.name} is not running")
        return self._pid

    @property
    def exit_code(self) -> int | None:
        """How the process ended: its exit code, or minus the signal that ended it. None while it runs."""
        return None if self._guard is None else self._guard.poll()

    def start(self, extra: Mapping[str, str] | None = None) -> None:
        """Start the process; it need not be ready for anything yet. Raises `ProcessDied` if it cannot run.

        `extra` are environment variables for this start alone.
        """
        if self.running:
            raise ProcessError(f"{self.name} is running already (process {self._pid})")
        self._let_go()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        with theirs, self.log.open("ab") as log:
            self._log_start = log.tell()
            self._guard = subprocess.Popen(  # noqa: S603 - the caller's own command
                [sys.executable, "-I", "-S", str(GUARD), str(theirs.fileno()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment if not extra else {**(self._environment or os.environ), **extra},
                cwd=self._folder,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        self._lifeline = ours
        answer = self._first_answer(ours)
        if not answer.startswith("started "):
            self.kill()
            reason = answer.removeprefix("failed ") or "no answer"
            raise ProcessDied(f"{self.name} could not be started: {reason}")
        self._pid = int(answer.removeprefix("started "))

    def wait_until(self, ready: Condition, within: float) -> None:
        """Wait until `ready` holds, at most `within` seconds.

        Raises `ProcessDied` or `NotReady`, both with the last lines of the log.
        """
        give_up = time.monotonic() + within
        while not ready():
            if not self.running:
                raise ProcessDied(f"{self.name} ended with {self._ending()} before it was ready.{self._log_words()}")
            if time.monotonic() >= give_up:
                awaited = f"waited for {getattr(ready, '__name__', None) or ready}"
                raise NotReady(f"{self.name} was not ready within {within:g} s ({awaited}).{self._log_words()}")
            time.sleep(POLL_SECONDS)

    def finish(self, within: float) -> None:
        """Wait until the process has ended well, at most `within` seconds; then it is killed.

        Raises `ProcessDied` when it ends with anything but 0, `NotReady` when it does not end.
        """
        if self._guard is None:
            raise ProcessError(f"{self.name} was never started")
        try:
            code = self._guard.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NotReady(f"{self.name} took over {within:g} s and was ended.{self._log_words()}") from None
        self._let_go()
        if code:
            raise ProcessDied(f"{self.name} ended with {self._ending()}.{self._log_words()}")

    def wait_ended(self, within: float) -> int:
        """Wait until the process ends by itself and return its exit code, or minus the signal that ended it.

        Raises `NotReady` when it still runs after `within` seconds; it goes on running then.
        """
        if self._guard is None:
            raise ProcessError(f"{self.name} was never started")
        try:
            return self._guard.wait(within)
        except subprocess.TimeoutExpired:
            raise NotReady(f"{self.name} still ran after {within:g} s.{self._log_words()}") from None

    def freeze(self) -> None:
        """Stop the time of the process and all it started (SIGSTOP); returns when it stands still.

        Raises `ProcessDied` when it does not run.
        """
        pid = self.pid
        self.send(signal.SIGSTOP)
        give_up = time.monotonic() + FREEZE_TIMEOUT
        while not _stands_still(pid):
            if not self.running:
                raise ProcessDied(f"{self.name} ended with {self._ending()}")
            if time.monotonic() >= give_up:
                raise NotReady(f"{self.name} does not stand still {FREEZE_TIMEOUT:g} s after SIGSTOP")
            time.sleep(FREEZE_POLL_SECONDS)

    def thaw(self) -> None:
        """Let a frozen process go on (SIGCONT). Does nothing to one that is not frozen or has ended."""
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and all it started. Does nothing when it has ended."""
        if self._lifeline is not None:
            with contextlib.suppress(OSError):
                self._lifeline.sendall(bytes([number]))

    def stop(self, grace: float = 10.0) -> int | None:
        """Ask the process to end (SIGTERM), after `grace` seconds make it (SIGKILL); return its exit code."""
        self.send(signal.SIGTERM)
        if self._guard is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(grace)
        return self.kill()

    def kill(self) -> int | None:
        """End the process and all it started at once (SIGKILL); return its exit code. May be called twice."""
        self.send(signal.SIGKILL)
        if self._guard is not None:
            try:
                self._guard.wait(KILL_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._guard.kill()
                self._guard.wait(KILL_TIMEOUT)
        self._let_go()
        return self.exit_code

    def restart(self, grace: float = 10.0) -> None:
        """Stop the process if it runs, and start it again."""
        self.stop(grace)
        self.start()

    def rss_bytes(self) -> int:
        """Return the memory the process itself holds (resident set), in bytes. Raises `ProcessDied`."""
        status = Path(f"/proc/{self.pid}/status")
        if status.exists():
            for line in status.read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
            raise ProcessDied(f"{self.name} is ending")
        command = ["/bin/ps", "-o", "rss=", "-p", str(self.pid)]  # macOS has no /proc
        shown = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
        return int(shown.stdout.strip() or 0) * 1024

    def log_tail(self, lines: int = TAIL_LINES) -> list[str]:
        """Return the last lines the process has written since it was last started."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(self._log_start, end - TAIL_BYTES))
            return log.read().decode(errors="replace").splitlines()[-lines:]

    def __enter__(self) -> Self:
        """Start the process."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the process."""
        self.stop()

    def _first_answer(self, lifeline: socket.socket) -> str:
        lifeline.settimeout(SPAWN_TIMEOUT)
        received = b""
        with contextlib.suppress(OSError):
            while not received.endswith(b"\n") and (some := lifeline.recv(4096)):
                received += some
        return received.decode(errors="replace").strip()

    def _let_go(self) -> None:
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
        self._pid = None

    def _ending(self) -> str:
        code = self.exit_code
        if code is not None and code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"

    def _log_words(self) -> str:
        tail = self.log_tail()
        if not tail:
            return f" It wrote nothing to {self.log}."
        return "\n".join([f" The end of {self.log}:", *(f"    {line}" for line in tail)])


def _stands_still(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            return stat.read_text().rpartition(")")[2].split()[0] in {"T", "t"}
        except (FileNotFoundError, ProcessLookupError):
            return False
    command = ["/bin/ps", "-o", "state=", "-p", str(pid)]  # macOS has no /proc
    shown = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    return shown.stdout.strip().startswith("T")
