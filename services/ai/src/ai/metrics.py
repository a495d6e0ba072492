"""What the ai service tells Prometheus. Labels are closed sets; of merchants only known ones are named."""

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ai.completion import Usage
from ai.media.transcription import AudioUsage
from ai.rules import SkipCause

Platform = Literal["instagram", "manychat"]
Outcome = Literal[
    "answered",
    "left",
    "republished",
    "observed",
    "ignored",
    "held_back",
    "handed_over",
    "unknown_account",
    "disconnected",
    "erased",
    "failed",
]
"""`left`: to a later message of the customer, which answers both; `held_back`: the account cannot answer now;
`handed_over`: nobody here can read it, so an agent is called; `erased`: received before its customer was erased."""

FEED_ITEMS = frozenset({"comment", "reaction", "like", "post", "status", "photo", "video", "share", "album"})
FEED_VERBS = frozenset({"add", "edited", "remove", "hide", "unhide"})

SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0)


class AIMetrics:
    """The service's own metrics, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Every event that was handled: whose, from which platform, what became of it, and how long it took.
        self._events = Histogram(
            "ai_event_seconds",
            "From an event's start to its end in this service",
            ["merchant", "platform", "event", "outcome"],
            registry=registry,
            buckets=SECONDS,
        )
        # Decisions stored: by a rule (and how it matched), by the model, or an apology because the model failed.
        self._decisions = Counter("ai_decisions", "Decisions stored", ["origin", "match"], registry=registry)
        for origin in ("model", "apology"):  # from zero on, so that alerts see the very first apology
            self._decisions.labels(origin, "none")
        # Answers that were made and thrown away, because the customer wrote on before they were stored.
        self._discarded = Counter("ai_answers_discarded", "Answers thrown away for a longer turn", registry=registry)
        # Conversations handed to a person, by why.
        self._escalations = Counter("ai_escalations", "Decisions that call a person", ["origin"], registry=registry)
        # One call of the model, retries apart; "ok" or why it failed.
        self._model = Histogram(
            "ai_model_seconds", "One call of the model", ["result"], registry=registry, buckets=SECONDS
        )
        self._tokens = Counter("ai_model_tokens", "Tokens spent", ["kind"], registry=registry)
        # Answers being made or waiting for a slot: near the bound, AI_MODEL_CONCURRENCY is what customers wait for.
        self._asking = Gauge("ai_model_answers_in_progress", "Answers being made or waiting", registry=registry)
        # Rules that could not be tried; the log names them.
        self._skipped = Counter("ai_rules_skipped", "Rules that could not be tried", ["cause"], registry=registry)

        for cause in get_args(SkipCause):
            self._skipped.labels(cause)
        # Voice messages: heard, or why not, with the download and all waiting for a place; and each call apart.
        self._heard = Histogram(
            "ai_voice_seconds",
            "From a voice message to its transcript",
            ["result"],
            registry=registry,
            buckets=SECONDS,
        )
        self._transcriptions = Histogram(
            "ai_transcription_seconds", "One call of the transcription", ["result"], registry=registry, buckets=SECONDS
        )
        # What hearing cost, in what its model is billed by: seconds, input_tokens, output_tokens.
        self._audio = Counter("ai_transcription_usage", "What transcriptions cost", ["unit"], registry=registry)
        # Requests that the model's API did not take with their images, and that were asked again without.
        self._blind = Counter("ai_images_refused", "Answers made without images that were there", registry=registry)
        # Changes of pages' feeds by what changed and how.
        self._feed = Counter("ai_feed_changes", "Changes of pages' feeds", ["item", "verb"], registry=registry)

    def handled(self, *, merchant: str, platform: Platform, event: str, outcome: Outcome, seconds: float) -> None:
        """Note one handled event."""
        self._events.labels(merchant, platform, event, outcome).observe(seconds)

    def decided(self, origin: str, match: str | None, usage: Usage, *, person_needed: bool) -> None:
        """Note one decision that was stored for the first time."""
        self._decisions.labels(origin, match or "none").inc()
        if person_needed:
            self._escalations.labels(origin).inc()
        self._tokens.labels("input").inc(usage.input_tokens)
        self._tokens.labels("output").inc(usage.output_tokens)

    def discarded(self, usage: Usage) -> None:
        """Note one answer that was thrown away."""
        self._discarded.inc()
        self._tokens.labels("input").inc(usage.input_tokens)
        self._tokens.labels("output").inc(usage.output_tokens)

    def called(self, result: str, seconds: float) -> None:
        """Note one call of the model."""
        self._model.labels(result).observe(seconds)

    def asking(self, by: int) -> None:
        """Note that an answer is begun (1) or done (-1)."""
        self._asking.inc(by)

    def rule_skipped(self, cause: SkipCause) -> None:
        """Note a rule that could not be tried."""
        self._skipped.labels(cause).inc()

    def images_refused(self) -> None:
        """Note that the model's API did not take a request with images."""
        self._blind.inc()

    def transcribed(self, result: str, seconds: float) -> None:
        """Note one call of the transcription."""
        self._transcriptions.labels(result).observe(seconds)

    def heard(self, result: str, seconds: float, usage: AudioUsage) -> None:
        """Note one voice message."""
        self._heard.labels(result).observe(seconds)
        self._audio.labels("seconds").inc(usage.seconds)
        self._audio.labels("input_tokens").inc(usage.input_tokens)
        self._audio.labels("output_tokens").inc(usage.output_tokens)

    def feed_changed(self, item: str, verb: str) -> None:
        """Note a change of a page's feed."""
        self._feed.labels(
            item if item in FEED_ITEMS else "other",
            verb if verb in FEED_VERBS else "other",
        ).inc()
