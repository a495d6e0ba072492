"""One registry per process, so that tests and several apps in one process do not collide; and how it is read.

Naming: `<service>_<noun>_<unit>`, labels only from closed sets (a label from the outside world grows without end).
"""

from prometheus_client import CollectorRegistry, Gauge, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from common.clock import SystemClock

CONTENT_TYPE = CONTENT_TYPE_LATEST


def service_registry(service: str) -> CollectorRegistry:
    """Return a registry with the process's own figures and `jawab_service_start_seconds`."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    started = Gauge("jawab_service_start_seconds", "When this process started", ["service"], registry=registry)
    started.labels(service).set(SystemClock().now().timestamp())
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """Return the registry in Prometheus' text format."""
    return generate_latest(registry)
