"""What is done about each event of `privacy.requests.v1`."""

from collections.abc import Awaitable

from pymongo.errors import PyMongoError

from cleanup.deauthorization import Disconnector
from cleanup.erasure import Eraser
from common.errors import Paced, Permanent, Retryable
from common.events import AnyEvent
from common.events.privacy import DeauthorizationReceived, ErasureRequested
from common.kafka.hold import OwnershipLost
from common.kafka.subscription import Handler

AGAIN_SECONDS = 10.0


def privacy_handler(eraser: Eraser, disconnector: Disconnector) -> Handler:
    """Return the handler of privacy requests."""

    async def on_privacy_request(event: AnyEvent) -> None:
        match event:
            case ErasureRequested():
                await _until_done(eraser.erase(event))
            case DeauthorizationReceived():
                await disconnector.disconnect(event)
            case _:
                raise Permanent(f"{event.type} does not belong on privacy.requests.v1")

    return on_privacy_request


async def _until_done(erasure: Awaitable[object]) -> None:
    """Wait for an erasure. What is away only delays it: no request to be forgotten grows too old to be worked off."""
    try:
        await erasure
    except (Paced, OwnershipLost):
        raise
    except Retryable as error:
        raise Paced(error.reason, after=error.after if error.after is not None else AGAIN_SECONDS) from error
    except PyMongoError as error:
        raise Paced(f"MongoDB is away ({type(error).__name__})", after=AGAIN_SECONDS) from error
