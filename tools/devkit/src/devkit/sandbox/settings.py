"""What can be told to the sandbox from outside, by environment."""

from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from devkit.ids import DEFAULT_ACCOUNT_ID, DEFAULT_ACCOUNT_USERNAME

Seconds = Annotated[float, Field(ge=0, le=600)]
Share = Annotated[float, Field(ge=0, le=1)]


class SandboxSettings(BaseSettings):
    """Settings of the sandbox world; the names in the environment are the fields' names after ``SANDBOX_``."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_", frozen=True, populate_by_name=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8090, ge=0, le=65535, validation_alias=AliasChoices("SANDBOX_PORT", "PORT"))
    """Where it listens; 0 takes a free port."""

    webhook_url: str = ""
    """Where echoes, reads and own comments are posted; empty posts nothing."""

    app_secret: SecretStr = SecretStr("mon_secret_webhook_instagram")
    """Signs what is posted there; the default is the documented development value."""

    account_id: str = DEFAULT_ACCOUNT_ID
    account_username: str = DEFAULT_ACCOUNT_USERNAME
    page_id: str = ""
    """The account's page in ManyChat; empty lets any key speak for the account."""

    access_token: SecretStr = SecretStr("")
    """The account's Graph token; empty accepts any."""

    igsid_field_id: str = "11111"
    """The ManyChat custom field that holds a customer's Instagram-scoped id."""

    clock_offset: Annotated[float, Field(ge=-3600, le=3600)] = Field(
        default=0.0, validation_alias=AliasChoices("SANDBOX_CLOCK_OFFSET", "JAWAB_CLOCK_OFFSET")
    )
    """Seconds by which the platform's clock is ahead: of its messages, its windows and its Date headers."""

    seed: str = ""
    """Makes ids repeatable; empty makes new ones each run, so that a kept database never sees one again."""

    echoes: bool = True
    reads: bool = True
    echo_delay_seconds: Seconds = 0.05
    echo_delay_max_seconds: Seconds = 0.0
    """Where above the delay: each echo waits a time of its own between the two."""
    echo_before_answer: Share = 0.0
    """How often to post the echo before the send's own answer, which Instagram is known to do; 1 for always."""
    echo_duplicates: Share = 0.0
    """How often an echo is told twice, each with a delay of its own."""
    echo_losses: Share = 0.0
    """How often an echo is never told."""
    webhook_patience_seconds: Annotated[float, Field(ge=0, le=36 * 3600)] = 60.0
    """For how long what is not answered with 200 is posted again, further and further apart up to five seconds."""

    model_latency_seconds: Seconds = 0.0
    enforce_rates: bool = False
    """Refuse calls above the documented limits; off, because a load test is not about them."""

    journal_limit: int = Field(default=100_000, ge=1, le=2_000_000)
    """How many calls are remembered; older ones are forgotten first."""
