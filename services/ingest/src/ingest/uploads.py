"""Bodies that are being read, all together: who makes room when there is too much of them. Pure.

A small body always has room: connections are bounded, and so many times `SMALL_BODY_BYTES` is little. Larger ones share
a bound in bytes. Beyond it the source that takes most makes room, with the body that has taken most for longest, so
whoever sends much slowly. Nothing is known of a sender before its whole body is read, because the signature covers it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

SMALL_BODY_BYTES = 64 * 1024


@dataclass(eq=False, slots=True)
class Upload:
    """One body on its way. `evict` ends its reading; it may be called while the body's own chunk is counted."""

    source: str
    began: float
    evict: Callable[[], None]
    size: int = 0
    evicted: bool = False

    @property
    def room(self) -> int:
        """How many bytes of the shared room it takes."""
        return 0 if self.evicted or self.size <= SMALL_BODY_BYTES else self.size


class Uploads:
    """All bodies that are being read."""

    def __init__(self, max_bytes: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._open: dict[Upload, None] = {}
        self._room = 0
        self.bytes = 0
        """Of all of them, small ones too."""

    def begin(self, source: str, evict: Callable[[], None]) -> Upload:
        """Add a body of which nothing has come."""
        upload = Upload(source, self._now(), evict)
        self._open[upload] = None
        return upload

    def grow(self, upload: Upload, size: int) -> None:
        """Count `size` more bytes; evict as many bodies as are in the way, perhaps this one."""
        self._room -= upload.room
        upload.size += size
        self._room += upload.room
        self.bytes += size
        while self._room > self._max_bytes:
            self._evict(self._largest())

    def end(self, upload: Upload) -> None:
        """Forget a body, read or not."""
        if self._open.pop(upload, upload) is None:
            self._room -= upload.room
            self.bytes -= upload.size

    def _evict(self, upload: Upload) -> None:
        self._room -= upload.room
        upload.evicted = True
        upload.evict()

    def _largest(self) -> Upload:
        """Return what makes room: there is one, because the room is taken by somebody."""
        now = self._now()
        shares: dict[str, int] = {}
        for upload in self._open:
            shares[upload.source] = shares.get(upload.source, 0) + upload.room
        most = max(shares, key=lambda source: shares[source])
        return max(
            (upload for upload in self._open if upload.source == most and upload.room),
            key=lambda upload: (upload.room * (now - upload.began), upload.room),
        )
