"""Fetches files whose checksum we know, whatever happens on the way.

A file appears under its name only when it is whole and right. An interrupted download goes on where it
stopped; of two processes that want the same folder, the second waits and then finds everything there.

    DownloadError
    ├── Unavailable       the address could not be reached or would not give the file: something else may do
    └── ChecksumMismatch  it gave another file than the one we pinned: never to be worked around
"""

import contextlib
import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx2

from devkit.cache import exclusive
from devkit.progress import Advance, silent

ATTEMPTS = 3
CHUNK_BYTES = 256 * 1024
TIMEOUT = httpx2.Timeout(20.0, connect=5.0)


class DownloadError(RuntimeError):
    """A file could not be had."""


class Unavailable(DownloadError):
    """The server cannot be reached, or does not give the file."""


class ChecksumMismatch(DownloadError):
    """What arrived is not what was pinned; it has been deleted."""


class _Passing(Exception):
    """The server may well give the file in a moment."""


_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True)
class Pinned:
    """A file we know the content of: where it is, what it is called here, its SHA-256 and size in bytes."""

    url: str
    name: str
    sha256: str
    size: int


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def missing_from(folder: Path, files: Sequence[Pinned]) -> list[Pinned]:
    """Return those of `files` that are not in `folder` with the right content."""
    return [file for file in files if not _is_here(folder / file.name, file)]


def fetch_all(
    files: Sequence[Pinned],
    folder: Path,
    *,
    advance: Advance = silent,
    at_once: int = 8,
    patience: float = 600.0,
    retry_delay: float = 0.3,
) -> int:
    """Bring all of `files` into `folder`, `at_once` at a time, and return how many had to be downloaded.

    `patience` is how long, in seconds, another process may hold the folder before we give up; `retry_delay`
    how long we wait before a second attempt at a file, twice that before the third.
    Raises `Unavailable`, `ChecksumMismatch` or `devkit.cache.CacheBusy`.
    """
    if not missing_from(folder, files):
        return 0
    with exclusive(folder, patience=patience):
        wanted = missing_from(folder, files)
        tally = _Tally(total=sum(file.size for file in wanted), advance=advance)
        with (
            httpx2.Client(timeout=TIMEOUT, follow_redirects=True) as client,
            ThreadPoolExecutor(at_once, thread_name_prefix="download") as pool,
        ):
            downloads = [pool.submit(_fetch, client, file, folder, tally, retry_delay) for file in wanted]
            try:
                finished, _ = wait(downloads, return_when=FIRST_EXCEPTION)
                for download in finished:
                    download.result()
            finally:
                tally.given_up.set()
                pool.shutdown(cancel_futures=True)
        return len(wanted)


class _Tally:
    """Counts the bytes of all downloads together, and tells the others when one has failed."""

    def __init__(self, total: int, advance: Advance) -> None:
        self.given_up = threading.Event()
        self._total = total
        self._advance = advance
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._advance(self._done, self._total)


def _is_here(path: Path, file: Pinned) -> bool:
    return path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256


def _fetch(client: httpx2.Client, file: Pinned, folder: Path, tally: _Tally, retry_delay: float) -> None:
    part = folder / f"{file.name}.part"
    with contextlib.suppress(FileNotFoundError):
        tally.add(part.stat().st_size)
    for attempt in range(1, ATTEMPTS + 1):
        resumed = part.exists()
        try:
            _receive(client, file, part, tally)
        except (httpx2.TransportError, _Passing) as error:
            if attempt == ATTEMPTS or tally.given_up.wait(retry_delay * attempt):
                raise Unavailable(f"{file.url} cannot be had: {_reason(error)}") from error
            continue
        found, size = sha256_of(part), part.stat().st_size
        if found == file.sha256:
            part.replace(folder / file.name)
            return
        part.unlink()
        tally.add(-size)
        if not resumed or attempt == ATTEMPTS:
            raise ChecksumMismatch(
                f"{file.url} is not the file we pinned and was deleted: expected SHA-256 {file.sha256}"
                f" ({file.size} bytes), got {found} ({size} bytes). A proxy may have answered in its place"
            )


def _receive(client: httpx2.Client, file: Pinned, part: Path, tally: _Tally) -> None:
    have = part.stat().st_size if part.exists() else 0
    if part.exists() and have >= file.size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with client.stream("GET", file.url, headers=headers) as answer:
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status_code in _LATER:
            raise _Passing(f"HTTP {answer.status_code} {answer.reason_phrase}")
        if answer.status_code not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            raise Unavailable(f"{file.url} answers HTTP {answer.status_code} {answer.reason_phrase}")
        append = answer.status_code == HTTPStatus.PARTIAL_CONTENT
        if have and not append:
            tally.add(-have)
        with part.open("ab" if append else "wb") as out:
            for chunk in answer.iter_raw(CHUNK_BYTES):
                if tally.given_up.is_set():
                    raise Unavailable(f"{file.url}: stopped, because another file could not be had")
                out.write(chunk)
                tally.add(len(chunk))
                if out.tell() > file.size:
                    return
    if part.stat().st_size < file.size:
        raise _Passing(f"only {part.stat().st_size} of {file.size} bytes arrived")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
