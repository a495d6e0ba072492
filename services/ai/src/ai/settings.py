"""What can be configured in the ai service; `.env.example` explains each name."""

from pydantic import SecretStr, field_validator

from common.settings import KafkaSettings, MerchantSettings, MongoSettings, OwnershipSettings, ServiceSettings, named


class Settings(ServiceSettings, KafkaSettings, MongoSettings, MerchantSettings, OwnershipSettings):
    """The ai service's settings. Times in seconds."""

    port: int = named("PORT", default=8001, ge=0, le=65535)
    openai_api_key: SecretStr = named("OPENAI_API_KEY")
    openai_model: str = named("OPENAI_MODEL", default="gpt-4o-mini", min_length=1)
    openai_base_url: str = named("OPENAI_BASE_URL", default="https://api.openai.com/v1")
    # What a customer may wait for the model, all tries of one answer together.
    openai_timeout: float = named("OPENAI_TIMEOUT", default=20.0, gt=0, le=300)
    openai_max_tokens: int = named("OPENAI_MAX_TOKENS", default=500, ge=50, le=16_000)
    openai_temperature: float = named("OPENAI_TEMPERATURE", default=0.7, ge=0, le=2)
    # How many model calls run at once in this process; further ones wait in the order they came.
    model_concurrency: int = named("AI_MODEL_CONCURRENCY", default=64, ge=1, le=1000)
    # How long a message waits for a model that asks to be left alone, until its customer gets an apology instead.
    model_patience: float = named("AI_MODEL_PATIENCE", default=60.0, ge=0, le=3600)
    # How many lines of a conversation are kept beside it and shown to the model.
    history_length: int = named("AI_HISTORY_LENGTH", default=20, ge=2, le=200)

    @field_validator("openai_base_url")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://, e.g. https://api.openai.com/v1")
        return value.rstrip("/")
