"""What Instagram tells its webhooks about our own doings: every message sent comes back, every public reply too."""

from collections.abc import Sequence

from devkit.sandbox.world import Comment, Message, World
from devkit.simulator import Simulator
from devkit.updates import Update


def of_message(
    world: World, message: Message, *, attachments: Sequence[str] = (), metadata: str | None = None
) -> tuple[Update, ...]:
    """Return the echo of a message (its mid is the message's id) and the customer's reading of it."""
    simulator = _simulator(world, message.account)
    text = None if attachments else message.text
    echo = simulator.echo(message.contact, text, mid=message.id, attachments=attachments, metadata=metadata)
    return echo, simulator.read(message.contact, message.id)


def of_comment(world: World, reply: Comment) -> tuple[Update, ...]:
    """Return the `comments` webhook by which the account's own public reply comes back."""
    simulator = _simulator(world, reply.account)
    update = simulator.comment(reply.account, reply.text, id_=reply.id, parent=reply.parent, media=reply.media or None)
    return (update,)


def _simulator(world: World, account: str) -> Simulator:
    return Simulator(seed=world.version, account=account, username=world.account(account).username, now=world.now)
