"""What every embedded server can do: start, stop, die, freeze, be watched. Methods block; any thread may call them."""

import signal
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from devkit.process import ChildProcess, ProcessDied

START_TIMEOUT = 60.0


class EmbeddedServer(ABC):
    """A server that runs as a child process and can be started again on its ports and data."""

    _process: ChildProcess | None = None

    @abstractmethod
    def _prepare(self) -> ChildProcess:
        """Fetch what is missing and return the process that is to be started."""

    @abstractmethod
    def _await_service(self, process: ChildProcess, within: float) -> None:
        """Wait until the started process serves. Raises `devkit.process.ProcessError`."""

    @property
    def running(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """The server's process id. Raises `devkit.process.ProcessDied` when it does not run."""
        if self._process is None:
            raise ProcessDied(f"{type(self).__name__} has not been started")
        return self._process.pid

    def start(self, within: float = START_TIMEOUT) -> None:
        """Fetch what is missing, start the server and wait until it serves.

        `within` bounds the start in seconds, not what is fetched. Raises what the server's class says.
        """
        if self._process is None:
            self._process = self._prepare()
        self._process.start()
        try:
            self._await_service(self._process, within)
        except BaseException:
            self._process.kill()
            raise

    def stop(self, grace: float = 15.0) -> None:
        """Shut the server down in order; after `grace` seconds kill it."""
        if self._process is not None:
            self._process.stop(grace)

    def kill(self) -> None:
        """End the server at once, as a crash would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()

    def restart(self, grace: float = 15.0) -> None:
        """Stop the server if it runs and start it on the same port and data; returns when it serves."""
        self.stop(grace)
        self.start()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers."""
        if self._process is not None:
            self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        if self._process is not None:
            self._process.send(signal.SIGCONT)

    def rss_bytes(self) -> int:
        """Return the server's resident memory in bytes."""
        return 0 if self._process is None else self._process.rss_bytes()

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()
