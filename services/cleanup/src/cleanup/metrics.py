"""What cleanup tells Prometheus. A job that a CronJob runs speaks through its log and its exit code instead."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from common.job_status import JobStatus


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
        # Tokens that cleanup is to renew, by what is known of their end.
        self.tokens = Gauge(
            "cleanup_tokens", "Accounts' tokens, by what is known of their end", ["end"], registry=registry
        )
        # Scheduled jobs. Every replica shows them, also one that runs none.
        self.job_runs = Counter("cleanup_job_runs", "Runs of scheduled jobs", ["task", "result"], registry=registry)
        # When a job last succeeded; before its first success, when it was first due.
        self._job_success = Gauge(
            "cleanup_job_last_success_timestamp_seconds",
            "When a scheduled job last succeeded",
            ["task"],
            registry=registry,
        )
        self._job_interval = Gauge(
            "cleanup_job_interval_seconds", "How often a scheduled job is due", ["task"], registry=registry
        )

    def show_job(self, name: str, status: JobStatus) -> None:
        """Show how a scheduled job stands."""
        self._job_success.labels(name).set((status.last_success or status.since).timestamp())
        self._job_interval.labels(name).set(status.interval)
