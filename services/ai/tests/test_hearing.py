"""Voice messages become text: once paid for, bounded, and never at the price of the message."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ai.completion import ModelFailed
from ai.incoming import Incoming
from ai.media.download import Fetched, NotFetched
from ai.media.hearing import MOST_RECORDINGS, Ears
from ai.media.transcription import AudioUsage, Transcribed
from ai.messages import Stored
from common.clock import ManualClock
from common.errors import Retryable
from common.kafka.hold import OwnershipLost, hand
from common.merchants import Merchant

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = Merchant(id="dar", name="Dar", account_id="1")
MP4 = b"\x00\x00\x00\x18ftypM4A "
USAGE = AudioUsage(seconds=2.0)


class World:
    """The servers, the database and the books of one test."""

    def __init__(self, *, fetched=None, heard=None):
        self.fetched = fetched or Fetched(MP4, "audio/mp4")
        self.heard_answer = heard or Transcribed("bikam?", USAGE)
        self.fetches, self.transcriptions, self.kept, self.spent, self.noted = [], [], {}, [], []
        self.store_fails = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.inside = self.most = 0
        self.clock = ManualClock(NOW)

    async def fetch(self, url, *, kinds):
        self.fetches.append(url)
        found = self.fetched.pop(0) if isinstance(self.fetched, list) else self.fetched
        if isinstance(found, Exception):
            raise found
        return found

    async def transcribe(self, recording, ending, *, account=""):
        self.transcriptions.append((recording, ending))
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.gate.wait()
        self.inside -= 1
        found = self.heard_answer
        if isinstance(found, list):
            found = found.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def heard(self, message_id, transcript):
        if self.store_fails:
            raise ConnectionError
        self.kept[message_id] = transcript

    def listened(self, merchant_id, at, usage):
        self.spent.append((merchant_id, usage))

    def ears(self, **more):
        return Ears(
            fetching=self,
            transcribing=self,
            transcripts=self,
            spending=self,
            observer=Noting(self),
            clock=self.clock,
            **{"concurrency": 2, "patience": 60.0, **more},
        )


class Noting:
    def __init__(self, world):
        self.world = world

    def heard(self, result, seconds, usage):
        assert seconds >= 0
        self.world.noted.append(result)


def voice(*urls, id_="e1", text="", account="1", **more):
    return Incoming(
        id=id_,
        account_id=account,
        contact_id="5",
        conversation_id="1:5",
        channel="direct_message",
        at=NOW,
        text=text,
        shown=f"[voice message] {text}".strip(),
        prefix="[voice message]",
        recordings=urls or ("https://a/1",),
        **more,
    )


def stored(transcript=None):
    return Stored(fresh=transcript is None, stored_at=NOW, text="", transcript=transcript)


async def test_what_was_said_is_fetched_transcribed_kept_and_counted():
    world = World()
    said = await world.ears().hear(SHOP, voice(), stored())
    assert (said.text, said.shown) == ("bikam?", "[voice message] bikam?")
    assert (world.fetches, world.transcriptions) == (["https://a/1"], [(MP4, "mp4")])
    assert (world.kept, world.spent, world.noted) == ({"e1": "bikam?"}, [("dar", USAGE)], ["ok"])


async def test_a_message_without_a_recording_costs_nothing():
    world = World()
    said = replace(voice(), recordings=())
    assert await world.ears().hear(SHOP, said, stored()) is said
    assert (world.fetches, world.kept) == ([], {})


async def test_what_another_app_answers_is_not_listened_to():
    world = World()
    said = voice(standby=True)
    assert await world.ears().hear(SHOP, said, stored()) is said
    assert world.fetches == []


@pytest.mark.parametrize(
    ("transcript", "shown"),
    [("bikam?", "[voice message] bikam?"), ("", "[voice message that could not be heard]")],
)
async def test_what_was_heard_before_is_neither_fetched_nor_paid_again(transcript, shown):
    world = World()
    said = await world.ears().hear(SHOP, voice(), stored(transcript))
    assert said.shown == shown
    assert (world.fetches, world.transcriptions, world.spent) == ([], [], [])


async def test_while_the_database_is_away_a_recording_is_paid_for_once():
    world = World()
    ears = world.ears()
    world.store_fails = True
    for _ in range(3):
        with pytest.raises(ConnectionError):
            await ears.hear(SHOP, voice(), stored())
    world.store_fails = False
    assert (await ears.hear(SHOP, voice(), stored())).text == "bikam?"
    assert (len(world.transcriptions), len(world.spent)) == (1, 1)


@pytest.mark.parametrize(
    ("fetched", "heard", "reason"),
    [
        (NotFetched("refused"), None, "refused"),
        (NotFetched("not_allowed"), None, "not_allowed"),
        (NotFetched("not_public"), None, "not_public"),
        (NotFetched("too_big"), None, "too_big"),
        (NotFetched("timeout"), None, "timeout"),
        (Fetched(b"<html>", "audio/mp4"), None, "wrong_type"),
        (Fetched(b"\xff\xf1aac", "audio/aac"), None, "wrong_type"),
        (None, ModelFailed("bad_request"), "bad_request"),
        (None, ModelFailed("bad_key"), "bad_key"),
        (None, ModelFailed("timeout"), "timeout"),
        (None, Transcribed("", USAGE), "silence"),
    ],
)
async def test_a_recording_that_cannot_be_heard_does_not_lose_its_message(fetched, heard, reason):
    world = World(fetched=fetched, heard=heard)
    said = await world.ears().hear(SHOP, voice(text="see"), stored())
    assert (said.text, said.shown) == ("see", "[voice message that could not be heard] see")
    assert (world.kept, world.noted) == ({"e1": ""}, [reason])


@pytest.mark.parametrize(
    ("fetched", "heard", "after"),
    [
        (NotFetched("unavailable"), None, 2.0),
        (None, ModelFailed("unavailable"), 2.0),
        (None, ModelFailed("held_back", after=30.0), 30.0),
        (None, ModelFailed("rate_limited", after=0.1), 2.0),
        (None, ModelFailed("rate_limited"), 2.0),
    ],
)
async def test_what_passes_is_waited_for_in_its_lane_until_the_patience_is_over(fetched, heard, after):
    world = World(fetched=fetched, heard=heard)
    ears = world.ears()
    with pytest.raises(Retryable) as waiting:
        await ears.hear(SHOP, voice(), stored())
    assert (waiting.value.after, world.kept) == (after, {})
    world.clock.advance(timedelta(seconds=60 - after))
    assert (await ears.hear(SHOP, voice(), stored())).shown == "[voice message that could not be heard]"


async def test_recordings_in_memory_are_bounded_and_so_are_those_that_wait_for_a_place():
    world = World()
    ears = world.ears()
    world.gate.clear()
    hearing = [asyncio.create_task(ears.hear(SHOP, voice(id_=f"e{n}"), stored())) for n in range(4)]
    while world.inside < 2:
        await asyncio.sleep(0)
    with pytest.raises(Retryable, match="full"):
        await ears.hear(SHOP, voice(id_="e9"), stored())
    world.gate.set()
    await asyncio.gather(*hearing)
    assert world.most == 2
    assert (await ears.hear(SHOP, voice(id_="e9"), stored())).text == "bikam?"


async def test_one_accounts_recordings_leave_another_account_a_place_and_memory():
    world = World(fetched=Fetched(MP4 + b"x" * 1000, "audio/mp4"))
    ears = world.ears(concurrency=4, memory=3000, max_recording=1100)
    world.gate.clear()
    loud = [asyncio.create_task(ears.hear(SHOP, voice(id_=f"e{n}"), stored())) for n in range(6)]
    while world.inside < 2:
        await asyncio.sleep(0)
    other = asyncio.create_task(ears.hear(SHOP, voice(id_="quiet", account="2"), stored()))
    while world.inside < 3:
        await asyncio.sleep(0)
    world.gate.set()
    assert (await other).text == "bikam?"
    await asyncio.gather(*loud)


@pytest.mark.parametrize(
    "ends", [Fetched(MP4, "audio/mp4"), Fetched(b"<html>", "audio/mp4"), NotFetched("refused"), KeyError("a bug")]
)
async def test_recordings_take_no_more_memory_than_there_is_and_give_it_back_however_they_end(ends):
    world = World(fetched=ends)
    ears = world.ears(concurrency=8, memory=2000, max_recording=1000)
    most = 0
    fetch = world.fetch

    async def watched(url, *, kinds):
        nonlocal most
        most = max(most, ears._memory.taken)
        return await fetch(url, kinds=kinds)

    world.fetch = watched
    await asyncio.gather(
        *(ears.hear(SHOP, voice(id_=f"e{n}", account=str(n % 3)), stored()) for n in range(8)), return_exceptions=True
    )
    assert 0 < most < 2000 + 1000
    assert (ears._memory.taken, ears._slots.taken, ears._inside.taken) == (0, 0, 0)


async def test_of_several_recordings_what_was_understood_stays():
    world = World(heard=[Transcribed("one", USAGE), ModelFailed("unavailable")])
    said = await world.ears().hear(SHOP, voice("https://a/1", "https://a/2", "https://a/3"), stored())
    assert said.text == "one"
    assert world.spent == [("dar", USAGE)]
    many = World()
    await many.ears().hear(SHOP, voice(*(f"https://a/{n}" for n in range(9))), stored())
    assert len(many.fetches) == MOST_RECORDINGS


async def test_a_recording_that_can_never_be_heard_does_not_cost_the_others():
    world = World(fetched=[NotFetched("refused"), Fetched(b"<html>", "audio/mp4"), Fetched(MP4, "audio/mp4")])
    said = await world.ears().hear(SHOP, voice("https://a/1", "https://a/2", "https://a/3"), stored())
    assert (said.text, world.noted) == ("bikam?", ["ok"])
    none = World(fetched=[NotFetched("refused"), NotFetched("too_big")])
    await none.ears().hear(SHOP, voice("https://a/1", "https://a/2"), stored())
    assert none.noted == ["refused"]


async def test_nothing_is_begun_for_a_record_that_another_replica_has():
    class Lost:
        owned, partition = False, 0

    world = World()

    async def in_its_lane():
        hand(Lost())
        with pytest.raises(OwnershipLost):
            await world.ears().hear(SHOP, voice(), stored())

    await asyncio.create_task(in_its_lane())
    assert world.fetches == []
