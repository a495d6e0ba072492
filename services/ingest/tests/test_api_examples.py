"""What docs/api-examples.md shows of ingest is what its routes answer."""

import json
from pathlib import Path
from typing import Any

from devkit.http_examples import differences, examples

PREFIXES = ("/webhooks/", "/api/instagram/", "/api/queue/")


async def test_each_example_is_answered_as_it_is_shown(world, project_root: Path):
    page = (project_root / "docs" / "api-examples.md").read_text(encoding="utf-8")
    shown = [one for one in examples(page) if one.path.startswith(PREFIXES)]
    assert len(shown) == 6
    for one in shown:
        raw = b"" if one.body is None else json.dumps(one.body).encode()
        secret = {"X-Jawab-Secret": world.manychat_secret} if "X-Jawab-Secret" in one.headers else {}
        real = await world.client.request(one.method, one.path, content=raw, headers={**world.sign(raw), **secret})
        assert (one.path, real.status_code, differences(one.answer, real.json())) == (one.path, one.status, [])
        # Which events a body becomes is what the example is for, so their ids and types are held, too.
        assert _events(real.json()) == _events(one.answer)


def _events(answer: dict[str, Any]) -> Any:
    return answer.get("events")
