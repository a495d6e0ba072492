"""What ingest can be told by its environment."""

from typing import Self

from pydantic import field_validator, model_validator

from common.public_address import is_local
from common.settings import KafkaSettings, MetaAppSettings, SecretList, ServiceSettings, named, split_secrets

MIB = 1024 * 1024


class Settings(ServiceSettings, KafkaSettings, MetaAppSettings):
    """Ingest's settings. Times in seconds, sizes in bytes."""

    account_id: str | None = named("INSTAGRAM_PAGE_ID", default=None, pattern=r"^[0-9]{1,32}$")
    manychat_secrets: SecretList = named("MANYCHAT_WEBHOOK_SECRET", default=())
    public_url: str = named("PUBLIC_URL", default="http://localhost:8000")
    privacy_status_url: str = named("PRIVACY_STATUS_URL", default="")

    ack_deadline: float = named(
        "INGEST_ACK_DEADLINE",
        default=4.0,
        gt=0,
        description="Until Kafka must have acknowledged; the platform gives up on a webhook after 5 seconds.",
    )
    body_deadline: float = named("INGEST_BODY_DEADLINE", default=10.0, gt=0)
    max_in_flight: int = named("INGEST_MAX_IN_FLIGHT", default=256, ge=1)
    max_buffered: int = named(
        "INGEST_MAX_BUFFERED_BYTES",
        default=256 * MIB,
        ge=8 * MIB,
        description="Of bodies above 64 KiB that are still being read, all requests together.",
    )
    max_publishing: int = named(
        "INGEST_MAX_PUBLISHING_BYTES",
        default=64 * MIB,
        ge=16 * MIB,
        description="Of bodies whose events are being published, all requests together; an account has half.",
    )
    manychat_per_minute: int = named(
        "INGEST_MANYCHAT_PER_MINUTE",
        default=1200,
        ge=1,
        description="External Requests of one account in a minute; ManyChat does not repeat what is refused.",
    )
    failures_per_minute: int = named("INGEST_BAD_SIGNATURES_PER_MINUTE", default=60, ge=1)
    trusted_proxies: int = named(
        "INGEST_TRUSTED_PROXIES",
        default=0,
        ge=0,
        description="How many proxies of ours append to X-Forwarded-For; 0 ignores that header.",
    )

    _split_manychat = field_validator("manychat_secrets", mode="before")(split_secrets)

    @field_validator("public_url", "privacy_status_url")
    @classmethod
    def _is_a_web_address(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// or http://")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _verify_token_is_there(self) -> Self:
        if not self.verify_token.get_secret_value().strip():
            raise ValueError("IG_VERIFY_TOKEN (or INSTAGRAM_VERIFY_TOKEN) must not be blank")
        return self

    @model_validator(mode="after")
    def _development_is_not_public(self) -> Self:
        """Refuse to open the unsigned test route, or any other privilege of development, to the internet."""
        if self.development and not is_local(self.public_url):
            raise ValueError(
                "PUBLIC_URL is a public address, and JAWAB_ENV=development opens the unsigned test route there: set "
                "JAWAB_ENV=production, or a local PUBLIC_URL"
            )
        return self

    @property
    def status_url(self) -> str:
        """Where a person who asked to be forgotten reads what became of it; the code is appended."""
        return self.privacy_status_url or f"{self.public_url}/privacy"
