"""Every figure ingest shows Prometheus. Labels come from closed sets: nothing from outside becomes a label."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 4.0, 5.0, 10.0)


class IngestMetrics:
    """The metrics of one ingest process, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Every request of a public route, by how it ended; `route` is its path, `outcome` a reception.Outcome.
        self.webhooks = Counter(
            "ingest_webhooks", "Requests by route and outcome", ["platform", "route", "outcome"], registry=registry
        )
        # From the first byte of the request to the answer. The platform gives up after 5 s.
        self.seconds = Histogram(
            "ingest_webhook_seconds",
            "From a request's arrival to its answer",
            ["platform"],
            registry=registry,
            buckets=SECONDS,
        )
        # What was acknowledged by Kafka.
        self.events = Counter("ingest_events", "Events Kafka acknowledged, by type", ["type"], registry=registry)
        # A rise means forgery, or that the secret was changed: then every webhook is lost until it is set here.
        self.signature_failures = Counter(
            "ingest_signature_failures", "Refused proofs of identity by reason", ["route", "reason"], registry=registry
        )
        # Bodies that were signed and yet no JSON object.
        self.bad_bodies = Counter("ingest_bad_bodies", "Refused bodies by reason", ["reason"], registry=registry)
        # Events that were too large for a record and lost (part of) the copy of their original.
        self.originals_reduced = Counter(
            "ingest_originals_reduced", "Events whose original was too large to carry along", registry=registry
        )
        # Items whose entry names neither party, mostly the linked Page: the item's account is believed.
        self.foreign_entries = Counter(
            "ingest_foreign_entries", "Events whose entry's id is not the account", registry=registry
        )
        self.in_flight = Gauge("ingest_webhooks_in_flight", "Requests being handled", registry=registry)
        self.buffered = Gauge("ingest_buffered_bytes", "Bytes of bodies that are being read", registry=registry)
