"""Whether the model answers: asked for one small answer, by the ai service's own code.

A model may be listed and still refuse every request. This costs some hundred tokens, and more of a model that reasons.
"""

import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from ai.completion import ModelFailed, Reason
from ai.instagram_ai import InstagramAIService
from ai.model import API, ModelLimits, OpenAIModel, openai_client
from ai.prompt import Question
from cli.checks.providers import Providers
from cli.diagnosis import Check, Doubtful, NotLooked, Wrong
from cli.outside_client import outside_client
from common.breaker import BreakerMetrics, Breakers
from common.clock import SystemClock
from common.merchants import Merchant


def model_checks(providers: Providers | None, *, patience: float) -> list[Check]:
    """Return the check of the model; it ends within `patience` seconds."""

    async def model() -> str:
        if providers is None:
            raise NotLooked("the providers' variables are not valid", "see the lines of the environment")
        return await answers_as_model(providers, patience=patience)

    return [Check("providers", "model", model)]


class Unobserved:
    """Notes nothing: a single call is no figure."""

    def called(self, result: str, seconds: float) -> None:
        """Ignore a call."""

    def images_refused(self) -> None:
        """Ignore what cannot happen: no image is asked about."""


ADVICE: Mapping[Reason, str] = {
    "timeout": "choose a faster model, raise OPENAI_TIMEOUT (here --patience), or see OPENAI_BASE_URL and the network",
    "unavailable": "see OPENAI_BASE_URL, the network, and the provider's status page",
    "held_back": "wait a minute",
    "rate_limited": "wait, or have the provider raise the limit of this key",
    "quota": "add credit at the provider: nothing can be answered without",
    "bad_key": "set OPENAI_API_KEY to a key that is active and may use this model",
    "bad_request": "correct OPENAI_MODEL and OPENAI_BASE_URL: this server takes the request in no form",
    "refused": "choose another OPENAI_MODEL, or see the content filter of this deployment",
    "truncated": "raise OPENAI_THINKING_TOKENS for a model that reasons, else OPENAI_MAX_TOKENS",
    "not_valid": "choose an OPENAI_MODEL that keeps to JSON; see that OPENAI_BASE_URL leads to the API, not to a page",
}
"""What to change, by why there is no answer."""

MAX_QUOTED = 200
SHARE = 0.9
"""Of the patience, so that the reason is known before it ends."""


async def answers_as_model(providers: Providers, *, patience: float) -> str:
    """Ask the model for one small answer, as the ai service does. Raises Wrong, Doubtful."""
    if providers.openai_api_key is None:
        raise NotLooked("OPENAI_API_KEY is not set", "create one at platform.openai.com")
    seconds = min(providers.openai_timeout, patience * SHARE)
    client = openai_client(
        api_key=providers.openai_api_key.get_secret_value(),
        base_url=providers.openai_url,
        timeout=seconds,
        connections=1,
        http_client=outside_client(seconds),
    )
    limits = ModelLimits(
        model=providers.openai_model,
        timeout=seconds,
        max_tokens=providers.openai_max_tokens,
        thinking_tokens=providers.openai_thinking_tokens,
        temperature=providers.openai_temperature,
    )
    breakers = Breakers(API, clock=SystemClock(), metrics=BreakerMetrics(CollectorRegistry()))
    model = OpenAIModel(client, limits, Unobserved(), breakers)
    shop = Merchant(id="doctor", name="Doctor", account_id="1")
    began = time.monotonic()
    try:
        made = await InstagramAIService(model).answer(Question(shop, "direct_message", "en", "Hello"))
    except ModelFailed as failure:
        raise _no_answer(providers, failure) from None
    finally:
        await client.close()
    tokens = made.usage.input_tokens + made.usage.output_tokens
    return f"{providers.openai_model} answered in {time.monotonic() - began:.1f} s, with {tokens} tokens"


def _no_answer(providers: Providers, failure: ModelFailed) -> Wrong | Doubtful:
    """Return what is wrong. The server is quoted where it says what it does not take; never where it names a key."""
    words = " ".join(failure.refusal.words.split())[:MAX_QUOTED] if failure.reason == "bad_request" else ""
    said = f"{providers.openai_model} gives no answer ({failure.reason})" + (f": {words}" if words else "")
    kind = Doubtful if failure.reason == "rate_limited" else Wrong
    return kind(said, ADVICE[failure.reason])
