"""What can be configured in the ai service; `.env.example` explains each name."""

from typing import Annotated, Literal, Self

from pydantic import SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from ai.media.links import AllowedHosts
from common.base_url import BaseUrl
from common.settings import KafkaSettings, MerchantSettings, MongoSettings, OwnershipSettings, ServiceSettings, named

META_HOSTS = ("lookaside.fbsbx.com", "*.fbcdn.net", "*.cdninstagram.com")
"""Where the links in Instagram's webhooks lead, or redirect to: the messaging CDN and Meta's two for media."""

OFF = "off"


class Settings(ServiceSettings, KafkaSettings, MongoSettings, MerchantSettings, OwnershipSettings):
    """The ai service's settings. Times in seconds."""

    port: int = named("PORT", default=8001, ge=0, le=65535)
    openai_api_key: SecretStr = named("OPENAI_API_KEY")
    openai_model: str = named("OPENAI_MODEL", default="gpt-4o-mini", min_length=1)
    openai_base_url: BaseUrl = named("OPENAI_BASE_URL", default="https://api.openai.com/v1")
    # What a customer may wait for the model, all tries of one answer together.
    openai_timeout: float = named("OPENAI_TIMEOUT", default=20.0, gt=0, le=300)
    openai_max_tokens: int = named("OPENAI_MAX_TOKENS", default=500, ge=50, le=16_000)
    # Room for a model that reasons, on top of these: what it thinks is billed as output, and cut off with it.
    openai_thinking_tokens: int = named("OPENAI_THINKING_TOKENS", default=4000, ge=0, le=64_000)
    openai_temperature: float = named("OPENAI_TEMPERATURE", default=0.7, ge=0, le=2)
    # How many model calls run at once in this process; further ones wait in the order they came.
    model_concurrency: int = named("AI_MODEL_CONCURRENCY", default=64, ge=1, le=1000)
    # How long a message waits for a model that asks to be left alone, until its customer gets an apology instead.
    model_patience: float = named("AI_MODEL_PATIENCE", default=60.0, ge=0, le=3600)
    # How many lines of a conversation are kept beside it and shown to the model.
    history_length: int = named("AI_HISTORY_LENGTH", default=20, ge=2, le=200)

    # How closely a model looks at a customer's images: low, high or auto; off for a model that has no eyes.
    images: Literal["off", "low", "high", "auto"] = named("AI_IMAGES", default="low")
    # Which model makes text of voice messages; "off" leaves them unheard.
    transcription_model: str = named("OPENAI_TRANSCRIPTION_MODEL", default="gpt-transcribe", min_length=1)
    # Recordings in memory at once; what they take together is AI_MEDIA_MEMORY_BYTES, and at most one recording more.
    transcription_concurrency: int = named("AI_TRANSCRIPTION_CONCURRENCY", default=8, ge=1, le=100)
    # Where a customer's media may be fetched from: names, *.names; in development also origins such as http://host:port.
    media_hosts: Annotated[tuple[str, ...], NoDecode] = named("AI_MEDIA_HOSTS", default=META_HOSTS)
    media_timeout: float = named("AI_MEDIA_TIMEOUT", default=10.0, gt=0, le=60)
    media_memory_bytes: int = named("AI_MEDIA_MEMORY_BYTES", default=64_000_000, ge=1000)
    media_max_bytes: int = named("AI_MEDIA_MAX_BYTES", default=25_000_000, ge=1000, le=25_000_000)

    @field_validator("media_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
        return value

    @model_validator(mode="after")
    def _are_hosts(self) -> Self:
        try:
            hosts = AllowedHosts(self.media_hosts)
        except ValueError as error:
            raise ValueError(f"AI_MEDIA_HOSTS: {error}") from None
        if hosts.origins and not self.development:
            raise ValueError("AI_MEDIA_HOSTS: an origin is for tests; name hosts (or JAWAB_ENV=development)")
        return self

    @field_validator("openai_api_key")
    @classmethod
    def _can_stand_in_a_header(cls, value: SecretStr) -> SecretStr:
        """Take off what a mounted file ends with; with what no header can carry every single call would fail."""
        key = value.get_secret_value().strip()
        if not key or not all("!" <= character <= "~" for character in key):
            raise ValueError("must be the key alone: ASCII characters without blanks or line breaks")
        return SecretStr(key)
