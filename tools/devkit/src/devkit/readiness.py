"""What "it is up" means for a process: each condition is asked again and again until it holds."""

import socket
from collections.abc import Callable
from dataclasses import dataclass

import httpx2

Condition = Callable[[], bool]
"""Says whether a process is ready now; takes at most a second or two. Its `str()` goes into errors."""


@dataclass(frozen=True)
class TcpOpen:
    """Something accepts connections on the port."""

    port: int
    host: str = "127.0.0.1"

    def __call__(self) -> bool:
        """Try one connection."""
        try:
            with socket.create_connection((self.host, self.port), timeout=1.0):
                return True
        except OSError:
            return False

    def __str__(self) -> str:
        """Name the condition."""
        return f"TCP port {self.host}:{self.port}"


@dataclass(frozen=True)
class HttpOk:
    """The URL answers GET with a 2xx status."""

    url: str

    def __call__(self) -> bool:
        """Send one request."""
        try:
            return httpx2.get(self.url, timeout=1.0, trust_env=False).is_success
        except httpx2.HTTPError:
            return False

    def __str__(self) -> str:
        """Name the condition."""
        return f"GET {self.url}"
