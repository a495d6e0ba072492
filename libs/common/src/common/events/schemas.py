"""Writes the JSON Schema of every event type, one file each, for those who read the topics in another language.

`python -m common.events.schemas FOLDER` (`make schemas`); a test fails when the files in `docs/schemas` are not these.
"""

import json
import sys
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from common.events import AnyEvent
from common.events.envelope import TYPE_PREFIX


def event_classes(annotation: Any = AnyEvent) -> list[type[BaseModel]]:
    """Return every event class of a (nested) union, in the order of their declaration."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in event_classes(part)]


def schema_files() -> dict[str, str]:
    """Return the text of each schema file by its name, e.g. `message.received.v1.json`."""
    files = {}
    for event_class in event_classes():
        name = event_class.model_fields["type"].default.removeprefix(TYPE_PREFIX)
        schema = event_class.model_json_schema(mode="serialization")
        files[f"{name}.json"] = json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    return files


def write(folder: Path) -> int:
    """Write every schema into `folder`, remove files of types that are gone, and return how many were written."""
    folder.mkdir(parents=True, exist_ok=True)
    files = schema_files()
    for old in folder.glob("*.json"):
        if old.name not in files:
            old.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return len(files)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas")
    sys.stdout.write(f"{write(target)} schemas in {target}\n")
