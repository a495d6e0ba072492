"""A customer is erased while delivery works for them: what was under way is not sent, and its echo silences nobody."""

from typing import Any

import pytest

from common.erasures import ConversationErased, refuse_if_erased
from common.erasures import _current as current
from common.events import AnyEvent
from common.events.interactions import Edit, Message, MessageEdited, MessageReceived
from common.events.replies import DirectMessage
from common.kafka.dead_letters import CAUSE
from delivery.erased import dead_unless_erased, unless_erased
from delivery.handlers import delivery_handler
from delivery.platforms.reading import ReadMessage


class Erased:
    """Erasures as a test decides: everything is erased from the moment that `now` is set."""

    def __init__(self) -> None:
        self.now = False
        self.asked = 0
        self.at: int | None = None
        self.ignored: list[str] = []
        self.own: set[str] = set()

    async def begin(self, event: AnyEvent) -> None:
        current.set((self, event))  # type: ignore[arg-type]
        await self.refuse(event)

    async def refuse(self, event: AnyEvent) -> None:
        self.asked += 1
        if self.now or self.asked == self.at:
            self.now = True
            raise ConversationErased(event.id)

    async def note_ignored(self, event: AnyEvent) -> None:
        self.ignored.append(event.id)

    async def sent(self, account_id: str, contact_id: str, mid: str, keys: Any) -> bool:
        return bool(self.own & {mid, *keys})


@pytest.fixture
def erased() -> Erased:
    return Erased()


def handler(world, erased: Erased):
    return unless_erased(delivery_handler(world.sender, world.observer), erased, world.sender)


async def test_a_reply_to_an_erased_customer_is_suppressed_and_leaves_no_row(world, erased: Erased):
    erased.now = True
    event = world.reply(DirectMessage(text="About your size"))
    await handler(world, erased)(event)
    assert world.platform.sends() == []
    assert world.ledger.rows == {}
    (said,) = world.outcome(event, "suppressed")
    assert said.data.reason == "erased"
    assert erased.ignored == [event.id]


@pytest.mark.parametrize("asked", [1, 2, 3])
async def test_an_erasure_at_any_look_before_the_call_keeps_the_reply_unsent(world, erased: Erased, asked: int):
    erased.at = asked
    event = world.reply()
    await handler(world, erased)(event)
    assert world.platform.sends() == []
    assert len(world.outcome(event, "suppressed")) == 1
    assert not any(row.state == "attempting" for row in world.ledger.rows.values())


async def test_without_an_erasure_everything_is_as_ever(world, erased: Erased):
    event = world.reply()
    await handler(world, erased)(event)
    assert len(world.platform.sends()) == 1
    assert erased.ignored == []


async def test_what_was_received_before_opens_no_window_and_makes_no_contact(world, erased: Erased):
    erased.now = True
    data = Message(account_id=world.merchant().account_id, contact_id="1000000000000007", mid="m", text="hi")
    wrote = MessageReceived(id="x", source="/i", subject="s", time=world.clock.now(), partitionkey="k", data=data)
    await handler(world, erased)(wrote)
    assert world.contacts.known == {}


async def test_the_echo_of_a_reply_that_was_under_way_is_not_an_agents_answer(world, erased: Erased):
    echo = world.echo("mid.7", "About your size")
    erased.own = {"mid.7"}
    await handler(world, erased)(echo)
    assert world.contacts.known == {}
    assert world.published == []
    await handler(world, erased)(world.echo("mid.8", "An agent typed this"))
    assert [one.type for one in world.published] == ["com.jawab.human.replied.v1"]


async def test_a_message_that_is_looked_up_while_its_customer_is_erased_is_not_published(world, erased: Erased):
    announced = MessageEdited(
        id="e",
        source="/i",
        subject="s",
        time=world.clock.now(),
        partitionkey="k",
        data=Edit(account_id=world.merchant().account_id, contact_id="1000000000000007", mid="m1"),
    )
    world.platform.messages["m1"] = ReadMessage("my number is 0770", ())
    erased.at = 2  # the record was begun before, and the platform has answered meanwhile
    await handler(world, erased)(announced)
    assert world.published == []
    assert erased.ignored == ["e"]


class Dead:
    """A record that went to the dead letters."""

    def __init__(self, value: bytes, topic: str) -> None:
        self.value, self.topic, self.key, self.headers = value, topic, b"k", [(CAUSE, b"x")]


async def test_of_what_was_erased_no_dead_letter_calls_an_agent(world, erased: Erased):
    called: list[str] = []

    async def on_dead_letter(record: Any, cause: str) -> None:
        called.append(cause)

    dead = dead_unless_erased(on_dead_letter, erased)
    event = world.reply()
    await dead(Dead(event.to_json(), event.topic), "alive")  # type: ignore[arg-type]
    await dead(Dead(b"not an event", event.topic), "unreadable")  # type: ignore[arg-type]
    erased.now = True
    await dead(Dead(event.to_json(), event.topic), "erased")  # type: ignore[arg-type]
    assert called == ["alive", "unreadable"]


async def test_outside_a_record_nothing_is_refused():
    current.set(None)
    await refuse_if_erased()
