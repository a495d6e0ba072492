"""Proving to a real broker who we are: by a client certificate, and by an OAuth token."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from certificates import Authority
from pydantic import SecretStr, ValidationError

from common.kafka.broker import client_connection, kafka_broker
from common.kafka.oauth_token import MAX_SECONDS, USED_SHARE, ClientCredentials, OAuthToken
from common.service import misconfiguration
from common.settings import KafkaSettings
from devkit.kafka import ClientListener, EmbeddedKafka

CLIENT, SECRET = "jawab", "the client's secret"
PASSWORD = "opens the key"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def by_certificate(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker that lets nobody in without a certificate."""
    folder = tmp_path_factory.mktemp("mtls")
    certificate, key = authority.issue("broker")
    (folder / "keystore.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
    listener = ClientListener(
        "SSL",
        {
            "ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(folder / "keystore.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(authority.file),
        },
    )
    with EmbeddedKafka(folder / "kafka", clients=listener) as broker:
        yield broker


@pytest.fixture(scope="module")
def by_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker that takes unsigned tokens, as Kafka does in development."""
    module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
    listener = ClientListener(
        "SASL_PLAINTEXT",
        {
            "sasl.enabled.mechanisms": "OAUTHBEARER",
            "oauthbearer.sasl.jaas.config": f'{module} required unsecuredLoginStringClaim_sub="broker";',
        },
    )
    with EmbeddedKafka(tmp_path_factory.mktemp("oauth"), clients=listener) as broker:
        yield broker


class TokenServer:
    """An authorization server on a real socket; `answers` are given in order, then tokens that last an hour."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[tuple[int, str]] = []
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["TokenServer"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        self.asked.append(head + (await reader.readexactly(length)).decode())
        status, body = self.answers.pop(0) if self.answers else (200, issued())
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"connection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()


def issued(lasts: object = 3600) -> str:
    """Return an answer with an unsigned token."""

    def part(fields: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")

    now = time.time()
    claims: dict[str, object] = {"sub": CLIENT, "iat": now - 1, "exp": now + 3600}
    token = f"{part({'alg': 'none'})}.{part(claims)}."
    return json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": lasts})


async def produces_and_describes(settings: KafkaSettings) -> int:
    """Reach the broker as a service and as the operator's command do; returns how many brokers there are."""
    broker = kafka_broker(settings, client_id="test")
    await broker.start()
    await broker.stop()
    return await describes(settings)


async def describes(settings: KafkaSettings) -> int:
    """Return how many brokers there are. Raises KafkaError where we are not let in."""
    admin = AIOKafkaAdminClient(**client_connection(settings))
    try:
        await admin.start()
        return len((await admin.describe_cluster())["brokers"])
    finally:
        await admin.close()


def certified(broker: EmbeddedKafka, authority: Authority, name: str, *, password: str = "") -> KafkaSettings:
    """Return the settings of a client with a certificate of its own."""
    certificate, key = authority.issue(name, password=password or None)
    return KafkaSettings(
        bootstrap_servers=broker.bootstrap,
        security_protocol="SSL",
        ca_file=str(authority.file),
        cert_file=str(certificate),
        key_file=str(key),
        key_password=SecretStr(password),
    )


@pytest.mark.kafka
async def test_a_client_certificate_lets_us_in(by_certificate: EmbeddedKafka, authority: Authority):
    assert await produces_and_describes(certified(by_certificate, authority, "jawab")) == 1


@pytest.mark.kafka
async def test_an_encrypted_key_is_opened_with_its_password(by_certificate: EmbeddedKafka, authority: Authority):
    settings = certified(by_certificate, authority, "encrypted", password=PASSWORD)
    assert await produces_and_describes(settings) == 1


@pytest.mark.kafka
async def test_without_a_certificate_the_broker_lets_nobody_in(by_certificate: EmbeddedKafka, authority: Authority):
    settings = KafkaSettings(
        bootstrap_servers=by_certificate.bootstrap, security_protocol="SSL", ca_file=str(authority.file)
    )
    with pytest.raises(KafkaError):
        await describes(settings)


@pytest.mark.kafka
async def test_a_token_of_the_authorization_server_lets_us_in(by_token: EmbeddedKafka):
    async with TokenServer().running() as server:
        assert await produces_and_describes(oauth_settings(by_token.bootstrap, server.url)) == 1
    basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
    assert all(f"Basic {basic}" in one for one in server.asked)
    assert all("grant_type=client_credentials" in one and "scope=kafka" in one for one in server.asked)


@pytest.mark.kafka
async def test_an_authorization_server_that_refuses_is_a_failed_connection(by_token: EmbeddedKafka):
    async with TokenServer().running() as server:
        server.answers = [(401, '{"error": "invalid_client"}')] * 50
        with pytest.raises(KafkaError):
            await describes(oauth_settings(by_token.bootstrap, server.url))


def oauth_settings(bootstrap: str, url: str) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        oauth_token_url=url,
        oauth_client_id=CLIENT,
        oauth_client_secret=SecretStr(SECRET),
        oauth_scope="kafka",
        request_timeout=5.0,
    )


class Watch:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def token_from(server: TokenServer, watch: Watch | None = None) -> OAuthToken:
    return OAuthToken(ClientCredentials(server.url, CLIENT, SECRET, "", timeout=5.0), watch or Watch())


async def test_one_request_serves_all_connections_until_the_token_nears_its_end():
    watch = Watch()
    async with TokenServer().running() as server:
        source = token_from(server, watch)
        tokens = await asyncio.gather(*(source.token() for _ in range(20)))
        assert (len(set(tokens)), len(server.asked)) == (1, 1)
        watch.seconds = 3600 * USED_SHARE - 1
        await source.token()
        assert len(server.asked) == 1
        watch.seconds = 3600 * USED_SHARE
        await source.token()
        assert len(server.asked) == 2


@pytest.mark.parametrize("lasts", [float("inf"), 10**400, 10**9], ids=["for ever", "400 digits", "30 years"])
async def test_a_token_is_renewed_once_a_day_however_long_it_is_said_to_last(lasts: float):
    watch = Watch()
    async with TokenServer().running() as server:
        server.answers = [(200, issued(lasts))]
        source = token_from(server, watch)
        await source.token()
        watch.seconds = MAX_SECONDS
        await source.token()
        assert len(server.asked) == 2


@pytest.mark.parametrize("lasts", [None, "soon", -1, 0, True, float("nan")])
async def test_a_token_whose_end_is_not_told_is_used_for_some_minutes(lasts: object):
    watch = Watch()
    async with TokenServer().running() as server:
        server.answers = [(200, issued(lasts))]
        source = token_from(server, watch)
        await source.token()
        watch.seconds = 200.0
        await source.token()
        assert len(server.asked) == 1
        watch.seconds = 300.0
        await source.token()
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, "{}"), (500, "x"), (200, "<html>"), (200, "{}"), (200, "[]"), (200, '{"access_token": 5}')],
)
async def test_an_answer_without_a_token_is_a_connection_error_that_quotes_nothing(status: int, body: str):
    async with TokenServer().running() as server:
        server.answers = [(status, body)]
        source = token_from(server)
        with pytest.raises(KafkaConnectionError, match="KAFKA_OAUTH_TOKEN_URL") as refused:
            await source.token()
        assert SECRET not in str(refused.value)
        assert await source.token()


async def test_an_authorization_server_that_is_away_is_a_connection_error():
    source = OAuthToken(ClientCredentials("http://127.0.0.1:9/token", CLIENT, SECRET, "", timeout=5.0))
    with pytest.raises(KafkaConnectionError, match="gave no answer"):
        await source.token()


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"KAFKA_KEY_FILE": "k.pem"}, "KAFKA_CERT_FILE is needed with KAFKA_KEY_FILE"),
        ({"KAFKA_CERT_FILE": "c.pem"}, "of no use without KAFKA_SECURITY_PROTOCOL=SSL"),
        ({"KAFKA_CERT_FILE": "c.pem", "KAFKA_SECURITY_PROTOCOL": "SSL"}, "must be a readable certificate"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"},
            "KAFKA_OAUTH_TOKEN_URL, KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET are needed",
        ),
        ({"KAFKA_OAUTH_TOKEN_URL": "auth.example"}, "KAFKA_OAUTH_TOKEN_URL must begin with http"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(monkeypatch, variables: dict[str, str], told: str):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        KafkaSettings()
    line = misconfiguration(refused.value, KafkaSettings)
    assert told in line
    assert "\n" not in line


def test_a_wrong_key_password_is_told_without_asking_at_the_terminal(authority: Authority):
    certificate, key = authority.issue("locked", password=PASSWORD)
    for password in ("", "wrong"):
        with pytest.raises(ValidationError, match="KAFKA_KEY_PASSWORD"):
            KafkaSettings(
                security_protocol="SSL",
                cert_file=str(certificate),
                key_file=str(key),
                key_password=SecretStr(password),
            )
