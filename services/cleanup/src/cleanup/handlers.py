"""What is done about each event of `privacy.requests.v1`."""

from cleanup.deauthorization import Disconnector
from cleanup.erasure import Eraser
from common.errors import Permanent
from common.events import AnyEvent
from common.events.privacy import DeauthorizationReceived, ErasureRequested
from common.kafka.subscription import Handler


def privacy_handler(eraser: Eraser, disconnector: Disconnector) -> Handler:
    """Return the handler of privacy requests."""

    async def on_privacy_request(event: AnyEvent) -> None:
        match event:
            case ErasureRequested():
                await eraser.erase(event)
            case DeauthorizationReceived():
                await disconnector.disconnect(event)
            case _:
                raise Permanent(f"{event.type} does not belong on privacy.requests.v1")

    return on_privacy_request
