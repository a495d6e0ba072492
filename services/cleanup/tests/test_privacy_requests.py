"""Which event leads to what."""

from datetime import UTC, datetime

import pytest

from cleanup.handlers import privacy_handler
from common.errors import Permanent
from common.events.control import Control, ConversationReleased
from common.events.privacy import DeauthorizationReceived, ErasureRequested, PrivacyRequest

AT = datetime(2026, 3, 1, tzinfo=UTC)


class Noted:
    """An eraser and a disconnector that only take notes."""

    def __init__(self) -> None:
        self.erased: list[str] = []
        self.disconnected: list[str] = []

    async def erase(self, event: ErasureRequested) -> str:
        self.erased.append(event.data.code)
        return "erased"

    async def disconnect(self, event: DeauthorizationReceived) -> bool:
        self.disconnected.append(event.data.code)
        return True


def request(kind: type[ErasureRequested] | type[DeauthorizationReceived], code: str):
    data = PrivacyRequest(code=code, user_id="7001")
    return kind(id=code, source="/ingest/instagram", subject=code, time=AT, partitionkey=code, data=data)


async def test_a_person_is_erased_and_a_merchant_is_disconnected():
    noted = Noted()
    handle = privacy_handler(noted, noted)  # type: ignore[arg-type]
    await handle(request(ErasureRequested, "one"))
    await handle(request(DeauthorizationReceived, "two"))
    assert (noted.erased, noted.disconnected) == (["one"], ["two"])


async def test_an_event_of_another_topic_is_refused_for_good():
    handle = privacy_handler(Noted(), Noted())  # type: ignore[arg-type]
    control = Control(merchant_id="m", account_id="178", contact_id="7001", by="x")
    released = ConversationReleased(id="r", source="/x", subject="s", time=AT, partitionkey="k", data=control)
    with pytest.raises(Permanent, match="does not belong"):
        await handle(released)
