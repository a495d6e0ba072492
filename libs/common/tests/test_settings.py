"""The environment: aliases, rotation, and readable refusals."""

import secrets

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from common.service import misconfiguration
from common.settings import (
    DEVELOPMENT_VALUES,
    JwtSettings,
    KafkaSettings,
    MerchantSettings,
    MetaAppSettings,
    MongoSettings,
    SealingSettings,
    ServiceSettings,
)


class IngestLike(ServiceSettings, KafkaSettings, MetaAppSettings):
    pass


def refusal(cls: type[BaseSettings]) -> str:
    with pytest.raises(ValidationError) as caught:
        cls()
    return misconfiguration(caught.value)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in ("META_APP_SECRET", "IG_APP_SECRET", "INSTAGRAM_WEBHOOK_SECRET", "IG_VERIFY_TOKEN", "JAWAB_ENV"):
        monkeypatch.delenv(name, raising=False)


def test_every_secret_that_is_set_counts_once(monkeypatch):
    monkeypatch.setenv("META_APP_SECRET", "new, old")
    monkeypatch.setenv("IG_APP_SECRET", "instagram")
    monkeypatch.setenv("INSTAGRAM_WEBHOOK_SECRET", "old")
    monkeypatch.setenv("INSTAGRAM_VERIFY_TOKEN", "verify")
    settings = MetaAppSettings()
    assert settings.app_secrets == ("new", "old", "instagram")
    assert settings.verify_token.get_secret_value() == "verify"


def test_no_secret_at_all_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("IG_VERIFY_TOKEN", "verify")
    monkeypatch.setenv("META_APP_SECRET", "")
    assert "META_APP_SECRET" in refusal(MetaAppSettings)


def test_where_people_are_told_must_be_an_address(monkeypatch):
    monkeypatch.setenv("OPERATOR_WEBHOOK_URL", "hooks.example/jawab?key=of-the-shop")
    told = refusal(MerchantSettings)
    assert "OPERATOR_WEBHOOK_URL must begin with http" in told
    assert "of-the-shop" not in told
    monkeypatch.setenv("OPERATOR_WEBHOOK_URL", "https://hooks.example/jawab?key=of-the-shop")
    assert MerchantSettings().operator_webhook == "https://hooks.example/jawab?key=of-the-shop"


def test_a_missing_variable_is_named(monkeypatch):
    monkeypatch.setenv("META_APP_SECRET", "secret")
    assert "IG_VERIFY_TOKEN is not set" in refusal(MetaAppSettings)


@pytest.mark.parametrize("place", ["META_APP_SECRET", "IG_APP_SECRET"])
def test_production_refuses_development_values(monkeypatch, place):
    monkeypatch.setenv("IG_VERIFY_TOKEN", "my own")
    monkeypatch.setenv("META_APP_SECRET", "my own")
    monkeypatch.setenv(place, "fine,mon_secret_webhook_instagram")
    assert IngestLike.model_validate({"environment": "development"}).development
    line = refusal(IngestLike)
    assert place in line
    assert "development value" in line
    assert "mon_secret" not in line


def test_production_refuses_development_values_that_the_service_does_not_even_read(monkeypatch):
    monkeypatch.setenv("JWT_SECRET", "jawab-development-jwt-secret-not-for-production")
    assert "JWT_SECRET still has its development value" in refusal(ServiceSettings)


def test_all_development_values_are_told_together(monkeypatch):
    monkeypatch.setenv("JWT_SECRET", "jawab-development-jwt-secret-not-for-production")
    monkeypatch.setenv("META_APP_SECRET", "mine,mon_secret_webhook_instagram")
    monkeypatch.setenv("IG_VERIFY_TOKEN", "mon_token_verification_instagram")
    line = refusal(IngestLike)
    assert line.startswith("IG_VERIFY_TOKEN, JWT_SECRET, META_APP_SECRET still have their development values")


def test_what_is_wrong_with_one_block_does_not_hide_what_is_wrong_with_another(monkeypatch):
    monkeypatch.setenv("JAWAB_ENV", "development")
    monkeypatch.setenv("PORT", "eighty")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("IG_VERIFY_TOKEN", "verify")
    with pytest.raises(ValidationError) as caught:
        IngestLike()
    told = misconfiguration(caught.value, IngestLike)
    for said in ("PORT must be a whole number", "KAFKA_USERNAME and KAFKA_PASSWORD are needed", "META_APP_SECRET"):
        assert told.count(said) == 1


def test_an_unset_jawab_env_means_production(monkeypatch):
    monkeypatch.setenv("IG_VERIFY_TOKEN", "a verify token of our own")
    monkeypatch.setenv("META_APP_SECRET", "an app secret of our own")
    assert IngestLike().environment == "production"


@pytest.mark.parametrize("guessable", ["x", "0123456789abcde", "abababababababababababab"])
@pytest.mark.parametrize("name", ["META_APP_SECRET", "IG_APP_SECRET", "INSTAGRAM_WEBHOOK_SECRET", "IG_VERIFY_TOKEN"])
def test_production_refuses_secrets_that_can_be_guessed(monkeypatch, name, guessable):
    monkeypatch.setenv("IG_VERIFY_TOKEN", "a verify token of our own")
    monkeypatch.setenv("META_APP_SECRET", "an app secret of our own")
    monkeypatch.setenv(name, guessable)
    told = refusal(IngestLike)
    assert "can be guessed: it must have at least 16 characters" in told
    monkeypatch.setenv("JAWAB_ENV", "development")
    assert IngestLike().environment == "development"


def test_one_of_several_secrets_that_can_be_guessed_is_refused(monkeypatch):
    monkeypatch.setenv("IG_VERIFY_TOKEN", "a verify token of our own")
    monkeypatch.setenv("META_APP_SECRET", "an app secret of our own,old")
    assert "META_APP_SECRET can be guessed" in refusal(IngestLike)


def test_a_secret_from_the_command_that_is_named_is_taken(monkeypatch):
    monkeypatch.setenv("IG_VERIFY_TOKEN", secrets.token_hex(16))
    monkeypatch.setenv("META_APP_SECRET", secrets.token_hex(16))
    assert IngestLike().environment == "production"


def test_several_jwt_secrets_are_kept_in_their_order(monkeypatch):
    first, second = secrets.token_hex(16), secrets.token_hex(16)
    monkeypatch.setenv("JWT_SECRET", f"{first}, {second}")
    assert [one.get_secret_value() for one in JwtSettings().jwt_secrets] == [first, second]


def test_every_development_secret_of_the_example_file_is_known(project_root):
    from devkit.environment import read_variables

    example = read_variables(project_root / ".env.example")
    secret = {
        value
        for name, value in example.items()
        if name.endswith(("_SECRET", "_KEY", "_TOKEN")) and not name.startswith("KAFKA")
    }
    assert secret == DEVELOPMENT_VALUES


@pytest.mark.parametrize("url", ["http://localhost/jawab", "mongodb://localhost", "mongodb://localhost/?tls=true"])
def test_a_mongodb_url_must_name_a_database(monkeypatch, url):
    monkeypatch.setenv("MONGODB_URL", url)
    assert "MONGODB_URL must" in refusal(MongoSettings)


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://me:top/secret@db:27017/jawab",
        "mongodb://me:top@secret@db/jawab",
        "mongodb+srv://me:top:secret@db/jawab",
        "mongodb://db:abc/jawab",
        "mongodb://db:99999/jawab",
        "mongodb://[::1/jawab",
        "mongodb://db/jawab?w=-1",
        "mongodb://db/jawab?tls=secret",
        "mongodb://db/jawab?retryWrite=true",
    ],
)
def test_a_mongodb_url_that_the_driver_refuses_is_refused_at_start_up_without_being_quoted(monkeypatch, url):
    monkeypatch.setenv("MONGODB_URL", url)
    told = refusal(MongoSettings)
    assert "MONGODB_URL" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    "url", ["mongodb+srv://me:a%2Fb@db.example.net/jawab?retryWrites=true", "mongodb://a,b:1/jawab"]
)
def test_a_mongodb_url_may_be_looked_up_in_the_dns_or_name_several_hosts(monkeypatch, url):
    monkeypatch.setenv("MONGODB_URL", url)
    assert MongoSettings().mongodb_url.get_secret_value() == url


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_that_holds_no_certificates_is_refused_at_start_up(monkeypatch, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    monkeypatch.setenv("KAFKA_CA_FILE", str(path))
    assert "KAFKA_CA_FILE must be a readable file of certificates" in refusal(KafkaSettings)


def test_keys_rotate(monkeypatch):
    monkeypatch.setenv("ENCRYPTION_KEY", f"{'a' * 32},{'b' * 32}")
    assert [key.get_secret_value()[0] for key in SealingSettings().encryption_keys] == ["a", "b"]


def test_a_key_of_the_wrong_length_is_refused_without_being_quoted(monkeypatch):
    monkeypatch.setenv("ENCRYPTION_KEY", "tooshort")
    line = refusal(SealingSettings)
    assert "ENCRYPTION_KEY must be exactly 32" in line
    assert "tooshort" not in line


def test_a_short_jwt_secret_is_refused(monkeypatch):
    monkeypatch.setenv("JWT_SECRET", "short")
    assert "JWT_SECRET must have at least 32" in refusal(JwtSettings)


def test_sasl_needs_a_name_and_a_password(monkeypatch):
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    assert "KAFKA_USERNAME" in refusal(KafkaSettings)


@pytest.mark.parametrize(
    "servers",
    [
        "kafka:abc", "kafka:", ":9092", "kafka:0", "kafka:99999", " , ", "PLAINTEXT://kafka:9092", "[::1",
        "[::1]x", "a:9092;b:9092", "kafka:9092/", "a:9092,b:x", "a b:9092",
    ],
)  # fmt: skip
def test_kafka_addresses_that_nothing_can_connect_to_are_refused_at_start_up(monkeypatch, servers):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    assert refusal(KafkaSettings).startswith("KAFKA_BOOTSTRAP_SERVERS must be host:port")


@pytest.mark.parametrize(
    ("servers", "taken"),
    [
        ("localhost", "localhost"),
        (" kafka-0.kafka.ns.svc:9092 , kafka_1:9093,", "kafka-0.kafka.ns.svc:9092,kafka_1:9093"),
        ("127.0.0.1:65535,[fe80::1]:9092,::1", "127.0.0.1:65535,[fe80::1]:9092,::1"),
    ],
)
def test_kafka_addresses_may_be_several_and_of_every_kind(monkeypatch, servers, taken):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    assert KafkaSettings().bootstrap_servers == taken


def test_a_wrong_port_is_named(monkeypatch):
    monkeypatch.setenv("PORT", "eighty")
    assert refusal(ServiceSettings).startswith("PORT must be a whole number")


@pytest.mark.parametrize("offset", ["-90", "120"])
def test_only_in_development_a_process_may_mistake_the_time(monkeypatch, offset):
    monkeypatch.setenv("JAWAB_CLOCK_OFFSET", offset)
    assert "JAWAB_CLOCK_OFFSET" in refusal(ServiceSettings)
    monkeypatch.setenv("JAWAB_ENV", "development")
    assert ServiceSettings().clock_offset == float(offset)


def test_a_clock_offset_of_more_than_an_hour_is_a_mistake(monkeypatch):
    monkeypatch.setenv("JAWAB_ENV", "development")
    monkeypatch.setenv("JAWAB_CLOCK_OFFSET", "90000")
    assert "JAWAB_CLOCK_OFFSET" in refusal(ServiceSettings)
