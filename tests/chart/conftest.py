"""The charts, as Helm's own code renders them: no cluster, no network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

Document = dict[str, Any]
Render = Callable[..., list[Document]]


@pytest.fixture(scope="session")
def charts(project_root: Path) -> Path:
    """The folder that holds the charts."""
    return project_root / "deploy" / "helm"


@pytest.fixture(scope="session")
def render(charts: Path) -> Iterator[Render]:
    """Return a function that renders a service's chart: with values, on top of values-prod.yaml if asked."""
    loaded: dict[str, helm.Chart] = {}

    def rendered(service: str, values: Document | None = None, *, production: bool = False) -> list[Document]:
        chart = loaded.setdefault(service, helm.Chart.load(str(charts / service)))
        given = yaml.safe_load((charts / service / "values-prod.yaml").read_text()) if production else {}
        files = chart.render(merged(given, values or {}), name=f"jawab-{service}", namespace="jawab")
        texts = [text for name, text in sorted(files.items()) if name.endswith(".yaml")]
        return [document for text in texts for document in yaml.safe_load_all(text) if document]

    yield rendered
    for chart in loaded.values():
        chart.close()


def merged(below: Document, above: Document) -> Document:
    """Return both, `above` winning, as several `-f` files of Helm do."""
    both = dict(below)
    for name, value in above.items():
        here = both.get(name)
        both[name] = merged(here, value) if isinstance(here, dict) and isinstance(value, dict) else value
    return both
