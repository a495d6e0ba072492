"""What cleanup reads from the environment, and the least that retention may be."""

from typing import Literal, Self

from pydantic import model_validator

from common.base_url import BaseUrl
from common.kafka.topics import DAY_MS, TOPICS
from common.settings import KafkaSettings, MongoSettings, SealingSettings, ServiceSettings, named

KEPT_DAYS = max(topic.retention_ms for topic in TOPICS if topic.keyed_by == "conversation") // DAY_MS
"""For so long a record of a conversation can be read again: from its topic, or, longer, from the dead letters."""

MIN_DAYS = KEPT_DAYS + 1
"""What was answered must be remembered for longer than its record can be read again, or it is answered twice. The
platform redelivers a webhook for 36 hours only."""

MAX_DAYS = 36_500
"""A hundred years stand for "keep it": an age beyond the calendar would stop every run at its start."""

TOMBSTONE_DAYS = 1 + max(topic.retention_ms for topic in TOPICS) // DAY_MS
"""A tombstone outlives every record that could bring an erased customer back, also the request that erased them."""


class Settings(ServiceSettings, KafkaSettings, MongoSettings):
    """Everything the cleanup service can be told. Ages are in days."""

    port: int = named("PORT", default=8003, ge=0, le=65535)
    graph_url: BaseUrl = named("INSTAGRAM_GRAPH_URL", default="https://graph.instagram.com/v25.0")
    environment_account: str | None = named("INSTAGRAM_PAGE_ID", default=None, pattern=r"^[0-9]{1,32}$")
    messages_days: int = named("RETENTION_MESSAGES_DAYS", default=365)
    decisions_days: int = named("RETENTION_DECISIONS_DAYS", default=90)
    usage_days: int = named("RETENTION_USAGE_DAYS", default=400)
    deliveries_days: int = named("RETENTION_DELIVERIES_DAYS", default=90)
    schedule: Literal["on", "off"] = named("CLEANUP_SCHEDULE", default="off")

    @model_validator(mode="after")
    def _ids_outlive_records(self) -> Self:
        for variable, days in (
            ("RETENTION_MESSAGES_DAYS", self.messages_days),
            ("RETENTION_DECISIONS_DAYS", self.decisions_days),
            ("RETENTION_USAGE_DAYS", self.usage_days),
            ("RETENTION_DELIVERIES_DAYS", self.deliveries_days),
        ):
            if days < MIN_DAYS:
                raise ValueError(
                    f"{variable} must be at least {MIN_DAYS}: a record can be read again from the topics and the "
                    f"dead letters for {KEPT_DAYS} days, and what is forgotten before could be answered a second time"
                )
            if days > MAX_DAYS:
                raise ValueError(f"{variable} must be at most {MAX_DAYS}, a hundred years")
        return self


class TokenSettings(Settings, SealingSettings):
    """What the job `tokens` needs besides: the keys that open and seal tokens. The service itself has them only where
    it runs that job (CLEANUP_SCHEDULE=on)."""

    @classmethod
    def beside(cls, settings: Settings) -> "TokenSettings":
        """Return the same settings with the keys from the environment. Raises ValidationError where there are none."""
        return cls(**{name: getattr(settings, name) for name in Settings.model_fields})
