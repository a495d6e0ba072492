"""The sandbox's own ways: how late, how often and whether it tells of what it did, and how much it lets through.

Unlike a fault, which is ordered for certain calls, they hold for all.
"""

from typing import Any

from litestar import get, patch, put
from litestar.params import JSONBody
from pydantic import BaseModel, ConfigDict, Field

from devkit.sandbox.rates import Rates
from devkit.sandbox.webhooks import WebhookPoster


class Behaviour(BaseModel):
    """The sandbox's own ways; what is left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    echoes: bool | None = None
    reads: bool | None = None
    echo_delay_seconds: float | None = Field(default=None, ge=0, le=600)
    echo_delay_max_seconds: float | None = Field(default=None, ge=0, le=600)
    """Where above the delay: each echo waits a time of its own between the two."""
    echo_before_answer: float | None = Field(default=None, ge=0, le=1)
    """How often an echo comes before the send's own answer; true for always."""
    echo_duplicates: float | None = Field(default=None, ge=0, le=1)
    """How often an echo is told twice."""
    echo_losses: float | None = Field(default=None, ge=0, le=1)
    """How often an echo is never told."""
    model_latency_seconds: float | None = Field(default=None, ge=0, le=600)
    enforce_rates: bool | None = None
    webhook_url: str | None = None


class RateLimit(BaseModel):
    """A limit in the place of a documented one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: float = Field(ge=1)
    seconds: float = Field(gt=0)


class ModelLatency:
    """How long the model thinks, in seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        """Return the seconds."""
        return self.seconds


def behaviour_routes(poster: WebhookPoster, rates: Rates, latency: ModelLatency) -> list[Any]:
    """Return the routes that show and change the sandbox's ways and its limits."""

    @get("/behaviour", sync_to_thread=False)
    def read_behaviour() -> dict[str, Any]:
        echo = poster.settings
        return {
            "echoes": echo.echoes,
            "reads": echo.reads,
            "echo_delay_seconds": echo.delay_seconds,
            "echo_delay_max_seconds": echo.delay_max_seconds,
            "echo_before_answer": echo.before_answer,
            "echo_duplicates": echo.duplicates,
            "echo_losses": echo.losses,
            "model_latency_seconds": latency.seconds,
            "enforce_rates": rates.enforce,
            "webhook_url": poster.url,
        }

    @get("/rates", sync_to_thread=False)
    def read_rates() -> dict[str, Any]:
        return {"enforced": rates.enforce, "exceeded": rates.exceeded, "counts": rates.told()}

    @put("/rates", sync_to_thread=False)
    def change_rates(data: JSONBody[dict[str, RateLimit]]) -> dict[str, Any]:
        rates.set_limits({what: (told.calls, told.seconds) for what, told in data.items()})
        return {"exceeded": rates.exceeded}

    @patch("/behaviour", sync_to_thread=False)
    def change_behaviour(data: JSONBody[Behaviour]) -> dict[str, Any]:
        echo = poster.settings
        told = data.model_dump(exclude_none=True)
        echo.echoes = told.get("echoes", echo.echoes)
        echo.reads = told.get("reads", echo.reads)
        echo.delay_seconds = told.get("echo_delay_seconds", echo.delay_seconds)
        echo.delay_max_seconds = told.get("echo_delay_max_seconds", echo.delay_max_seconds)
        echo.before_answer = told.get("echo_before_answer", echo.before_answer)
        echo.duplicates = told.get("echo_duplicates", echo.duplicates)
        echo.losses = told.get("echo_losses", echo.losses)
        latency.seconds = told.get("model_latency_seconds", latency.seconds)
        rates.enforce = told.get("enforce_rates", rates.enforce)
        poster.url = told.get("webhook_url", poster.url)
        return told

    return [read_behaviour, change_behaviour, read_rates, change_rates]
