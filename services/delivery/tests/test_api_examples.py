"""What docs/api-examples.md shows of delivery is what its routes answer."""

import json
import re
from datetime import timedelta
from pathlib import Path

import httpx2
from litestar import Litestar

from common.events.ids import conversation_id
from delivery.api.acceptance import Acceptance
from delivery.api.conversation_routes import conversation_routes
from delivery.api.conversations import Conversations
from delivery.api.routes import utility_message_routes
from delivery.api.tokens import SCOPES, issue_token
from delivery.api.utility_messages import UtilityMessagesService
from devkit.http_examples import differences, examples

SECRET = "a secret of the right length for HS256"
ACCOUNT, CONTACT = "17841400000000001", "107104926626948"
REPLY = re.compile(r"rep_[0-9a-f]{16}")
PREFIXES = ("/api/utility-messages/", "/api/conversations/")


def handlers(world):
    acceptance = Acceptance(ledger=world.ledger, publish=world.publish, clock=world.clock)
    conversations = Conversations(
        merchants=world.directory,
        contacts=world.contacts,
        acceptance=acceptance,
        publish=world.publish,
        clock=world.clock,
        margin=timedelta(seconds=60),
        human_pause=timedelta(hours=12),
        log_end=world.log_end,
    )
    messages = UtilityMessagesService(merchants=world.directory, acceptance=acceptance)
    known = {"jwt_secrets": [SECRET], "clock": world.clock}
    return [*utility_message_routes(messages, **known), *conversation_routes(conversations, **known)]


async def take_effect(world):
    events, world.published[:] = list(world.published), []
    for event in events:
        if event.type.startswith("com.jawab.conversation."):
            await world.observer.control(event)
        elif event.type in {"com.jawab.reply.generated.v1", "com.jawab.reply.requested.v1"}:
            await world.sender.deliver(event)


async def test_each_example_is_answered_as_it_is_shown(world, project_root: Path):
    page = (project_root / "docs" / "api-examples.md").read_text(encoding="utf-8")
    world.directory.merchants = [world.merchant(id="default")]
    await world.contacts.customer_acted(conversation_id(ACCOUNT, CONTACT), world.clock.now() - timedelta(minutes=12))
    app = Litestar(route_handlers=handlers(world), openapi_config=None)
    token = issue_token(SECRET, "default", now=world.clock.now(), subject="zaynab", scope=" ".join(SCOPES))
    known: dict[str, str] = {}
    shown = [one for one in examples(page) if one.path.startswith(PREFIXES)]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://delivery") as http:
        for one in shown:
            real = await http.request(
                one.method,
                REPLY.sub(lambda found: known.get(found[0], found[0]), one.path),
                content=None if one.body is None else json.dumps(one.body).encode(),
                headers={"authorization": f"Bearer {token}", **one.headers},
            )
            assert (one.path, real.status_code) == (one.path, one.status)
            assert (one.path, differences(one.answer, real.json())) == (one.path, [])
            if one.status == 400:
                assert real.json() == one.answer
            if "Location" in one.answer_headers:
                known[one.answer["replyId"]] = real.json()["replyId"]
                there = REPLY.sub(lambda found: known[found[0]], one.answer_headers["Location"])
                assert real.headers["location"] == there
            await take_effect(world)
            world.clock.advance(timedelta(seconds=1))
    routes = {(method, handler_path) for method, handler_path in _routes(app)}
    assert {(one.method, _template(one.path)) for one in shown} == routes


def _routes(app: Litestar):
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                yield method, re.sub(r"\{[^}]*\}", "*", route.path_format)


def _template(path: str) -> str:
    parts = path.split("/")
    parts[3:4] = ["*"]
    if path.startswith("/api/conversations/"):
        parts[4:5] = ["*"]
    return "/".join("*" if part.startswith("rep_") else part for part in parts)
