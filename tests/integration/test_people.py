"""People on a real server: who answers a conversation, whatever comes first, and what goes when it is taken back."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from ai.conversations import MongoConversations
from ai.decisions import Decision, MongoDecisions
from ai.history import Conversation, Line
from ai.incoming import Incoming
from ai.messages import MongoMessages
from ai.ownership import MongoOwnership
from ai.turn import left_waiting
from common.mongo import CONVERSATIONS, DECISIONS, MESSAGES, Database, Document, database, ensure_indexes, mongo_client
from common.settings import MongoSettings

pytestmark = pytest.mark.mongo

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
QUIET = timedelta(hours=12)
MINUTE = timedelta(minutes=1)
NUMBERS = count(1)


@pytest.fixture
async def db(mongo_url: str) -> AsyncIterator[Database]:
    client = mongo_client(MongoSettings(mongodb_url=SecretStr(mongo_url)), service="test")
    await ensure_indexes(database(client), owner="ai")
    yield database(client)
    await client.close()


class Shop:
    """The stores of the ai service, and one conversation of its own in them."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.contact = str(next(NUMBERS))
        self.id = f"1:{self.contact}"
        self.about = (self.id, "dar", "1", self.contact)
        self.messages = MongoMessages(db)
        self.conversations = MongoConversations(db, history_length=20)
        self.ownership = MongoOwnership(db, history_length=20)

    async def customer(
        self, mid: str = "m1", *, at: datetime = NOW, stored_at: datetime | None = None, text: str = "my secret"
    ) -> Conversation:
        said = Incoming(
            id=f"1:msg:{self.contact}.{mid}",
            account_id="1",
            contact_id=self.contact,
            conversation_id=self.id,
            channel="direct_message",
            at=at,
            text=text,
            shown=f"[image] {text}",
            received_at_ms=int(at.timestamp() * 1000),
            mid=mid,
            images=("https://cdn.example/private.jpg",),
        )
        stored_at = stored_at or at
        await self.messages.store(said, merchant_id="dar", now=stored_at)
        return await self.conversations.record(
            said, merchant_id="dar", language=None, stored_at=stored_at, closes=False, now=stored_at
        )

    async def person(self, at: datetime, mid: str = "p1", text: str = "I am here") -> None:
        line = Line(id=f"human:{mid}", role="human", text=text, at=at, mid=mid)
        await self.ownership.person_wrote(line, conversation=self.about, until=at + QUIET, now=NOW)

    async def taken_over(self, at: datetime) -> None:
        await self.ownership.take_over(conversation=self.about, at=at, until=at + QUIET, now=NOW)

    async def released(self, at: datetime) -> Conversation | None:
        return await self.ownership.release(self.id, at=at, now=NOW)

    async def resolved(self, at: datetime) -> Conversation | None:
        return await self.ownership.resolve(self.id, at=at, now=NOW)

    async def document(self) -> Document:
        document = await self.db[CONVERSATIONS].find_one({"_id": self.id})
        assert document is not None
        return document


@pytest.fixture
def shop(db: Database) -> Shop:
    return Shop(db)


class TestWhoAnswers:
    async def test_what_was_written_after_a_release_in_a_backlog_still_waits_for_jawab(self, shop: Shop) -> None:
        late = NOW + 60 * MINUTE
        await shop.taken_over(NOW)
        await shop.customer("m1", at=NOW + MINUTE, stored_at=late)
        await shop.customer("m2", at=NOW + 3 * MINUTE, stored_at=late, text="and now?")
        conversation = await shop.released(NOW + 2 * MINUTE)
        assert conversation is not None
        assert [one.id for one in conversation.unanswered] == [f"1:msg:{shop.contact}.m2"]
        said = left_waiting(conversation)
        assert said is not None
        assert (said.text, said.contact_id) == ("and now?", shop.contact)

    async def test_a_release_that_is_told_again_leaves_a_later_person_alone(self, shop: Shop) -> None:
        await shop.taken_over(NOW)
        await shop.released(NOW + MINUTE)
        await shop.person(NOW + 2 * MINUTE)
        conversation = await shop.released(NOW + MINUTE)
        assert conversation is not None
        assert conversation.human_until == NOW + 2 * MINUTE + QUIET

    async def test_a_late_release_ends_the_takeover_before_it_and_not_the_persons_pause_after_it(
        self, shop: Shop
    ) -> None:
        await shop.taken_over(NOW)
        await shop.person(NOW + 2 * MINUTE)
        conversation = await shop.released(NOW + MINUTE)
        assert conversation is not None
        assert conversation.human_until == NOW + 2 * MINUTE + QUIET

    async def test_a_takeover_that_is_told_after_its_release_silences_nobody(self, shop: Shop) -> None:
        await shop.customer()
        await shop.released(NOW + MINUTE)
        await shop.taken_over(NOW)
        assert "human_until" not in await shop.document()

    async def test_what_a_person_wrote_before_a_release_is_history_and_no_pause(self, shop: Shop) -> None:
        await shop.taken_over(NOW)
        await shop.released(NOW + 2 * MINUTE)
        for _ in range(2):
            await shop.person(NOW + MINUTE)
        document = await shop.document()
        assert "human_until" not in document
        assert [line["text"] for line in document["recent"]] == ["I am here"]

    async def test_what_came_in_after_a_matter_was_closed_stays(self, shop: Shop) -> None:
        await shop.customer("m1")
        await shop.customer("m2", at=NOW + 2 * MINUTE, text="something new")
        for _ in range(2):
            conversation = await shop.resolved(NOW + MINUTE)
            assert conversation is not None
            assert [line.words for line in conversation.recent] == ["something new"]
            assert left_waiting(conversation) is not None

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        kinds=st.lists(st.sampled_from(["person", "taken_over", "released", "resolved"]), min_size=1, max_size=5),
        data=st.data(),
    )
    async def test_the_order_in_which_it_is_told_does_not_matter(
        self, db: Database, kinds: list[str], data: st.DataObject
    ) -> None:
        """Each event happened a minute after the one before; they are told in any order, and some again."""
        shop = Shop(db)
        await shop.customer(at=NOW - MINUTE)
        happened = [(kind, NOW + number * MINUTE) for number, kind in enumerate(kinds)]
        told = data.draw(st.permutations(happened), label="told")
        again = data.draw(st.lists(st.sampled_from(happened), max_size=3), label="again")
        for kind, at in [*told, *again]:
            if kind == "person":
                await shop.person(at, mid=f"p{at}")
            else:
                await getattr(shop, kind)(at)
        given_back = [at for kind, at in happened if kind in {"released", "resolved"}]
        acted = [at for kind, at in happened if kind in {"person", "taken_over"}]
        since = [at + QUIET for at in acted if not given_back or at > max(given_back)]
        assert (await shop.document()).get("human_until") == max(since, default=None)


class TestTakenBack:
    async def test_nothing_of_a_message_stays_anywhere(self, shop: Shop) -> None:
        await shop.customer()
        id_ = f"1:msg:{shop.contact}.m1"
        await shop.messages.heard(id_, "a secret said aloud")
        await shop.messages.erase(id_, about={})
        await shop.conversations.erase(shop.id, id_)
        kept = [await shop.db[name].find().to_list() for name in (MESSAGES, CONVERSATIONS, DECISIONS)]
        mine = [one for some in kept for one in some if shop.contact in str(one["_id"])]
        assert mine
        assert "secret" not in str(mine)
        assert "private" not in str(mine)
        assert (await shop.document())["unanswered"] == []

    async def test_what_was_learnt_from_it_is_forgotten(self, shop: Shop) -> None:
        await shop.customer(text="my number is 0770")
        id_ = f"1:msg:{shop.contact}.m1"
        decision = Decision(f"dec:{shop.contact}", shop.id, "dar", (id_,), NOW, "model", lead={"phone": "0770"})
        decisions = MongoDecisions(shop.db)
        await decisions.store(decision)
        await shop.conversations.record_decision(decision, now=NOW)
        again = replace(decision, id=f"dec:{shop.contact}.2", covers=(f"1:msg:{shop.contact}.m2",))
        await decisions.store(again)
        learnt = await decisions.learnt_from(id_)
        assert learnt == ("phone",)
        await shop.conversations.forget_lead(shop.id, learnt)
        assert (await shop.document())["lead"] == {}
        await decisions.forget_lead(id_)
        assert await decisions.learnt_from(id_) == ()
        repeated = await shop.db[DECISIONS].find_one({"_id": again.id})
        assert repeated is not None
        assert repeated["lead"] == {}
        kept = await decisions.covering(id_)
        assert kept is not None
        assert dict(kept.lead) == {}

    @pytest.mark.parametrize("first", [True, False])
    async def test_a_persons_message_goes_also_when_that_is_told_first_and_still_silences_jawab(
        self, shop: Shop, first: bool
    ) -> None:
        steps = [
            lambda: shop.conversations.erase_sent("p1", conversation=shop.about, now=NOW),
            lambda: shop.person(NOW, text="my secret"),
        ]
        for step in steps if first else reversed(steps):
            await step()
        await shop.person(NOW, text="my secret")
        document = await shop.document()
        assert "secret" not in str(document)
        assert document["human_until"] == NOW + QUIET
        assert len(document["recent"]) == 1

    @pytest.mark.parametrize("first", [True, False])
    async def test_a_reply_goes_also_when_that_is_told_before_it_was_delivered(self, shop: Shop, first: bool) -> None:
        await shop.customer(text="hello")
        line = Line("rep_1", "assistant", "my secret", NOW)
        await shop.db[CONVERSATIONS].update_one({"_id": shop.id}, {"$push": {"recent": line.to_document()}})
        steps = [
            lambda: shop.conversations.erase_sent("out.1", conversation=shop.about, now=NOW),
            lambda: shop.conversations.delivered(shop.id, "rep_1", ["out.1"], now=NOW),
        ]
        for step in steps if first else reversed(steps):
            await step()
        await shop.conversations.delivered(shop.id, "rep_1", ["out.1"], now=NOW)
        document = await shop.document()
        assert "secret" not in str(document)
        assert (document["recent"][1]["state"], document["counters"]["delivered"]) == ("delivered", 1)

    async def test_a_conversation_that_begins_with_something_taken_back_grows_old_like_any_other(
        self, shop: Shop
    ) -> None:
        await shop.conversations.erase_sent("p1", conversation=shop.about, now=NOW)
        assert (await shop.document())["updated_at"] == NOW


class TestReworded:
    async def test_the_latest_wording_of_a_persons_message_stays_in_any_order(self, shop: Shop) -> None:
        await shop.person(NOW, text="first")
        await shop.conversations.reword_sent(shop.id, "p1", "third", number=2)
        await shop.conversations.reword_sent(shop.id, "p1", "second", number=1)
        assert (await shop.document())["recent"][0]["text"] == "third"
