"""What the command's tests share: an empty environment, and outside parties as small real HTTP servers."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.app import run

Answer = tuple[int, bytes]
Respond = Callable[[str, str, dict[str, str], bytes], Answer]
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "JAWAB_CACHE", "XDG_CACHE_HOME", "COVERAGE_PROCESS_START")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Stand in an empty directory with an empty environment."""
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - set(KEPT):
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def jawab(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; return its code, what it wrote, and what it said on standard error."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(arguments)
        written = capsys.readouterr()
        return code, written.out, written.err

    return run_command


@contextmanager
def _serving(respond: Respond) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, said = respond(self.command, self.path, headers, body)
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = answer  # noqa: N815 the names http.server looks for

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def serving() -> Callable[[Respond], Any]:
    """Return what serves a function over HTTP for as long as its context is open, and gives the address."""
    return _serving
