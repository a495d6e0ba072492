"""Downloads: only whole and right files appear, and nothing is fetched twice."""

import hashlib
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devkit import download
from devkit.download import ChecksumMismatch, Pinned, Unavailable, fetch_all, missing_from
from devkit.ports import free_port


def noise(size: int) -> bytes:
    """Return bytes of which no two pieces are alike."""
    return hashlib.shake_256(b"jawab").digest(size)


class Repository(ThreadingHTTPServer):
    """A file server that knows ranges and can be told to break off, to stall, or to answer with an error."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {}
        self.requests: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.statuses: list[int] = []
        self.break_off_after: list[int] = []
        self.stall_after: int | None = None
        self.stalled = threading.Event()
        self.go_on = threading.Event()
        self.knows_ranges = True

    def pin(self, name: str, content: bytes) -> Pinned:
        self.files[f"/{name}"] = content
        url = f"http://127.0.0.1:{self.server_port}/{name}"
        return Pinned(url, name, hashlib.sha256(content).hexdigest(), len(content))


class Answer(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        repository = self.server
        repository.requests[self.path] += 1
        if repository.statuses:
            self.send_error(repository.statuses.pop())
            return
        content, start = repository.files[self.path], 0
        if (asked := self.headers["Range"]) and repository.knows_ranges:
            repository.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if repository.break_off_after:
            self.wfile.write(body[: repository.break_off_after.pop()])
            self.close_connection = True
            return
        if repository.stall_after is not None:
            self.wfile.write(body[: repository.stall_after])
            self.wfile.flush()
            repository.stalled.set()
            repository.go_on.wait(20)
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent."""


@pytest.fixture
def repository() -> Iterator[Repository]:
    with Repository() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


def test_files_arrive_whole_and_the_progress_ends_at_their_sum(repository, tmp_path):
    pins = [repository.pin(f"{n}.jar", noise(n * 100_000)) for n in range(12)]
    seen: list[tuple[int, int]] = []
    assert fetch_all(pins, tmp_path, advance=lambda done, total: seen.append((done, total))) == 12
    assert all((tmp_path / pin.name).read_bytes() == repository.files[f"/{pin.name}"] for pin in pins)
    assert seen[-1] == (6_600_000, 6_600_000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_second_run_asks_for_nothing(repository, tmp_path):
    pins = [repository.pin("a.jar", b"a"), repository.pin("b.jar", b"b")]
    fetch_all(pins, tmp_path)
    assert fetch_all(pins, tmp_path) == 0
    assert repository.requests == {"/a.jar": 1, "/b.jar": 1}


def test_a_file_with_another_checksum_is_refused_and_removed(repository, tmp_path):
    pin = repository.pin("a.jar", b"right")
    repository.files["/a.jar"] = b"wrong"
    with pytest.raises(ChecksumMismatch, match="expected SHA-256"):
        fetch_all([pin], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_long_is_refused_and_removed(repository, tmp_path):
    pin = repository.pin("a.jar", b"right")
    repository.files["/a.jar"] = b"right and a login page"
    with pytest.raises(ChecksumMismatch):
        fetch_all([pin], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_spoilt_in_the_cache_is_fetched_again(repository, tmp_path):
    pin = repository.pin("a.jar", b"right")
    (tmp_path / "a.jar").write_bytes(b"wrong")
    assert missing_from(tmp_path, [pin]) == [pin]
    fetch_all([pin], tmp_path)
    assert (tmp_path / "a.jar").read_bytes() == b"right"


def test_a_half_file_of_something_else_is_thrown_away_and_fetched_from_the_start(repository, tmp_path):
    pin = repository.pin("a.jar", b"0123456789")
    (tmp_path / "a.jar.part").write_bytes(b"xxxx")
    fetch_all([pin], tmp_path)
    assert repository.ranges == ["bytes=4-"]
    assert (tmp_path / "a.jar").read_bytes() == b"0123456789"


def test_a_server_without_ranges_gives_the_whole_file_again(repository, tmp_path):
    pin = repository.pin("a.jar", b"0123456789")
    (tmp_path / "a.jar.part").write_bytes(b"0123")
    repository.knows_ranges = False
    fetch_all([pin], tmp_path)
    assert (tmp_path / "a.jar").read_bytes() == b"0123456789"


@given(cuts=st.lists(st.integers(0, 999), max_size=download.ATTEMPTS - 1))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_connections_break_off_the_file_arrives_intact(repository, tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("cut")
    pin = repository.pin("cut.jar", noise(1000))
    repository.break_off_after = list(cuts)
    fetch_all([pin], folder, retry_delay=0.0)
    assert missing_from(folder, [pin]) == []


def test_a_server_that_fails_for_a_moment_is_asked_again(repository, tmp_path):
    pin = repository.pin("a.jar", b"right")
    repository.statuses = [503, 429]
    assert fetch_all([pin], tmp_path) == 1


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, 3)])
def test_a_server_that_will_not_give_the_file_is_unavailable(repository, tmp_path, status, requests):
    pin = repository.pin("a.jar", b"right")
    repository.statuses = [status] * 3
    with pytest.raises(Unavailable, match=str(status)):
        fetch_all([pin], tmp_path, retry_delay=0.0)
    assert repository.requests["/a.jar"] == requests


def test_no_server_at_all_is_unavailable_and_named(tmp_path):
    url = f"http://127.0.0.1:{free_port()}/a.jar"
    with pytest.raises(Unavailable, match=url):
        fetch_all([Pinned(url, "a.jar", "0" * 64, 1)], tmp_path)


FETCH = """
import sys
from pathlib import Path
from devkit.download import Pinned, fetch_all
pins = [Pinned(*line.split()[:3], int(line.split()[3])) for line in sys.argv[2:]]
fetch_all(pins, Path(sys.argv[1]))
"""


def fetching(folder: Path, pins: list[Pinned]) -> "subprocess.Popen[bytes]":
    lines = [f"{pin.url} {pin.name} {pin.sha256} {pin.size}" for pin in pins]
    return subprocess.Popen([sys.executable, "-c", FETCH, str(folder), *lines])


def test_processes_that_want_the_same_files_at_once_fetch_each_once(repository, tmp_path):
    pins = [repository.pin(f"{n}.jar", noise(300_000)) for n in range(5)]
    processes = [fetching(tmp_path / "jars", pins) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert set(repository.requests.values()) == {1}
    assert missing_from(tmp_path / "jars", pins) == []


def test_a_download_killed_half_way_goes_on_where_it_stopped(repository, tmp_path):
    pin = repository.pin("a.jar", noise(600_000))
    repository.stall_after = 400_000
    process = fetching(tmp_path, [pin])
    assert repository.stalled.wait(20)
    part = tmp_path / "a.jar.part"
    give_up = time.monotonic() + 20
    while (not part.exists() or not part.stat().st_size) and time.monotonic() < give_up:
        time.sleep(0.01)
    process.kill()
    process.wait(10)
    have = part.stat().st_size
    repository.stall_after = None
    fetch_all([pin], tmp_path, patience=5)
    assert have > 0
    assert repository.ranges == [f"bytes={have}-"]
    assert missing_from(tmp_path, [pin]) == []
