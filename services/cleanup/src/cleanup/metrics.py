"""What cleanup tells Prometheus. Retention runs as a job of its own and speaks through its log and its exit code."""

from prometheus_client import CollectorRegistry, Counter


class CleanupMetrics:
    """The metrics of the cleanup service, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # erased and nobody for erasures; disconnected, connected_since (the account was connected again before the
        # request came) and unknown_account for deauthorizations.
        self.requests = Counter(
            "cleanup_privacy_requests", "Privacy requests handled, by what came of them", ["result"], registry=registry
        )
        # Documents deleted or stripped for erasures.
        self.erased = Counter(
            "cleanup_erased_documents", "Documents erased for one person", ["collection"], registry=registry
        )
