"""What can be configured about delivery. Times in seconds; `.env.example` explains the shared variables."""

from datetime import timedelta
from typing import Self

from pydantic import field_validator, model_validator

from common.settings import (
    JwtSettings,
    KafkaSettings,
    MerchantSettings,
    MongoSettings,
    OwnershipSettings,
    SealingSettings,
    ServiceSettings,
    named,
)
from delivery.sweeper import MARGIN


class Settings(
    ServiceSettings, KafkaSettings, MongoSettings, SealingSettings, JwtSettings, MerchantSettings, OwnershipSettings
):
    """Everything the delivery service reads from its environment."""

    port: int = named("PORT", default=8002, ge=0, le=65535)
    manychat_url: str = named("MANYCHAT_BASE_URL", default="https://api.manychat.com")
    graph_url: str = named("INSTAGRAM_GRAPH_URL", default="https://graph.instagram.com/v25.0")
    app_id: str | None = named("IG_APP_ID", default=None)
    # The whole of one outside call: connecting, sending, reading the answer.
    call_timeout: float = named("DELIVERY_CALL_TIMEOUT", default=10.0, gt=0)
    # The platform's 24 hours are taken to end this much earlier, because clocks differ and a call takes time.
    window_margin: float = named("DELIVERY_WINDOW_MARGIN", default=60.0, ge=0, lt=86_400)
    # How long a send of unknown outcome is looked for before a person is told.
    unknown_deadline: float = named("DELIVERY_UNKNOWN_DEADLINE", default=60.0, gt=0)
    # How soon after the ledger's `attempting` the call must have begun, and how long the platform gets to show it.
    settle: float = named("DELIVERY_SETTLE", default=2.0, gt=0)
    # How often the ledger is searched for replies whose record is gone.
    sweep_interval: float = named("DELIVERY_SWEEP_INTERVAL", default=300.0, gt=0)
    # Sends at once over each route: at 0.2 s a call, 50 of them are 250 replies a second.
    connections: int = named("DELIVERY_CONNECTIONS", default=50, ge=1)

    @field_validator("manychat_url", "graph_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _deadline_leaves_time_to_look(self) -> Self:
        first_look = self.call_timeout + 2 * self.settle
        if self.unknown_deadline < first_look:
            raise ValueError(
                f"DELIVERY_UNKNOWN_DEADLINE must be at least {first_look:g} (DELIVERY_CALL_TIMEOUT + twice "
                "DELIVERY_SETTLE): before that nobody can look whether a message arrived"
            )
        return self

    @property
    def abandoned_after(self) -> timedelta:
        """How long nobody may have touched a reply for it to be certain that its record is gone."""
        return timedelta(seconds=self.max_retry_age + self.unknown_deadline) + MARGIN

    @property
    def margin(self) -> timedelta:
        """The window's margin as a duration."""
        return timedelta(seconds=self.window_margin)
