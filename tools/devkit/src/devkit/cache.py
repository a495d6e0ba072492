"""Where downloads are kept between runs, so that only the first run on a machine needs a network.

Everything in the folder can be deleted at any time: what is missing is fetched again.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

LOCK_PATIENCE = 1800.0
"""Seconds to wait for another process that holds a cache folder: longer than a `cargo install` takes."""


class CacheBusy(RuntimeError):
    """Another process held a cache folder for longer than we were willing to wait."""


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the cache folder: `JAWAB_CACHE`, else `$XDG_CACHE_HOME/jawab`, else `~/.cache/jawab`."""
    if chosen := environ.get("JAWAB_CACHE"):
        return Path(chosen).expanduser().absolute()
    if shared := environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser().absolute() / "jawab"
    return Path(environ.get("HOME") or Path.home()).expanduser() / ".cache" / "jawab"


@contextlib.contextmanager
def exclusive(folder: Path, *, patience: float = LOCK_PATIENCE) -> Iterator[None]:
    """Hold `folder` (created if missing) against other processes and threads; waits `patience` seconds.

    The lock is the kernel's, on `<folder>.lock`: it ends with its holder, however that one ends.
    Raises `CacheBusy`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f"{folder.name}.lock")
    give_up = time.monotonic() + patience
    with lock.open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    raise CacheBusy(
                        f"another process has held {lock} for {patience:.0f} s: let it finish, or end it"
                    ) from None
                time.sleep(0.1)
        yield
