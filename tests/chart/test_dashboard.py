"""Every figure a panel or an alert asks for is one that a service shows: a renamed metric would else be a flat line."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from ai.metrics import AIMetrics
from cleanup.metrics import CleanupMetrics
from common.breaker import BreakerMetrics
from common.kafka.metrics import KafkaMetrics
from common.merchant_directory import MerchantMetrics
from common.metrics import service_registry
from delivery.metrics import DeliveryMetrics, PaceMetrics
from delivery.pace.pauses import PauseMetrics
from delivery.stopping import StopMetrics
from ingest.metrics import IngestMetrics

SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
FROM_SCRAPING = {"job", "instance"}
WORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan"}

LABELS_OF_A_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
NAME = re.compile(r"(?<![\w:$])([a-zA-Z_:][a-zA-Z0-9_:]*)(?!\s*\(|[\w:])")


def metrics_of(*holders: object) -> Iterator[MetricWrapperBase]:
    """Return the metrics that objects hold as attributes."""
    for holder in holders:
        yield from (value for value in vars(holder).values() if isinstance(value, MetricWrapperBase))


@pytest.fixture(scope="module")
def shown() -> dict[str, set[str]]:
    """Return every series the services expose, by its exposition name, with its labels."""
    registry = CollectorRegistry()
    series = {"up": set[str]()}
    kinds = (IngestMetrics, AIMetrics, DeliveryMetrics, CleanupMetrics, KafkaMetrics, BreakerMetrics)
    holders = [kind(registry) for kind in (*kinds, PaceMetrics, PauseMetrics, StopMetrics, MerchantMetrics)]
    for metric in metrics_of(*holders):
        for suffix in SUFFIXES[metric._type]:
            extra = {"le"} if suffix == "_bucket" else set()
            series[metric._name + suffix] = {*metric._labelnames, *extra}
    for family in service_registry("any").collect():
        for sample in family.samples:
            series[sample.name] = set(sample.labels)
    exposed = {family.name for family in registry.collect()}
    assert all(any(name.startswith(family) for name in series) for family in exposed)
    return series


def names_in(expression: str) -> set[str]:
    """Return the metrics a PromQL expression asks for."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = GROUPING.sub(" ", bare)
    return {name for name in NAME.findall(bare) if name.lower() not in WORDS}


def labels_in(expression: str) -> set[str]:
    """Return the labels an expression selects or groups by."""
    inside = [pair for _, pairs in LABELS_OF_A_SELECTOR.findall(expression) for pair in re.split(r",\s*", pairs)]
    selected = {re.split(r"=~|!~|!=|=", pair)[0].strip() for pair in inside if pair.strip()}
    grouped = {label.strip() for group in GROUPING.findall(expression) for label in group.split(",")}
    return selected | grouped


def panels(dashboard: dict[str, object]) -> list[dict[str, object]]:
    found = dashboard["panels"]
    assert isinstance(found, list)
    return [panel for panel in found if panel["type"] != "row"]


@pytest.fixture(scope="module")
def dashboard(project_root: Path) -> dict[str, object]:
    loaded = json.loads((project_root / "deploy" / "grafana" / "jawab.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def alerts(project_root: Path) -> list[dict[str, object]]:
    loaded = yaml.safe_load((project_root / "deploy" / "prometheus" / "alerts.yml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def expressions(dashboard: dict[str, object], alerts: list[dict[str, object]]) -> dict[str, str]:
    """Return every expression, by where it stands."""
    found = {}
    for panel in panels(dashboard):
        for target in panel["targets"]:  # type: ignore[attr-defined]
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for rule in alerts:
        found[str(rule["alert"])] = str(rule["expr"])
    return found


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        (
            'sum by (job) (rate(a_total{x="b_total"}[5m])) / sum(c_seconds_count offset 5m) > 0.5',
            {"a_total", "c_seconds_count"},
        ),
        ("histogram_quantile(0.9, sum by (le, api) (rate(d_bucket[$__rate_interval])))", {"d_bucket"}),
        ('absent(up{job="x"}) or e unless on (job) f', {"up", "e", "f"}),
    ],
)
def test_the_reading_of_expressions_finds_metrics_only(expression: str, names: set[str]):
    assert names_in(expression) == names


def test_every_metric_that_is_asked_for_is_one_a_service_shows(expressions: dict[str, str], shown: dict[str, set[str]]):
    unknown = {where: names_in(text) - shown.keys() for where, text in expressions.items()}
    assert {where: names for where, names in unknown.items() if names} == {}
    assert all(names_in(text) for text in expressions.values())


def test_every_label_that_is_asked_for_is_one_the_metric_has(expressions: dict[str, str], shown: dict[str, set[str]]):
    for where, text in expressions.items():
        known = set[str]().union(*(shown[name] for name in names_in(text))) | FROM_SCRAPING
        assert labels_in(text) <= known, where


def test_a_histogram_is_read_by_its_buckets(expressions: dict[str, str]):
    for where, text in expressions.items():
        if "histogram_quantile" in text:
            assert all(name.endswith("_bucket") for name in names_in(text)), where
            assert "le" in labels_in(text), where


def test_a_counter_is_read_as_a_rate_and_a_gauge_as_it_is(expressions: dict[str, str]):
    for where, text in expressions.items():
        for name in names_in(text):
            growing = name.endswith(("_total", "_bucket", "_count", "_sum"))
            rated = re.search(rf"\b(?:rate|increase)\({name}\b", text) is not None
            assert rated == growing, where


def test_the_dashboard_shows_what_an_operator_asks_first(expressions: dict[str, str]):
    asked = set[str]().union(*(names_in(text) for text in expressions.values()))
    assert {
        "ingest_webhooks_total",
        "delivery_webhook_to_delivered_seconds_bucket",
        "ai_decisions_total",
        "delivery_replies_total",
        "kafka_watermark_age_seconds",
        "kafka_outstanding_records",
        "kafka_retries_total",
        "kafka_dead_letters_total",
        "ai_model_seconds_bucket",
        "ai_model_tokens_total",
    } <= asked


def test_panels_do_not_lie_on_one_another(dashboard: dict[str, object]):
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:  # type: ignore[attr-defined]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]  # type: ignore[attr-defined]
    assert len(ids) == len(set(ids))


def test_every_alert_names_a_runbook_that_is_there_and_says_three_things(
    alerts: list[dict[str, object]], project_root: Path
):
    for rule in alerts:
        annotations = rule["annotations"]
        assert isinstance(annotations, dict)
        assert annotations["runbook"] == f"docs/runbooks/{rule['alert']}.md"
        text = (project_root / annotations["runbook"]).read_text()
        assert text.startswith(f"# {rule['alert']}\n")
        assert all(f"**{part}" in text for part in ("Meaning.", "First look", "Mend."))
        assert annotations["summary"]
        assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})


def test_no_runbook_is_left_of_an_alert_that_is_gone(alerts: list[dict[str, object]], project_root: Path):
    pages = {page.stem for page in (project_root / "docs" / "runbooks").glob("Jawab*.md")}
    assert pages == {rule["alert"] for rule in alerts}


def test_every_alert_is_tried_over_time(alerts: list[dict[str, object]], project_root: Path):
    tests = yaml.safe_load((project_root / "deploy" / "prometheus" / "alerts_test.yml").read_text())["tests"]
    steps = [step for test in tests for step in test["alert_rule_test"]]
    for rule in alerts:
        own = [bool(step["exp_alerts"]) for step in steps if step["alertname"] == rule["alert"]]
        assert True in own, f"{rule['alert']} is never seen to fire"
        assert False in own[own.index(True) :], f"{rule['alert']} is never seen to clear"


def test_grafana_finds_the_data_source_the_panels_name(dashboard: dict[str, object], project_root: Path):
    provisioning = project_root / "deploy" / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    uids = {source["uid"] for source in sources}
    assert {panel["datasource"]["uid"] for panel in panels(dashboard)} <= uids  # type: ignore[index]
