"""What can be configured about delivery. Times in seconds; `.env.example` explains the shared variables."""

import re
from datetime import timedelta
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from common.base_url import BaseUrl
from common.settings import (
    JwtSettings,
    KafkaSettings,
    MerchantSettings,
    MongoSettings,
    OwnershipSettings,
    SealingSettings,
    SecretList,
    ServiceSettings,
    named,
    split_secrets,
)
from delivery.pace.rate_limits import Limits, parse_limits
from delivery.pace.shared_count import SCHEMES
from delivery.sweeper import MARGIN

GRAPH_HOSTS = frozenset({"graph.instagram.com", "graph.facebook.com"})
"""Meta's hosts: for tokens of "Instagram login", and for those of "Facebook login" (a Page's)."""

GRAPH_VERSION = re.compile(r"v\d+\.\d+")


class Settings(
    ServiceSettings, KafkaSettings, MongoSettings, SealingSettings, JwtSettings, MerchantSettings, OwnershipSettings
):
    """Everything the delivery service reads from its environment."""

    port: int = named("PORT", default=8002, ge=0, le=65535)
    manychat_url: BaseUrl = named("MANYCHAT_BASE_URL", default="https://api.manychat.com")
    graph_url: BaseUrl = named("INSTAGRAM_GRAPH_URL", default="https://graph.instagram.com/v25.0")
    # Sign every Graph call (appsecret_proof): the first for graph.facebook.com, the second for graph.instagram.com.
    meta_app_secrets: SecretList = named("META_APP_SECRET", default=())
    ig_app_secrets: SecretList = named("IG_APP_SECRET", default=())
    app_id: str | None = named("IG_APP_ID", default=None)
    # The whole of one outside call: connecting, sending, reading the answer.
    call_timeout: float = named("DELIVERY_CALL_TIMEOUT", default=10.0, gt=0)
    # The platform's 24 hours are taken to end this much earlier, because clocks differ and a call takes time.
    window_margin: float = named("DELIVERY_WINDOW_MARGIN", default=60.0, ge=0, lt=86_400)
    # How long a send of unknown outcome is looked for before a person is told.
    unknown_deadline: float = named("DELIVERY_UNKNOWN_DEADLINE", default=60.0, gt=0)
    # How soon after the ledger's `attempting` the call must have begun, and how long the platform gets to show it.
    settle: float = named("DELIVERY_SETTLE", default=2.0, gt=0)
    # How far this machine's clock may be from the platform's before the service is not ready any more.
    max_clock_offset: float = named("DELIVERY_MAX_CLOCK_OFFSET", default=300.0, gt=0, le=3600)
    # Requests of one merchant to the HTTP API in a minute, of each replica.
    api_per_minute: int = named("DELIVERY_API_PER_MINUTE", default=6000, ge=1)
    # How often the ledger is searched for replies whose record is gone.
    sweep_interval: float = named("DELIVERY_SWEEP_INTERVAL", default=300.0, gt=0)
    # The platforms' limits where they differ from the defaults: name=calls/time, … (delivery.pace.rate_limits).
    limits: Annotated[Limits, NoDecode] = named("DELIVERY_LIMITS", default="", validate_default=True)
    # Redis or Valkey, where the replicas count their calls together; without it each keeps to its own share.
    limits_url: SecretStr | None = named("DELIVERY_LIMITS_URL", default=None)
    # How many replicas there are at most: the share of each is a limit divided by this.
    replicas: int = named("DELIVERY_REPLICAS", default=1, ge=1, le=1000)
    # Sends at once over each route: at 0.2 s a call, 50 of them are 250 replies a second.
    connections: int = named("DELIVERY_CONNECTIONS", default=50, ge=1)

    _split_app_secrets = field_validator("meta_app_secrets", "ig_app_secrets", mode="before")(split_secrets)

    @field_validator("graph_url")
    @classmethod
    def _names_a_version(cls, value: str) -> str:
        parts = urlsplit(value)
        last = parts.path.rpartition("/")[2]
        if parts.hostname in GRAPH_HOSTS and not GRAPH_VERSION.fullmatch(last):
            raise ValueError(f"must end with a version of the API, e.g. https://{parts.hostname}/v25.0")
        return value

    @property
    def app_secret(self) -> str | None:
        """The secret of the app that gives tokens for this host, the newest where several are named; it signs calls.

        A token of "Instagram login" belongs to the Instagram app, one of "Facebook login" to the Meta app.
        """
        by_facebook = urlsplit(self.graph_url).hostname == "graph.facebook.com"
        secrets = self.meta_app_secrets if by_facebook else self.ig_app_secrets
        return secrets[0].get_secret_value() if secrets else None

    @field_validator("limits", mode="before")
    @classmethod
    def _are_limits(cls, value: object) -> object:
        return parse_limits(value) if isinstance(value, str) else value

    @field_validator("limits_url")
    @classmethod
    def _is_a_count(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(SCHEMES):
            raise ValueError("must begin with redis://, rediss://, valkey:// or valkeys://")
        # Looked at here, because whoever reads it next quotes it, and its password, in their error.
        if value is not None and not _names_host_and_port(value.get_secret_value()):
            raise ValueError(
                "must name host and port, e.g. redis://count:6379; encode / and # in a password (%2F, %23)"
            )
        return value

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


def _names_host_and_port(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port is not None
    except ValueError:
        return False
