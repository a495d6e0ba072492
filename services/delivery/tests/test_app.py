"""The service as a whole: its settings, its wiring, its lanes."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx2
import pytest
from pydantic import ValidationError
from pymongo.errors import PyMongoError

from common.errors import Retryable
from common.events.control import CONTROL, ConversationTakenOver
from common.events.interactions import INTERACTIONS
from common.events.replies import REPLIES, REQUESTED
from common.merchants import MerchantNotReadable
from common.mongo import ensure_indexes_once_reachable
from delivery import app as wiring
from delivery.handlers import delivery_handler, lane_of
from delivery.platforms.calls import OutsideApi
from delivery.settings import Settings

ENVIRONMENT = {
    "JAWAB_ENV": "development",
    "ENCRYPTION_KEY": "k" * 32,
    "JWT_SECRET": "s" * 32,
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "MONGODB_URL": "mongodb://127.0.0.1:1/jawab",
    "MONGODB_TIMEOUT": "0.2",
}


@pytest.fixture
def environment(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


class TestSettings:
    def test_the_development_environment_is_enough(self, environment):
        settings = Settings()
        assert settings.port == 8002
        assert settings.manychat_url == "https://api.manychat.com"
        assert settings.graph_url == "https://graph.instagram.com/v25.0"

    def test_an_address_ends_without_a_slash(self, environment):
        environment.setenv("INSTAGRAM_GRAPH_URL", "http://127.0.0.1:9/graph/v25.0/")
        assert Settings().graph_url == "http://127.0.0.1:9/graph/v25.0"

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("MANYCHAT_BASE_URL", "api.manychat.com", "must begin with http"),
            ("INSTAGRAM_GRAPH_URL", "ftp://x", "must begin with http"),
            ("INSTAGRAM_GRAPH_URL", "https://", "must begin with http"),
            ("INSTAGRAM_GRAPH_URL", "https://graph.instagram.com", "must end with a version of the API"),
            ("INSTAGRAM_GRAPH_URL", "https://graph.facebook.com/25.0", "must end with a version of the API"),
            ("INSTAGRAM_GRAPH_URL", "https://graph.instagram.com/v25.0?access_token=x", "must be a plain address"),
            ("MANYCHAT_BASE_URL", "https://me:secret@api.manychat.com", "must be a plain address"),
            ("DELIVERY_UNKNOWN_DEADLINE", "10", "DELIVERY_UNKNOWN_DEADLINE must be at least 14"),
            ("DELIVERY_CALL_TIMEOUT", "0", "greater than 0"),
            ("DELIVERY_WINDOW_MARGIN", "86400", "less than 86400"),
            ("JWT_SECRET", "short", "at least 32"),
        ],
    )
    def test_a_wrong_setting_is_refused_with_the_fix(self, environment, name, value, said):
        environment.setenv(name, value)
        with pytest.raises(ValidationError, match=said):
            Settings()


class TestAppSecret:
    @pytest.mark.parametrize(
        ("host", "secret"),
        [("graph.instagram.com", "instagram"), ("graph.facebook.com", "meta"), ("127.0.0.1", "instagram")],
    )
    def test_calls_are_signed_with_the_secret_of_the_app_that_gives_tokens_for_the_host(
        self, environment, host, secret
    ):
        environment.setenv("INSTAGRAM_GRAPH_URL", f"https://{host}/v25.0")
        environment.setenv("IG_APP_SECRET", "instagram,older")
        environment.setenv("META_APP_SECRET", "meta")
        assert Settings().app_secret == secret

    def test_no_call_is_signed_with_another_apps_secret(self, environment):
        environment.setenv("META_APP_SECRET", "meta")
        assert Settings().app_secret is None


class TestLanes:
    def test_replies_and_observations_of_a_conversation_do_not_wait_for_each_other(self):
        def lane(topic):
            return lane_of(SimpleNamespace(topic=topic, key=b"1:2"))

        assert lane(REPLIES) == lane(REQUESTED) == ("effects", b"1:2")
        assert lane(INTERACTIONS) == lane(CONTROL) == ("observations", b"1:2")


class TestHandler:
    async def test_each_event_reaches_the_one_who_deals_with_it(self, world):
        handle = delivery_handler(world.sender, world.observer)
        await handle(world.reply())
        await handle(world.echo("mid.9", "I will help you"))
        await handle(
            ConversationTakenOver(
                id="c",
                source="/x",
                subject="1:2",
                time=world.clock.now(),
                partitionkey="1:2",
                data={"merchant_id": "shop", "account_id": "1", "contact_id": "2", "by": "person"},
            )
        )
        assert world.kinds() == ["delivered", "replied"]
        assert world.contacts.known["1:2"].owner == "human"

    async def test_what_delivery_does_not_read_is_left_alone(self, world):
        handle = delivery_handler(world.sender, world.observer)
        await world.sender.deliver(world.reply())
        (outcome,) = world.published
        await handle(outcome)
        assert world.published == [outcome]

    async def test_a_merchant_whose_document_is_wrong_holds_its_replies_until_it_is_mended(self, world):
        async def unreadable(_):
            raise MerchantNotReadable("merchant shop: not valid at rules.0")

        world.directory.by_id = unreadable
        with pytest.raises(Retryable, match=r"rules\.0"):
            await delivery_handler(world.sender, world.observer)(world.reply())


@asynccontextmanager
async def silent_server():
    """A MongoDB that takes connections and never answers. (PyMongo leaks a socket whose connecting it cancels.)"""
    writers = []

    async def connected(_, writer):
        writers.append(writer)

    running = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"mongodb://127.0.0.1:{running.sockets[0].getsockname()[1]}/jawab"
    finally:
        running.close()
        for writer in writers:
            writer.transport.abort()
        await running.wait_closed()


class TestApp:
    async def test_it_starts_without_kafka_or_mongodb_and_says_what_is_missing(self, environment):
        async with silent_server() as url:
            environment.setenv("MONGODB_URL", url)
            await self.says_what_is_missing(wiring.create_app(Settings()))

    def test_each_outside_api_has_connections_of_its_own(self, environment):
        """A merchant's address that hangs would else take those of the sends."""
        clients = {}

        class Api(OutsideApi):
            def __init__(self, name, client, *args, **more):
                super().__init__(name, client, *args, **more)
                clients[name] = client

        environment.setattr(wiring, "OutsideApi", Api)
        wiring.create_app(Settings())
        assert len({id(client) for client in clients.values()}) == len(clients) == 3

    async def says_what_is_missing(self, app):
        async with (
            app.lifespan(),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://delivery") as client,
        ):
            assert (await client.get("/livez")).status_code == 200
            health = await client.get("/health")
            assert health.status_code == 503
            assert set(health.json()["checks"]) == {"kafka", "mongodb", "clock"}
            metrics = (await client.get("/metrics")).text
            assert "delivery_replies_total" in metrics
            assert "delivery_webhook_to_delivered_seconds" in metrics

    async def test_indexes_are_made_however_late_mongodb_comes(self):
        class LateCollection:
            made = 0
            tries = 0

            async def create_indexes(self, indexes):
                LateCollection.tries += 1
                if LateCollection.tries < 3:
                    raise PyMongoError("away")
                LateCollection.made += len(indexes)

        class LateDatabase:
            def __getitem__(self, name):
                return LateCollection()

        await asyncio.wait_for(ensure_indexes_once_reachable(LateDatabase(), owner="delivery", pause=0), 5)
        assert LateCollection.made > 0
