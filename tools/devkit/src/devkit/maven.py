"""The broker's Java archives: which ones, where they come from, where they are kept.

The list is checked in (`kafka_jars.txt`), so a start needs no build tool and gets the same bytes everywhere.
To change Kafka's version, let any Maven resolve the runtime dependencies of `org.apache.kafka:kafka_2.13` and
write the coordinates, SHA-256 and size of each into that file.
"""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from devkit.download import Pinned

MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
KAFKA_VERSION = "4.1.1"


def maven_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return the repository's address: `JAWAB_MAVEN_URL` (a mirror, say), else Maven Central."""
    return environ.get("JAWAB_MAVEN_URL") or MAVEN_CENTRAL


def parse_pins(text: str, repository: str) -> list[Pinned]:
    """Read lines of `group:artifact:version sha256 bytes`; empty lines and `#` comments are skipped.

    Raises `ValueError` naming the line.
    """
    pins = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            coordinates, sha256, size = line.split()
            group, artifact, version = coordinates.split(":")
            name = f"{artifact}-{version}.jar"
            url = f"{repository.rstrip('/')}/{group.replace('.', '/')}/{artifact}/{version}/{name}"
            pins.append(Pinned(url, name, sha256, int(size)))
        except ValueError:
            raise ValueError(f"line {number} is not 'group:artifact:version sha256 bytes': {line!r}") from None
    return pins


def kafka_jars(repository: str) -> list[Pinned]:
    """Return the archives of the Kafka broker, to be fetched from `repository`."""
    return parse_pins((files("devkit") / "kafka_jars.txt").read_text(encoding="utf-8"), repository)


def jars_folder(cache: Path) -> Path:
    """Return the folder of the cache that holds them."""
    return cache / f"kafka-{KAFKA_VERSION}"
