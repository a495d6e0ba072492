"""Where Kafka is, as a setting: what aiokafka could never connect to is refused at start-up. Pure."""

import re
from typing import Annotated

from aiokafka.conn import collect_hosts
from pydantic import AfterValidator

from common.base_url import LAST_PORT

HOST = re.compile(r"[A-Za-z0-9_.:%-]+")
"""A host's name or address, without a scheme or a path."""


def bootstrap_servers(value: str) -> str:
    """Return the addresses without blanks and empty parts. Raises ValueError where one of them is none."""
    servers = [server for part in value.split(",") if (server := part.strip())]
    try:
        hosts = [(host, port) for host, port, _ in collect_hosts(servers, randomize=False)]
    except ValueError:
        hosts = []
    if not hosts or not all(HOST.fullmatch(host) and 0 < port <= LAST_PORT for host, port in hosts):
        raise ValueError("must be host:port, several of them separated by commas, e.g. kafka-1:9092,kafka-2:9092")
    return ",".join(servers)


BootstrapServers = Annotated[str, AfterValidator(bootstrap_servers)]
