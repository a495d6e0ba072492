"""Which server is embedded, and how the fast one gets there."""

from pathlib import Path

import pytest

from devkit.mongo_servers import (
    CRATE_VERSION,
    MongoUnavailable,
    build_fast_if_possible,
    choose_server,
    fast_program,
    find_cargo,
    has_fast,
    install_fast,
)
from devkit.wheels import WheelUnavailable

FAKE_CARGO = """#!/bin/sh
echo "$*" >> {calls}
echo "Compiling secantus-mdb"
{misbehave}
for last; do :; done
mkdir -p "$last/bin" && touch "$last/bin/secantusd-rs" && chmod +x "$last/bin/secantusd-rs"
"""


def fake_cargo(folder: Path, misbehave: str = "") -> str:
    program = folder / "cargo"
    program.write_text(FAKE_CARGO.format(calls=folder / "calls", misbehave=misbehave))
    program.chmod(0o755)
    return str(program)


def test_the_fast_server_is_built_once_in_the_pinned_version(tmp_path):
    cargo = fake_cargo(tmp_path)
    told: list[str] = []
    for _ in range(2):
        assert install_fast(tmp_path / "c", cargo=cargo, tell=told.append) == fast_program(tmp_path / "c")
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert f"--version {CRATE_VERSION}" in call
    assert len(told) == 1


def test_a_failed_build_shows_the_end_of_its_output(tmp_path):
    cargo = fake_cargo(tmp_path, misbehave='echo "error: linker cc not found"; exit 101')
    with pytest.raises(MongoUnavailable, match=r"(?s)exit code 101.*linker cc not found"):
        install_fast(tmp_path / "c", cargo=cargo, tell=lambda _: None)
    assert not has_fast(tmp_path / "c")


def test_a_machine_without_cargo_is_told_what_else_there_is(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MongoUnavailable, match=r"cargo.*MONGODB_URL"):
        install_fast(tmp_path)


def environment(tmp_path, **more):
    return {"PATH": "/nowhere", "HOME": str(tmp_path), "JAWAB_CACHE": str(tmp_path / "c"), **more}


def test_building_if_possible_builds_once_with_the_cargo_on_the_path(tmp_path):
    fake_cargo(tmp_path)
    environ = environment(tmp_path, PATH=f"{tmp_path}:/bin:/usr/bin")
    told: list[str] = []
    assert [build_fast_if_possible(environ=environ, tell=told.append) for _ in range(2)] == [True, True]
    assert len((tmp_path / "calls").read_text().splitlines()) == len(told) == 1


def test_cargo_is_found_where_rustup_puts_it(tmp_path):
    for home in (tmp_path / ".cargo", tmp_path / "elsewhere"):
        (home / "bin").mkdir(parents=True)
        fake_cargo(home / "bin")
    assert find_cargo(environment(tmp_path)) == str(tmp_path / ".cargo/bin/cargo")
    assert find_cargo(environment(tmp_path, CARGO_HOME=str(tmp_path / "elsewhere"))) == str(
        tmp_path / "elsewhere/bin/cargo"
    )


def test_without_cargo_or_after_a_failed_build_the_slow_server_is_left_and_it_is_told(tmp_path):
    told: list[str] = []
    assert not build_fast_if_possible(environ=environment(tmp_path), tell=told.append)
    assert "without cargo" in told[-1]
    fake_cargo(tmp_path, misbehave="exit 101")
    assert not build_fast_if_possible(environ=environment(tmp_path, PATH=f"{tmp_path}:/bin:/usr/bin"), tell=told.append)
    assert "exit code 101" in told[-1]


def test_the_fast_server_is_taken_where_it_is_there(tmp_path):
    install_fast(tmp_path / "c", cargo=fake_cargo(tmp_path), tell=lambda _: None)
    for fast in (None, True):
        assert choose_server(tmp_path / "c", fast) == fast_program(tmp_path / "c")


def test_insisting_on_a_fast_server_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(MongoUnavailable, match="install_fast"):
        choose_server(tmp_path, fast=True)


@pytest.mark.parametrize("fast", [None, False])
def test_otherwise_the_wheel_is_asked_for(tmp_path, fast):
    if fast is False:
        install_fast(tmp_path / "c", cargo=fake_cargo(tmp_path), tell=lambda _: None)
    with pytest.raises(WheelUnavailable, match="uv was found neither"):
        choose_server(tmp_path / "c", fast, environ={"PATH": "/nowhere"}, tell=lambda _: None)
