"""The client of MongoDB where MongoDB does not answer."""

import asyncio
import gc
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from common.mongo import mongo_client
from common.settings import MongoSettings


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue is full: connecting to it neither succeeds nor fails."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_a_client_closed_while_it_connects_leaves_no_socket_behind(full_port: int) -> None:
    """PyMongo alone does (PYTHON-5867): when this holds without the root conftest's mending, that can go."""
    settings = MongoSettings(mongodb_url=f"mongodb://127.0.0.1:{full_port}/jawab")
    async with mongo_client(settings, service="test") as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.admin.command("ping"), 0.2)
    gc.collect()
