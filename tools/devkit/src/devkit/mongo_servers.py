"""Which MongoDB server to embed: the fast one, built from source once, or the one that installs in seconds.

Both keep their data with MongoDB's own storage engine and both are betas for development only. Neither is
part of what Jawab ships.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from devkit.cache import cache_dir, exclusive
from devkit.process import ChildProcess, ProcessError
from devkit.progress import Say, say, working_line
from devkit.wheels import Wheel, program_of

CRATE, CRATE_VERSION = "secantus-mdb", "0.5.3-beta.196"
BUILD_TIMEOUT = 1800.0
WHEEL = Wheel("secantusdb", "secantusdb>=0.7.0b1,<0.8", "bin/secantusd-py", beta=True)


class MongoUnavailable(RuntimeError):
    """No embedded MongoDB server could be had."""


def fast_program(cache: Path) -> Path:
    """Return where the fast server is once it has been built."""
    return cache / "secantusd-rs" / "bin" / "secantusd-rs"


def has_fast(cache: Path) -> bool:
    """Say whether the fast server has been built."""
    return os.access(fast_program(cache), os.X_OK)


def install_fast(cache: Path, *, cargo: str | None = None, tell: Say = say) -> Path:
    """Build the fast server into the cache (once; about five minutes on two cores) and return its program.

    Raises `MongoUnavailable`.
    """
    program = fast_program(cache)
    home = program.parent.parent
    with exclusive(home):
        if has_fast(cache):
            return program
        cargo = cargo or shutil.which("cargo")
        if cargo is None:
            raise MongoUnavailable(
                "the fast MongoDB server is built with Rust's cargo, which is not on PATH: install Rust"
                " (https://rustup.rs), set MONGODB_URL to a server of yours, or do with the slow one"
            )
        tell(f"building {CRATE} {CRATE_VERSION} with cargo; this is done once and takes some minutes")
        command = [cargo, "install", CRATE, "--version", CRATE_VERSION, "--ignore-rust-version", "--root", str(home)]
        build = ChildProcess("cargo install", command, log=cache / "secantusd-rs.build.log")
        with working_line(f"building {CRATE}") as show:

            def built() -> bool:
                show(" ".join(build.log_tail(1)).strip())
                return not build.running

            try:
                build.start()
                build.wait_until(built, BUILD_TIMEOUT)
                build.finish(within=1.0)
            except ProcessError as problem:
                raise MongoUnavailable(str(problem)) from problem
            finally:
                build.kill()
        if not has_fast(cache):
            raise MongoUnavailable(f"cargo built {CRATE} without the program {program}: see {build.log}")
        return program


def build_fast_if_possible(
    cache: Path | None = None, *, environ: Mapping[str, str] = os.environ, tell: Say = say
) -> bool:
    """Build the fast server where that has not been done and cargo is there; say whether there is one now.

    For what is too slow on the wheel's server: `Stack(fast_mongo=build_fast_if_possible())`. A build that fails is
    told in words and leaves the wheel to be used. Raises `devkit.cache.CacheBusy` when another process builds for too
    long.
    """
    cache = cache or cache_dir(environ)
    if has_fast(cache):
        return True
    cargo = find_cargo(environ)
    if cargo is None:
        tell("the slow MongoDB server is used: without cargo the fast one cannot be built (https://rustup.rs)")
        return False
    try:
        install_fast(cache, cargo=cargo, tell=tell)
    except MongoUnavailable as problem:
        tell(f"the slow MongoDB server is used: {problem}")
        return False
    return True


def find_cargo(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return cargo from PATH, else from where rustup puts it, else None."""
    home = environ.get("HOME", "")
    rustup = Path(environ.get("CARGO_HOME") or Path(home) / ".cargo") / "bin"
    return shutil.which("cargo", path=environ.get("PATH", os.defpath)) or shutil.which("cargo", path=str(rustup))


def choose_server(cache: Path, fast: bool | None, *, environ: Mapping[str, str] = os.environ, tell: Say = say) -> Path:
    """Return the server's program: the fast one where it is there, else the wheel (installed if need be).

    `fast` insists on the one or the other. Raises `MongoUnavailable` or `devkit.wheels.WheelUnavailable`.
    """
    if fast is True and not has_fast(cache):
        raise MongoUnavailable(
            f"the fast MongoDB server is not in {cache}: build it first (devkit.mongo_servers.install_fast)"
        )
    if fast is not False and has_fast(cache):
        return fast_program(cache)
    return program_of(WHEEL, cache, environ=environ, tell=tell)
