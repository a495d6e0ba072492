"""Whether each service would start with this environment, and whether it fits where it runs."""

import importlib
import os
from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from cli.diagnosis import Check, Doubtful, Wrong
from common.public_address import is_local
from common.service import misconfiguration
from common.settings import DEVELOPMENT_VALUES

SERVICES = ("ingest", "ai", "delivery", "cleanup")
SEE = " (.env.example explains every variable)"


def environment_checks(environment: Mapping[str, str] = os.environ) -> list[Check]:
    """Return a check for each service's settings, and those of the environment as a whole."""

    def settings_of(service: str) -> Check:
        async def look() -> str:
            return starts(service)

        return Check("environment", f"variables of {service}", look)

    async def kind() -> str:
        return kind_of_environment(environment)

    return [
        Check("environment", "JAWAB_ENV", kind),
        *map(settings_of, SERVICES),
    ]


def starts(service: str) -> str:
    """Build the service's settings from the process's environment. Raises Wrong naming every variable."""
    try:
        settings: type[BaseSettings] = importlib.import_module(f"{service}.settings").Settings
    except (ImportError, AttributeError):
        raise Wrong(f"the service {service} is not installed here", "run `uv sync`") from None
    try:
        settings()
    except (ValidationError, SettingsError, ValueError) as error:
        told = misconfiguration(error, settings).removesuffix(SEE)
        raise Wrong(told, ".env.example explains every variable") from None
    return "it would start"


def kind_of_environment(environment: Mapping[str, str]) -> str:
    """Say what kind of place this is. Raises Doubtful when development values stand behind a public address."""
    kind = environment.get("JAWAB_ENV") or "production"
    if kind == "production":
        return "production: development values are refused"
    public = [
        name
        for name, value in environment.items()
        if any(part.strip() in DEVELOPMENT_VALUES for part in value.split(","))
    ]
    url = environment.get("PUBLIC_URL", "")
    if public and url and not is_local(url):
        raise Doubtful(
            f"development, with {len(public)} published values behind a public address: {', '.join(sorted(public))}",
            "set values of your own and JAWAB_ENV=production before customers come",
        )
    return f"development: {len(public)} values of .env.example in use"
