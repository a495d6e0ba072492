"""As much of Kafka's protocol as it takes to know that a broker serves: one Metadata request.

A broker that accepts connections may still be fenced, or lead none of its partitions yet (after a kill this
takes until the session of its former life has run out). Written by hand because the readiness check has to
work without an event loop. Source: https://kafka.apache.org/protocol (Metadata, version 1).
"""

import socket
import struct
from dataclasses import dataclass

METADATA, METADATA_VERSION = 3, 1
ALL_TOPICS = struct.pack(">i", -1)
LENGTH_BYTES = CORRELATION_BYTES = 4
ANSWER_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True)
class Metadata:
    """What a broker says of its cluster: its brokers' addresses and how many partitions have no leader."""

    brokers: tuple[str, ...]
    leaderless: int


def parse_metadata(body: bytes) -> Metadata:
    """Read a Metadata answer of version 1, without its length and correlation id. Raises `ValueError`."""
    reader = _Reader(body)
    brokers = []
    for _ in range(reader.int32()):
        reader.int32()
        brokers.append(f"{reader.string()}:{reader.int32()}")
        reader.string()
    reader.int32()
    leaderless = 0
    for _ in range(reader.int32()):
        reader.int16()
        reader.string()
        reader.int8()
        for _ in range(reader.int32()):
            reader.int16()
            reader.int32()
            leaderless += reader.int32() < 0
            for _ in range(reader.int32()):
                reader.int32()
            for _ in range(reader.int32()):
                reader.int32()
    return Metadata(tuple(brokers), leaderless)


def ask_metadata(port: int, host: str = "127.0.0.1", timeout: float = 2.0) -> Metadata:
    """Ask a broker for the metadata of all topics. Raises `OSError` or `ValueError`."""
    request = struct.pack(">hhih", METADATA, METADATA_VERSION, 1, -1) + ALL_TOPICS
    with socket.create_connection((host, port), timeout=timeout) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", _read(connection, LENGTH_BYTES))
        if not CORRELATION_BYTES <= length <= ANSWER_LIMIT:
            raise ValueError(f"{host}:{port} does not speak Kafka's protocol")
        return parse_metadata(_read(connection, length)[CORRELATION_BYTES:])


@dataclass(frozen=True)
class BrokerServes:
    """The broker has joined its cluster and every partition has a leader."""

    port: int

    def __call__(self) -> bool:
        """Ask the broker once."""
        try:
            metadata = ask_metadata(self.port)
        except (OSError, ValueError):
            return False
        return bool(metadata.brokers) and not metadata.leaderless

    def __str__(self) -> str:
        """Name the condition."""
        return f"a Kafka broker with leaders for all partitions on port {self.port}"


def _read(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        some = connection.recv(count - len(received))
        if not some:
            raise ConnectionError("the broker closed the connection")
        received += some
    return received


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def int8(self) -> int:
        return int.from_bytes(self._take(1), signed=True)

    def int16(self) -> int:
        return int.from_bytes(self._take(2), signed=True)

    def int32(self) -> int:
        return int.from_bytes(self._take(4), signed=True)

    def string(self) -> str | None:
        length = self.int16()
        return None if length < 0 else self._take(length).decode()

    def _take(self, count: int) -> bytes:
        part = self._body[self._at : self._at + count]
        if len(part) < count:
            raise ValueError("the answer is cut short")
        self._at += count
        return part
