"""What the consuming side of a service tells Prometheus about Kafka."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class KafkaMetrics:
    """The metrics of one subscriber, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Records begun and not finished: near the bound, the service is the bottleneck.
        self.outstanding = Gauge("kafka_outstanding_records", "Records begun and not finished", registry=registry)
        self.outstanding_bytes = Gauge(
            "kafka_outstanding_bytes", "Bytes of the records that are in memory", registry=registry
        )
        # Not 0 for long: an account gets more than it can be answered, or all of its records wait for something.
        self.deferred = Gauge(
            "kafka_deferred_records", "Records left in the log for now: their account has its share", registry=registry
        )
        # Of these, what is being handled at this moment; the others wait for their turn or for a retry.
        self.working = Gauge("kafka_working_records", "Records being handled", registry=registry)
        self.lanes = Gauge("kafka_lanes", "Lanes with at least one record", registry=registry)
        # Age of the record that holds a partition's committed offset back: a stuck record shows here, not in the lag.
        self.watermark_age = Gauge(
            "kafka_watermark_age_seconds", "Age of the oldest unfinished record", registry=registry
        )
        self.oldest_lane = Gauge(
            "kafka_oldest_lane_seconds", "How long the slowest lane has been at its first record", registry=registry
        )
        self.lag = Gauge(
            "kafka_partition_lag", "Records not read yet, by partition", ["topic", "partition"], registry=registry
        )
        self.paused = Gauge("kafka_paused_partitions", "Partitions that are not read for now", registry=registry)
        # Not 0: so many records die here that reading on would lose a topic's worth of them. A person is needed.
        self.stopped = Gauge(
            "kafka_stopped_partitions", "Partitions stopped by their share of dead letters", registry=registry
        )
        # Not 0: an account's records die, and no other's are handled that would show whose fault it is.
        self.stopped_accounts = Gauge(
            "kafka_stopped_accounts", "Accounts whose lanes wait because their records die", registry=registry
        )
        self.handled = Counter("kafka_records_handled", "Records handled to the end", ["topic"], registry=registry)
        self.skipped = Counter(
            "kafka_records_skipped", "Records that an earlier owner of the partition had finished", registry=registry
        )
        self.seconds = Histogram(
            "kafka_record_seconds",
            "From a record's start to its end, retries included",
            ["topic"],
            registry=registry,
            buckets=LATENCY_BUCKETS,
        )
        self.retries = Counter("kafka_retries", "Tries of a record after its first", ["topic"], registry=registry)
        self.dead_letters = Counter(
            "kafka_dead_letters", "Records that went to a dead-letter topic", ["topic"], registry=registry
        )
        self.commits = Counter("kafka_commits", "Offset commits that were acknowledged", registry=registry)
        self.commit_failures = Counter("kafka_commit_failures", "Offset commits that failed", registry=registry)
        self.commits_refused = Counter(
            "kafka_commits_refused",
            "Partitions whose last commit, or what it says beside its offset, was not believed",
            ["reason"],
            registry=registry,
        )
        # Not 0: customers wrote what nobody will answer.
        self.expired = Counter(
            "kafka_records_expired",
            "Records that retention deleted before they were done",
            ["topic"],
            registry=registry,
        )
        self.rebalances = Counter("kafka_rebalances", "Times the partitions were taken away", registry=registry)
