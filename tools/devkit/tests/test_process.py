"""Supervised processes: nothing stays behind, and failures can be read."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from devkit.ports import free_port
from devkit.process import GUARD, ChildProcess, NotReady, ProcessDied, ProcessError
from devkit.readiness import HttpOk, TcpOpen

FAMILY = "sleep 600 & echo $!; echo $$; wait"
"""A process with a child of its own; it writes both ids to its log."""


def python(name: str, code: str, log: Path) -> ChildProcess:
    return ChildProcess(name, [sys.executable, "-u", "-c", code], log=log)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    if not sys.platform.startswith("linux"):
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"  # ended, and only waits for whoever adopted it to look


def until(holds: Callable[[], bool], within: float = 60.0) -> bool:
    give_up = time.monotonic() + within
    while not holds():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


def family_of(log: Path) -> list[int]:
    assert until(lambda: log.exists() and len(log.read_text().split()) == 2)
    return [int(pid) for pid in log.read_text().split()]


PARENT = """
import sys, time
from pathlib import Path
from devkit.process import GUARD, ChildProcess
child = ChildProcess("family", ["sh", "-c", sys.argv[2]], log=Path(sys.argv[1]))
child.start()
if sys.argv[3:]:
    sys.exit(0)
time.sleep(600)
"""


def test_no_child_or_grandchild_stays_when_the_parent_is_killed(tmp_path):
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log), FAMILY])
    family = family_of(log)
    assert not any(gone(pid) for pid in family)
    parent.kill()
    parent.wait(10)
    assert until(lambda: all(gone(pid) for pid in family))


def test_no_child_or_grandchild_stays_when_the_parent_is_killed_before_it_knows_that_they_run(tmp_path):
    """The answer of the guard is unread then, and the end of the parent is a reset instead of an end."""
    log = tmp_path / "log"
    ours, theirs = socket.socketpair()
    with theirs, log.open("ab") as output:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), str(theirs.fileno()), "sh", "-c", FAMILY],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[theirs.fileno()],
        )
    family = family_of(log)
    assert until(lambda: bool(select.select([ours], [], [], 0)[0]))
    ours.close()
    guard.wait(60)
    assert until(lambda: all(gone(pid) for pid in family))


def test_no_child_stays_when_the_parent_just_ends(tmp_path):
    log = tmp_path / "log"
    trap = "trap '' TERM; " + FAMILY
    subprocess.run([sys.executable, "-W", "ignore", "-c", PARENT, str(log), trap, "leave"], timeout=30, check=True)
    assert until(lambda: all(gone(pid) for pid in (int(word) for word in log.read_text().split())))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="parent-death signals are Linux's")
def test_the_command_ends_when_its_guard_is_killed(tmp_path):
    child = ChildProcess("sleeper", ["sleep", "600"], log=tmp_path / "log")
    child.start()
    pid = child.pid
    guard = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGKILL)
    assert until(lambda: gone(pid))
    child.kill()


def test_a_process_started_in_a_thread_outlives_the_thread(tmp_path):
    child = ChildProcess("sleeper", ["sleep", "600"], log=tmp_path / "log")
    thread = threading.Thread(target=child.start)
    thread.start()
    thread.join()
    assert not until(lambda: not child.running, within=0.5)
    child.kill()


def test_what_a_process_leaves_running_ends_with_it(tmp_path):
    log = tmp_path / "log"
    child = ChildProcess("family", ["sh", "-c", "sleep 600 & echo $!; echo $$"], log=log)
    child.start()
    assert until(lambda: all(gone(pid) for pid in family_of(log)))
    assert child.kill() == 0


def test_stop_lets_a_process_end_in_its_own_way(tmp_path):
    child = ChildProcess(
        "polite", ["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"], log=tmp_path / "log"
    )
    child.start()
    child.wait_until(lambda: child.log_tail() == ["up"], within=10)
    assert child.stop() == 7
    assert not child.running


def test_stop_kills_a_process_that_will_not_end(tmp_path):
    child = ChildProcess(
        "stubborn", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"], log=tmp_path / "log"
    )
    child.start()
    child.wait_until(lambda: child.log_tail() == ["up"], within=10)
    assert child.stop(grace=0.2) == -signal.SIGKILL


def test_a_signal_sent_at_once_is_not_lost(tmp_path):
    """A process that has only just been started still ends by SIGTERM, not by the SIGKILL after the grace."""
    for _ in range(5):
        child = ChildProcess("sleeper", ["sleep", "600"], log=tmp_path / "log")
        child.start()
        assert child.stop(grace=20) == -signal.SIGTERM


def test_stopping_and_killing_twice_or_before_the_start_does_nothing(tmp_path):
    child = ChildProcess("sleeper", ["sleep", "600"], log=tmp_path / "log")
    assert child.stop() is None
    child.start()
    assert child.kill() == child.kill() == child.stop() == -signal.SIGKILL


def test_a_restarted_process_is_a_new_one(tmp_path):
    with ChildProcess("sleeper", ["sleep", "600"], log=tmp_path / "log") as child:
        first = child.pid
        child.restart()
        assert child.pid != first
        assert gone(first)
    with pytest.raises(ProcessDied, match="sleeper is not running"):
        _ = child.pid


def test_a_running_process_is_not_started_again(tmp_path):
    with ChildProcess("sleeper", ["sleep", "600"], log=tmp_path / "log") as child, pytest.raises(ProcessError):
        child.start()


def test_a_process_that_dies_before_it_is_ready_shows_the_end_of_its_log(tmp_path):
    code = "print(*range(100), sep='\\n'); raise SystemExit('the disk is full')"
    child = python("broker", code, tmp_path / "log")
    child.start()
    with pytest.raises(ProcessDied) as caught:
        child.wait_until(TcpOpen(free_port()), within=30)
    words = str(caught.value)
    assert words.startswith("broker ended with exit code 1 before it was ready.")
    assert words.endswith("the disk is full")
    assert "    99" in words
    assert "    42" not in words
    child.kill()


def test_only_the_last_life_of_a_process_is_shown(tmp_path):
    log = tmp_path / "log"
    log.write_text("an older line\n")
    child = python("broker", "raise SystemExit('now')", log)
    child.start()
    assert until(lambda: not child.running)
    assert child.log_tail() == ["now"]
    child.kill()


def test_a_process_that_a_signal_ended_says_which(tmp_path):
    child = python("broker", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", tmp_path / "log")
    child.start()
    with pytest.raises(ProcessDied, match="ended with signal SIGSEGV"):
        child.wait_until(lambda: False, within=30)
    child.kill()


def test_a_process_that_does_not_get_ready_says_what_was_awaited(tmp_path):
    port = free_port()
    with (
        ChildProcess("broker", ["sh", "-c", "echo thinking; sleep 600"], log=tmp_path / "log") as child,
        pytest.raises(
            NotReady, match=rf"not ready within 0\.3 s \(waited for TCP port 127\.0\.0\.1:{port}\)[^$]*thinking"
        ),
    ):
        child.wait_until(TcpOpen(port), within=0.3)


def test_a_command_that_does_not_exist_is_named(tmp_path):
    child = ChildProcess("broker", ["/nowhere/broker"], log=tmp_path / "log")
    with pytest.raises(ProcessDied, match=r"broker could not be started: .*No such file"):
        child.start()
    assert not child.running


def test_a_job_that_ends_badly_is_told_from_one_that_ends_well(tmp_path):
    for code, fine in (("0", True), ("3", False)):
        job = ChildProcess("job", ["sh", "-c", f"exit {code}"], log=tmp_path / "log")
        job.start()
        if fine:
            job.finish(within=20)
        else:
            with pytest.raises(ProcessDied, match=r"job ended with exit code 3\. It wrote nothing"):
                job.finish(within=20)


def test_a_job_that_takes_too_long_is_ended(tmp_path):
    job = ChildProcess("job", ["sleep", "600"], log=tmp_path / "log")
    job.start()
    pid = job.pid
    with pytest.raises(NotReady, match=r"over 0\.1 s"):
        job.finish(within=0.1)
    assert gone(pid)


def test_the_environment_given_replaces_ours(tmp_path):
    child = ChildProcess("env", ["/usr/bin/env"], log=tmp_path / "log", environment={"ONLY": "this"})
    child.start()
    child.finish(within=20)
    assert "ONLY=this" in child.log_tail()
    assert not any(line.startswith("PATH=") for line in child.log_tail())


def test_memory_is_counted_for_the_process_itself(tmp_path):
    code = "held = bytearray(64 << 20); print('up'); import time; time.sleep(600)"
    with python("holder", code, tmp_path / "log") as child:
        child.wait_until(lambda: child.log_tail() == ["up"], within=20)
        assert 64 << 20 < child.rss_bytes() < 200 << 20


def test_a_port_is_open_once_something_listens():
    class Fine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204 if self.path == "/readyz" else 503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay silent."""

    port = free_port()
    assert not TcpOpen(port)()
    assert not HttpOk(f"http://127.0.0.1:{port}/readyz")()
    with ThreadingHTTPServer(("127.0.0.1", port), Fine) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        answers = [TcpOpen(port)(), *(HttpOk(f"http://127.0.0.1:{port}/{path}")() for path in ("readyz", "other"))]
        server.shutdown()
        thread.join()
    assert answers == [True, True, False]
