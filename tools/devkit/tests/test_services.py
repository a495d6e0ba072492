"""Processes of the services and their replicas start, end, freeze and come back under their names."""

import socket
import threading
import time
from contextlib import suppress

import httpx2
import pytest

from devkit.ports import free_ports
from devkit.process import NotReady, ProcessDied, ProcessError
from devkit.services import SERVICES, Services

STUB = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
if os.environ.get("FAIL"):
    sys.exit(3)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0) if not os.environ.get("STUBBORN") else None)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(137)
        body = os.environ.get("WORD", "none").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def services(tmp_path):
    for service in SERVICES:
        (tmp_path / f"{service}.py").write_text(STUB)
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    made = Services(tmp_path / "home", ports=ports, environment=lambda: {"PATH": "/usr/bin:/bin"}, folder=tmp_path)
    yield made
    made.stop_all(5.0)


def word(services, name):
    return httpx2.get(f"{services.url(name)}/readyz", timeout=5, trust_env=False).text


def answers(services, name, seconds=0.3):
    try:
        httpx2.get(services.url(name), timeout=seconds, trust_env=False)
    except httpx2.TransportError:
        return False
    return True


def test_settings_of_one_start_are_forgotten_at_the_next(services):
    services.start("ai", {"WORD": "once"})
    assert word(services, "ai") == "once"
    services.kill("ai")
    services.start("ai")
    assert word(services, "ai") == "none"


def test_replicas_get_names_and_ports_of_their_own_and_names_are_not_used_again(services):
    services.start("ai")
    services.start("delivery")
    assert services.start_replica("ai") == "ai-2"
    assert services.start_replica("ai", {"WORD": "third"}) == "ai-3"
    assert services.names("ai") == ["ai", "ai-2", "ai-3"]
    assert services.names() == ["ai", "delivery", "ai-2", "ai-3"]
    assert len({services.url(name) for name in services.names()}) == 4
    assert word(services, "ai-3") == "third"
    services.remove("ai-3")
    assert services.start_replica("ai") == "ai-4"


def test_a_killed_replica_starts_again_on_its_port(services):
    services.start_replica("ai")
    url = services.url("ai-2")
    services.kill("ai-2")
    assert not answers(services, "ai-2")
    services.start("ai-2")
    assert services.url("ai-2") == url
    assert answers(services, "ai-2", 5)


def test_stopping_tells_the_exit_code_and_the_time_it_took(services):
    services.start("ai")
    ended = services.stop("ai")
    assert (ended.exit_code, ended.in_order) == (0, True)
    assert 0 < ended.seconds < 10


def test_a_process_that_does_not_end_in_time_is_killed(services):
    services.start("ai", {"STUBBORN": "1"})
    ended = services.stop("ai", grace=0.2)
    assert (ended.exit_code, ended.in_order) == (-9, False)
    assert ended.seconds >= 0.2


def test_a_frozen_process_answers_nothing_until_thawed(services):
    services.start("ai")
    services.freeze("ai")
    assert not answers(services, "ai")
    services.thaw("ai")
    assert answers(services, "ai", 5)


def test_a_frozen_process_can_be_killed_and_can_be_stopped(services):
    services.start("ai")
    services.freeze("ai")
    services.kill("ai")
    services.start("ai")
    services.freeze("ai")
    assert services.stop("ai").exit_code == 0


def test_a_process_that_is_down_cannot_be_frozen(services):
    services.start("ai")
    services.kill("ai")
    with pytest.raises(ProcessDied):
        services.freeze("ai")


def test_the_end_of_a_process_is_waited_for_and_its_code_told(services):
    services.start("ai")
    with pytest.raises(NotReady, match="still ran"):
        services.wait_ended("ai", 0.05)
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{services.url('ai')}/die", timeout=5, trust_env=False)
    assert services.wait_ended("ai", 5) == 137


def test_a_start_can_be_left_to_be_waited_for_later(services):
    services.start("ai", wait=False)
    services.wait_ready("ai", 10)
    assert answers(services, "ai", 5)


def test_a_replica_that_cannot_start_is_not_kept(services):
    with pytest.raises(ProcessDied, match="exit code 3"):
        services.start_replica("ai", {"FAIL": "1"})
    assert services.names("ai") == []


def test_the_first_of_a_service_is_stopped_not_removed(services):
    services.start("ai")
    with pytest.raises(ValueError, match="only replicas"):
        services.remove("ai")


def test_a_name_that_is_none_is_told(services):
    services.start("ai")
    with pytest.raises(KeyError, match=r"no process ai-9; there are ai"):
        services.kill("ai-9")


def test_kept_running_starts_again_what_was_killed_and_leaves_down_what_was_stopped(services):
    restarted = threading.Semaphore(0)
    heard = []

    def on_restart(name):
        heard.append(name)
        restarted.release()

    for name in ("ai", "delivery"):
        services.start(name)
    services.start_replica("ai")
    with services.kept_running(on_restart):
        services.stop("delivery")
        for name in ("ai", "ai-2"):
            services.kill(name)
            assert restarted.acquire(timeout=20)
        assert answers(services, "ai-2", 5)
    assert heard == ["ai", "ai-2"]
    assert not services.processes["delivery"].running


def test_killing_and_starting_from_many_threads_leaves_a_process_that_can_be_started(services):
    def harass():
        for _ in range(5):
            services.kill("ai")
            with suppress(ProcessError):  # another thread has started it already
                services.start("ai", wait=False)

    services.start("ai")
    threads = [threading.Thread(target=harass) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    services.kill("ai")
    services.start("ai")
    assert answers(services, "ai", 5)


def test_a_killed_service_leaves_its_port_free(services):
    services.start("ai")
    services.kill("ai")
    give_up = time.monotonic() + 5
    while True:
        try:
            socket.create_server(("127.0.0.1", int(services.url("ai").rpartition(":")[2]))).close()
            break
        except OSError:
            assert time.monotonic() < give_up
            time.sleep(0.01)
