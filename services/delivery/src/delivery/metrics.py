"""What delivery tells Prometheus. Labels come from closed sets: no merchant, no reason a provider made up."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ANSWER_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
GAP_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


class DeliveryMetrics:
    """The metrics of the delivery service, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # How every reply ended; `kind` is the action's.
        self.replies = Counter(
            "delivery_replies", "Replies by what became of them", ["outcome", "route", "kind"], registry=registry
        )
        # One outside call, whatever came of it.
        self.calls = Histogram(
            "delivery_call_seconds",
            "Calls of outside APIs, from start to end",
            ["api", "call"],
            registry=registry,
            buckets=CALL_BUCKETS,
        )
        # Errors of outside APIs by their row in the error tables, and what was done about them (docs/errors.md).
        self.errors = Counter(
            "delivery_errors", "Errors of outside APIs by what they mean", ["api", "code", "action"], registry=registry
        )
        # How far this machine's clock is from that of graph, manychat and mongodb; not a number where it is not known.
        self.clock_offset = Gauge(
            "delivery_clock_offset_seconds",
            "Seconds by which this machine's clock is ahead of a peer's",
            ["peer"],
            registry=registry,
        )
        # What the customer waits: from the webhook's arrival to the platform's acceptance of the answer.
        self.webhook_to_delivered = Histogram(
            "delivery_webhook_to_delivered_seconds",
            "From the webhook's arrival to the delivered reply",
            registry=registry,
            buckets=ANSWER_BUCKETS,
        )
        # Sends nobody saw the end of, and how each was settled: echo, comment, read, sent_again,
        # not_sent_again (absent, and by then not allowed any more), handed_to_human.
        self.unknown = Counter("delivery_unknown_outcomes", "Sends of unknown outcome", ["route"], registry=registry)
        self.resolved = Counter(
            "delivery_unknown_resolved", "Sends of unknown outcome by how they were settled", ["how"], registry=registry
        )
        # Attempts taken back because something was observed in the conversation after the reply was judged.
        self.disturbed = Counter(
            "delivery_disturbed_attempts",
            "Attempts taken back before the call: the conversation moved",
            registry=registry,
        )
        # How long a person's answer can go unseen: from the moment up to which everything observed was taken in
        # (at the latest the end of writing `attempting`) to the beginning of the call.
        self.unseen = Histogram(
            "delivery_unseen_seconds",
            "From the last moment whose observations a send heeds to the beginning of its call",
            registry=registry,
            buckets=GAP_BUCKETS,
        )
        # Rows of owners that died for good: never_sent, found, handed_to_human, or told (its end was only untold).
        self.swept = Counter("delivery_swept_rows", "Abandoned rows by how they were ended", ["how"], registry=registry)
        # Replies whose record went to the dead letters: handed_to_human, or already_ended by their row.
        self.buried = Counter(
            "delivery_dead_replies", "Dead-lettered replies by what came of them", ["how"], registry=registry
        )
        # Replies that came too late for the 24-hour window, by our own check or the platform's.
        self.window_closed = Counter(
            "delivery_window_closed", "Replies that met a closed messaging window", registry=registry
        )
        # Messages that the platform announced without their words: found, seen (the message came by itself),
        # or unreadable (an agent is called).
        self.lookups = Counter(
            "delivery_message_lookups", "Announced messages by how they were found", ["result"], registry=registry
        )
        # Whose echoes come back; `foreign` are people, `tool` other apps that are none.
        self.echoes = Counter("delivery_echoes", "Echoes by whose they are", ["kind"], registry=registry)
        # Whether the merchant's people could be told: posted, unreachable, or logged only (no address).
        self.notifications = Counter(
            "delivery_operator_notifications", "Notifications by what became of them", ["result"], registry=registry
        )
        # Interactions of accounts that belong to nobody here.
        self.foreign_accounts = Counter(
            "delivery_foreign_account_events", "Events of accounts that no merchant here has", registry=registry
        )

    def observe_call(self, api: str, call: str, seconds: float) -> None:
        """Note one outside call."""
        self.calls.labels(api, call).observe(seconds)


class PaceMetrics:
    """The metrics of pacing, in one registry. `limit` is the name of one of the platforms' limits."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # How long those waited who waited in line for a limit; who did not have to wait is not counted.
        self.waited = Histogram(
            "delivery_pace_wait_seconds",
            "Waits in line for a limit",
            ["limit"],
            registry=registry,
            buckets=CALL_BUCKETS,
        )
        # Replies that had to wait longer than anybody stands in line: they come back when it is their turn.
        self.later = Counter(
            "delivery_paced_later", "Replies told to come back because of a limit", ["limit"], registry=registry
        )
        # 1 while the count that all replicas share does not answer: each keeps to its own share of every limit.
        self.count_away = Gauge(
            "delivery_limits_count_away", "Whether the shared count of the limits does not answer", registry=registry
        )
