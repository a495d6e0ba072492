"""The service's configuration, and that it starts with nothing else running."""

import httpx2
import pytest
from pydantic import SecretStr, ValidationError

from ai.app import create_app
from ai.settings import Settings
from common.service import misconfiguration

NEEDED = {"environment": "development", "openai_api_key": SecretStr("k")}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_MODEL", "OPENAI_BASE_URL", "PORT", "JAWAB_ENV", "MONGODB_URL"):
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_the_public_ones():
    settings = Settings(**NEEDED)
    assert (settings.port, settings.openai_model) == (8001, "gpt-4o-mini")
    assert settings.openai_base_url == "https://api.openai.com/v1"
    assert (settings.openai_max_tokens, settings.openai_temperature, settings.openai_timeout) == (500, 0.7, 20.0)


def test_the_key_of_the_model_must_be_set():
    with pytest.raises(ValidationError) as error:
        Settings(environment="development")
    assert "OPENAI_API_KEY is not set" in misconfiguration(error.value)


def test_production_refuses_the_development_key():
    with pytest.raises(ValidationError, match="OPENAI_API_KEY still has its development value"):
        Settings(environment="production", openai_api_key=SecretStr("jawab-development-openai-key"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("openai_api_key", SecretStr("  ")),
        ("openai_api_key", SecretStr("sk-one\nsk-two")),
        ("openai_api_key", SecretStr("sk-clé")),
        ("openai_base_url", "api.openai.com"),
        ("openai_base_url", "https://"),
        ("openai_base_url", "https:// api.openai.com/v1"),
        ("openai_timeout", 0),
        ("openai_max_tokens", 1),
        ("openai_temperature", 3),
        ("model_concurrency", 0),
        ("history_length", 1),
        ("images", "yes"),
        ("media_hosts", "*"),
        ("media_hosts", "fbcdn.net,10.0.0.1"),
        ("media_timeout", 0),
        ("media_max_bytes", 30_000_000),
        ("transcription_concurrency", 0),
    ],
)
def test_a_value_that_cannot_work_is_refused(name, value):
    with pytest.raises(ValidationError):
        Settings(**NEEDED | {name: value})


def test_what_a_mounted_file_ends_with_is_not_part_of_the_key():
    settings = Settings(**NEEDED | {"openai_api_key": SecretStr("sk-key\r\n"), "openai_base_url": "https://x/v1/ "})
    assert (settings.openai_api_key.get_secret_value(), settings.openai_base_url) == ("sk-key", "https://x/v1")


def test_media_comes_from_metas_hosts_unless_others_are_named():
    assert Settings(**NEEDED).media_hosts == ("lookaside.fbsbx.com", "*.fbcdn.net", "*.cdninstagram.com")
    named = Settings(**NEEDED, media_hosts=" cdn.example.com, http://127.0.0.1:8090 ,")
    assert named.media_hosts == ("cdn.example.com", "http://127.0.0.1:8090")


def test_production_fetches_no_media_from_a_tests_server():
    with pytest.raises(ValidationError, match="AI_MEDIA_HOSTS: an origin is for tests"):
        Settings(environment="production", openai_api_key=SecretStr("k"), media_hosts="http://127.0.0.1:8090")


async def test_without_kafka_and_mongodb_the_service_lives_and_says_that_it_is_not_ready():
    settings = Settings(
        **NEEDED,
        bootstrap_servers="127.0.0.1:9",
        mongodb_url=SecretStr("mongodb://127.0.0.1:9/x"),
        mongodb_timeout=0.2,
    )
    app = create_app(settings)
    http_client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://ai")
    async with app.lifespan(), http_client as http:
        assert (await http.get("/livez")).status_code == 200
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert set(ready.json()["checks"]) == {"kafka", "mongodb"}
        assert "ai_model_answers_in_progress" in (await http.get("/metrics")).text
