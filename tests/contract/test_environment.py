"""`.env.example` explains every variable, and names none that does not exist."""

import re

import pytest
from pydantic import AliasChoices

from ai.settings import Settings as AISettings
from cleanup.settings import Settings as CleanupSettings
from delivery.settings import Settings as DeliverySettings
from ingest.settings import Settings as IngestSettings

ALL_SETTINGS = [IngestSettings, AISettings, DeliverySettings, CleanupSettings]
READ_BY_COMMANDS_ONLY = {"KAFKA_REPLICATION_FACTOR", "KAFKA_MIN_INSYNC_REPLICAS"}


def names_of(settings: type) -> set[str]:
    """Return every environment name a settings class reads."""
    found = set()
    for field in settings.model_fields.values():
        assert isinstance(field.validation_alias, AliasChoices)
        found |= {str(choice) for choice in field.validation_alias.choices}
    return found


@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_every_variable_of_a_service_is_explained(settings, project_root):
    text = (project_root / ".env.example").read_text(encoding="utf-8")
    assert {name for name in names_of(settings) if not re.search(rf"\b{name}\b", text)} == set()


def test_every_variable_that_is_explained_exists(project_root):
    text = (project_root / ".env.example").read_text(encoding="utf-8")
    explained = set(re.findall(r"\b([A-Z][A-Z0-9_]{3,})=", text))
    assert explained - set().union(*map(names_of, ALL_SETTINGS)) - READ_BY_COMMANDS_ONLY == set()
