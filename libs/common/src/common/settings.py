"""What can be configured, in blocks that a service composes; everything comes from the environment.

The public names are those of the guide and its aliases; an alias means the same as the name it stands beside. An empty
variable counts as unset. A wrong one stops the service at start-up, in one readable line (`common.service.run`).
"""

import os
import ssl
import warnings
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from common import failpoints
from common.base_url import WholeUrl
from common.bounds import MAX_INT64
from common.kafka_address import BootstrapServers
from common.sealing import checked_key

DEVELOPMENT_VALUES = frozenset(
    {
        "mon_token_verification_instagram",
        "mon_secret_webhook_instagram",
        "jawab-development-key-32-chars-x",
        "jawab-development-jwt-secret-not-for-production",
        "jawab-development-manychat-webhook-secret",
        "jawab-development-access-token",
        "17841400000000001:jawab-development-manychat-key",
        "jawab-development-openai-key",
    }
)
"""The secrets of `.env.example`. Anybody can read them, so production refuses each of them."""

SecretList = Annotated[tuple[SecretStr, ...], NoDecode]
"""Several secrets in one variable, separated by commas, the newest first."""

MIN_JWT_SECRET = 32

MIN_SECRET_CHARACTERS: Mapping[str, int] = {
    "META_APP_SECRET": 16,
    "IG_APP_SECRET": 16,
    "INSTAGRAM_WEBHOOK_SECRET": 16,
    "IG_VERIFY_TOKEN": 16,
    # The secrets of accounts are derived from it, so whoever has one of them can try guesses of it offline.
    "MANYCHAT_WEBHOOK_SECRET": 32,
    "ENCRYPTION_KEY": 32,
    "JWT_SECRET": MIN_JWT_SECRET,
}
"""The fewest characters of each secret by which callers are believed or values sealed, in production."""

MIN_DIFFERENT_CHARACTERS = 6
"""A secret of fewer was typed, not drawn: of 16 random hexadecimal digits one in 10,000 has fewer different ones."""


def named(*names: str, default: Any = ..., **about: Any) -> Any:
    """Declare a field by its environment names, the public one first."""
    return Field(default=default, validation_alias=AliasChoices(*names), **about)


def split_secrets(value: object) -> object:
    """Turn `a,b` into its parts, so that a secret can be rotated by naming both."""
    if isinstance(value, str):
        return tuple(SecretStr(part) for part in (piece.strip() for piece in value.split(",")) if part)
    return value


class Block(BaseSettings):
    """A set of settings read from the environment, immutable."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


def development_values_in(names: Iterable[str]) -> str:
    """Say that variables still have their development values, and what to do."""
    each = sorted(set(names))
    have = "still has its development value" if len(each) == 1 else "still have their development values"
    return (
        f"{', '.join(each)} {have}, which anybody can read in .env.example: "
        "set your own, or set JAWAB_ENV=development on a machine that serves no customers"
    )


def _revealed(value: object) -> list[str]:
    if isinstance(value, SecretStr):
        return [value.get_secret_value()]
    if isinstance(value, tuple):
        return [revealed for part in value for revealed in _revealed(part)]
    return []


class ServiceSettings(Block):
    """What every service has."""

    environment: Literal["production", "development"] = named("JAWAB_ENV", default="production")
    host: str = named("HOST", default="0.0.0.0")  # noqa: S104 a container must be reached from outside
    port: int = named("PORT", default=8000, ge=0, le=65535)
    max_connections: int = named("HTTP_MAX_CONNECTIONS", default=1000, ge=10, le=60_000)
    max_connections_per_source: int = named(
        "HTTP_MAX_CONNECTIONS_PER_SOURCE",
        default=250,
        ge=0,
        description="From one IPv4 address or IPv6 /64; 0 is no bound, for where a proxy of ours stands in front.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = named("LOG_LEVEL", default="info")
    log_format: Literal["json", "console"] = named("LOG_FORMAT", default="json")
    failpoint: str = named("JAWAB_FAILPOINT", default="")
    # Seconds by which this process takes its clock to be ahead, for tests in which the machines disagree.
    clock_offset: float = named("JAWAB_CLOCK_OFFSET", default=0.0, ge=-3600, le=3600)

    @model_validator(mode="after")
    def _failpoints_are_for_development(self) -> Self:
        if self.failpoint and self.environment != "development":
            raise ValueError(
                "JAWAB_FAILPOINT lets a process die or lose a guarantee on purpose: unset it (or JAWAB_ENV=development)"
            )
        try:
            failpoints.parse(self.failpoint)
        except ValueError as error:
            raise ValueError(f"JAWAB_FAILPOINT: {error}") from None
        return self

    @model_validator(mode="after")
    def _clock_offset_is_for_development(self) -> Self:
        if self.clock_offset and self.environment != "development":
            raise ValueError(
                "JAWAB_CLOCK_OFFSET lets a process mistake the time on purpose: unset it (or JAWAB_ENV=development)"
            )
        return self

    @model_validator(mode="after")
    def _no_development_values_in_production(self) -> Self:
        """Refuse also what this service does not read: the environment was copied from the example then."""
        if self.environment == "production":
            names = [
                name
                for name, value in os.environ.items()
                if DEVELOPMENT_VALUES.intersection(part.strip() for part in value.split(","))
            ]
            for name, field in type(self).model_fields.items():
                alias = field.validation_alias
                known = [str(one) for one in alias.choices] if isinstance(alias, AliasChoices) else [name.upper()]
                if DEVELOPMENT_VALUES.intersection(_revealed(getattr(self, name))) and not set(known) & set(names):
                    names.append(known[0])
            if names:
                raise ValueError(development_values_in(names))
        return self

    @model_validator(mode="after")
    def _secrets_cannot_be_guessed_in_production(self) -> Self:
        """Refuse secrets that somebody could find by trying."""
        if self.environment == "production":
            for name, field in type(self).model_fields.items():
                alias = field.validation_alias
                names = [str(one) for one in alias.choices] if isinstance(alias, AliasChoices) else []
                fewest = max((MIN_SECRET_CHARACTERS.get(one, 0) for one in names), default=0)
                for secret in _revealed(getattr(self, name)) if fewest else ():
                    if len(secret) < fewest or len(set(secret)) < MIN_DIFFERENT_CHARACTERS:
                        raise ValueError(
                            f"{names[0]} can be guessed: it must have at least {fewest} characters, and "
                            f"{MIN_DIFFERENT_CHARACTERS} different ones, in production; make one: openssl rand -hex 16"
                        )
        return self

    @property
    def development(self) -> bool:
        """Whether this is a machine that serves no customers."""
        return self.environment == "development"


class KafkaSettings(Block):
    """How Kafka is reached and how patiently it is used. Times in seconds."""

    bootstrap_servers: BootstrapServers = named("KAFKA_BOOTSTRAP_SERVERS", default="localhost:9092")
    idempotence: bool = named("KAFKA_IDEMPOTENCE", default=True)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = named(
        "KAFKA_SECURITY_PROTOCOL", default="PLAINTEXT"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = named(
        "KAFKA_SASL_MECHANISM", default="SCRAM-SHA-512"
    )
    username: str = named("KAFKA_USERNAME", default="")
    password: SecretStr = named("KAFKA_PASSWORD", default=SecretStr(""))
    ca_file: str | None = named("KAFKA_CA_FILE", default=None)
    # A client certificate in PEM, for brokers that ask for one; the key may stand in the same file.
    cert_file: str | None = named("KAFKA_CERT_FILE", default=None)
    key_file: str | None = named("KAFKA_KEY_FILE", default=None)
    key_password: SecretStr = named("KAFKA_KEY_PASSWORD", default=SecretStr(""))
    oauth_token_url: WholeUrl | None = named("KAFKA_OAUTH_TOKEN_URL", default=None)
    oauth_client_id: str = named("KAFKA_OAUTH_CLIENT_ID", default="")
    oauth_client_secret: SecretStr = named("KAFKA_OAUTH_CLIENT_SECRET", default=SecretStr(""))
    oauth_scope: str = named("KAFKA_OAUTH_SCOPE", default="")
    request_timeout: float = named("KAFKA_REQUEST_TIMEOUT", default=10.0, gt=0)
    session_timeout: float = named("KAFKA_SESSION_TIMEOUT", default=10.0, ge=6)
    group_instance_id: str | None = named("KAFKA_GROUP_INSTANCE_ID", default=None)
    # Records in memory at once, and of them those being worked on: waiting for a retry or for its turn is not work.
    max_outstanding: int = named("KAFKA_MAX_OUTSTANDING", default=5000, ge=1)
    max_outstanding_bytes: int = named("KAFKA_MAX_OUTSTANDING_BYTES", default=32 * 1024 * 1024, ge=1024 * 1024)
    # Records whose account has its share in memory: they stay in the log, and their offsets are kept account of.
    max_deferred: int = named("KAFKA_MAX_DEFERRED", default=50_000, ge=1)
    max_working: int = named("KAFKA_MAX_WORKING", default=128, ge=1)
    commit_interval: float = named("KAFKA_COMMIT_INTERVAL", default=0.2, gt=0)
    drain_timeout: float = named("KAFKA_DRAIN_TIMEOUT", default=15.0, ge=0)
    max_retry_age: float = named("KAFKA_MAX_RETRY_AGE", default=3600.0, ge=0)
    # More of a partition's records than this, in percent, going to the dead letters stops the partition.
    max_dead_letters: float = named("KAFKA_MAX_DEAD_LETTERS", default=20.0, gt=0, le=100)
    publish_timeout: float = named("KAFKA_PUBLISH_TIMEOUT", default=10.0, gt=0)

    @property
    def fetch_bytes(self) -> int:
        """The most bytes of one fetch: a quarter of what may be in memory, which what is fetched adds to."""
        return self.max_outstanding_bytes // 4

    @property
    def partition_fetch_bytes(self) -> int:
        """The most bytes of one partition in a fetch. A single larger record comes all the same (KIP-74)."""
        return max(64 * 1024, self.max_outstanding_bytes // 128)

    @field_validator("ca_file")
    @classmethod
    def _holds_certificates(cls, value: str | None) -> str | None:
        try:
            ssl.create_default_context(cafile=value)
        except OSError:
            raise ValueError("must be a readable file of certificates in PEM") from None
        return value

    @model_validator(mode="after")
    def _sasl_needs_a_name(self) -> Self:
        if not self.security_protocol.startswith("SASL"):
            return self
        if self.sasl_mechanism == "OAUTHBEARER":
            if not (self.oauth_token_url and self.oauth_client_id and self.oauth_client_secret.get_secret_value()):
                raise ValueError(
                    "KAFKA_OAUTH_TOKEN_URL, KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET are needed with "
                    "KAFKA_SASL_MECHANISM=OAUTHBEARER"
                )
        elif not (self.username and self.password.get_secret_value()):
            raise ValueError("KAFKA_USERNAME and KAFKA_PASSWORD are needed with KAFKA_SECURITY_PROTOCOL=SASL_*")
        return self

    @model_validator(mode="after")
    def _client_certificate_can_be_used(self) -> Self:
        if self.cert_file is None:
            if self.key_file is not None:
                raise ValueError("KAFKA_CERT_FILE is needed with KAFKA_KEY_FILE")
            return self
        if not self.security_protocol.endswith("SSL"):
            raise ValueError("KAFKA_CERT_FILE is of no use without KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL")
        try:
            self.tls_context()
        except (OSError, ValueError):  # an SSLError is an OSError
            raise ValueError(
                "KAFKA_CERT_FILE and KAFKA_KEY_FILE must be a readable certificate and its private key in PEM, and "
                "KAFKA_KEY_PASSWORD what opens the key where it is encrypted"
            ) from None
        return self

    def tls_context(self) -> ssl.SSLContext:
        """Return a context that verifies the brokers, and shows them the client certificate. Raises OSError."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(self.cert_file, self.key_file, self.key_password.get_secret_value)
        return context


class MongoSettings(Block):
    """How MongoDB is reached. The database is the one named in the URL."""

    mongodb_url: SecretStr = named("MONGODB_URL", default=SecretStr("mongodb://localhost:27017/jawab"))
    mongodb_timeout: float = named("MONGODB_TIMEOUT", default=10.0, gt=0)

    @field_validator("mongodb_url")
    @classmethod
    def _names_a_database(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if not url.startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("must begin with mongodb:// or mongodb+srv://")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # an option the driver does not know, and would go without
                # The parser would look an srv address up in the DNS: only its form is of interest here.
                database = parse_uri(url.replace("mongodb+srv://", "mongodb://", 1))["database"]
        except (PyMongoError, ValueError, UserWarning):
            raise ValueError(
                "is nothing that MongoDB's driver takes: see the host, the port and the options, and encode"
                " / : @ ? # % in user name and password (%2F %3A %40 %3F %23 %25)"
            ) from None
        if not database:
            raise ValueError("must name the database, e.g. mongodb://localhost:27017/jawab")
        return value


class SealingSettings(Block):
    """The keys that seal merchants' tokens at rest."""

    encryption_keys: SecretList = named("ENCRYPTION_KEY")

    _split = field_validator("encryption_keys", mode="before")(split_secrets)

    @field_validator("encryption_keys")
    @classmethod
    def _are_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not value:
            raise ValueError("must hold at least one key of 32 characters")
        for key in value:
            checked_key(key.get_secret_value())
        return value


class JwtSettings(Block):
    """The secrets that sign the HTTP API's tokens: the first signs, each is believed."""

    jwt_secrets: SecretList = named("JWT_SECRET")

    # A name of its own: validators of one name replace each other where a service composes several blocks.
    _split_jwt_secrets = field_validator("jwt_secrets", mode="before")(split_secrets)

    @field_validator("jwt_secrets")
    @classmethod
    def _are_long_enough(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not value or any(len(secret.get_secret_value()) < MIN_JWT_SECRET for secret in value):
            raise ValueError(
                f"must have at least {MIN_JWT_SECRET} characters (RFC 7518, section 3.2, for HS256); of several, "
                "separated by commas, each"
            )
        return value


class MerchantSettings(Block):
    """One merchant, configured by the environment alone; further ones are added with `jawab merchants add`."""

    merchant_id: str = named("JAWAB_MERCHANT_ID", default="default", pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    merchant_name: str = named("JAWAB_MERCHANT_NAME", default="My shop")
    price_link: str = named("JAWAB_PRICE_LINK", default="https://example.com/prices")
    account_id: str | None = named("INSTAGRAM_PAGE_ID", default=None, pattern=r"^[0-9]{1,32}$")
    access_token: SecretStr | None = named("INSTAGRAM_ACCESS_TOKEN", default=None)
    manychat_api_key: SecretStr | None = named("MANYCHAT_API_KEY", default=None)
    manychat_igsid_field: int | None = named("MANYCHAT_IGSID_FIELD_ID", default=None, ge=1, le=MAX_INT64)
    operator_webhook: WholeUrl | None = named("OPERATOR_WEBHOOK_URL", default=None)


class OwnershipSettings(Block):
    """How long a person who answered in the app keeps the conversation, unless they release it earlier."""

    human_pause_hours: float = named("HUMAN_PAUSE_HOURS", default=12.0, gt=0, le=24 * 30)


class MetaAppSettings(Block):
    """What the Meta app's dashboard knows: secrets that sign webhooks, the verification token, the app's id."""

    app_id: str | None = named("IG_APP_ID", default=None)
    meta_app_secrets: SecretList = named("META_APP_SECRET", default=())
    ig_app_secrets: SecretList = named("IG_APP_SECRET", default=())
    webhook_secrets: SecretList = named("INSTAGRAM_WEBHOOK_SECRET", default=())
    verify_token: SecretStr = named("IG_VERIFY_TOKEN", "INSTAGRAM_VERIFY_TOKEN")

    _split = field_validator("meta_app_secrets", "ig_app_secrets", "webhook_secrets", mode="before")(split_secrets)

    @model_validator(mode="after")
    def _has_a_secret(self) -> Self:
        if not self.app_secrets:
            raise ValueError(
                "META_APP_SECRET (or IG_APP_SECRET, or INSTAGRAM_WEBHOOK_SECRET) must be set: without it nobody can "
                "tell Meta's webhooks from forged ones"
            )
        return self

    @property
    def app_secrets(self) -> tuple[str, ...]:
        """Every secret that may sign a webhook, each once."""
        named_secrets = (*self.meta_app_secrets, *self.ig_app_secrets, *self.webhook_secrets)
        return tuple(dict.fromkeys(secret.get_secret_value() for secret in named_secrets))
