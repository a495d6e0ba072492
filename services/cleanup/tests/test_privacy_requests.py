"""Which event leads to what."""

from datetime import UTC, datetime

import pytest
from pymongo.errors import AutoReconnect

from cleanup.handlers import privacy_handler
from common.errors import Paced, Permanent, Retryable
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


@pytest.mark.parametrize("away", [AutoReconnect("gone"), Retryable("Kafka is away"), Paced("later", after=1.0)])
async def test_an_erasure_waits_for_what_is_away_and_never_grows_too_old(away: Exception):
    class Away(Noted):
        async def erase(self, event: ErasureRequested) -> str:
            raise away

    handle = privacy_handler(Away(), Away())  # type: ignore[arg-type]
    with pytest.raises(Paced) as waits:
        await handle(request(ErasureRequested, "one"))
    assert waits.value.after


@pytest.mark.parametrize("final", [Permanent("names nobody"), ValueError("a bug")])
async def test_an_erasure_that_can_never_be_done_is_not_tried_for_ever(final: Exception):
    class Final(Noted):
        async def erase(self, event: ErasureRequested) -> str:
            raise final

    with pytest.raises(type(final)):
        await privacy_handler(Final(), Final())(request(ErasureRequested, "one"))  # type: ignore[arg-type]
