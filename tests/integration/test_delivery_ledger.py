"""Delivery's ledger and contacts on a real server: compare-and-set, unique ids, one private reply per comment."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from cleanup.ledger_rows import stripped
from common.clock import ManualClock
from common.events.replies import CommentReply, DirectMessage, MentionReply, PrivateReply, Reply
from common.merchants import Merchant
from common.mongo import DELIVERIES, database, ensure_indexes, mongo_client
from common.settings import MongoSettings
from delivery import ledger
from delivery.ledger import CommentTaken
from delivery.metrics import DeliveryMetrics
from delivery.mongo import MongoContacts, MongoLedger
from delivery.reports import Reports
from delivery.row_writes import write_fact
from delivery.sweeper import Sweeper
from delivery.unknown_outcomes import CannotTell

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CONVERSATION = "1:2"

pytestmark = pytest.mark.mongo


@pytest.fixture
async def db(mongo_url):
    client = mongo_client(MongoSettings(mongodb_url=SecretStr(mongo_url)), service="test")
    db = database(client)
    await ensure_indexes(db, owner="delivery")
    yield db
    await client.close()


@pytest.fixture
def store(db):
    return MongoLedger(db)


@pytest.fixture
def clock():
    return ManualClock(NOW)


@pytest.fixture
def contacts(db, clock):
    return MongoContacts(db, clock)


def opened(number=1, action=None, now=NOW, contact="2"):
    reply = Reply(
        reply_id=f"rep_{number}",
        decision_id="dec_1",
        merchant_id="shop",
        account_id="1",
        contact_id=contact,
        origin="model",
        action=action or DirectMessage(text="Hello"),
        received_at_ms=17,
    )
    return ledger.opened(reply, ("a", "b"), now)


def every_state():
    begun = ledger.begin(opened(), "graph", NOW)
    first = ledger.begin(ledger.arrived(begun, 0, "mid.1", NOW), "graph", NOW)
    lost = ledger.lost_sight(first, "reset", NOW)
    return [
        opened(),
        begun,
        first,
        lost,
        ledger.arrived(first, 1, None, NOW),
        ledger.refused(first, "window_closed", "write first", NOW),
        ledger.withheld(opened(), "human_owns", "", NOW),
        ledger.handed_over(lost, "look", NOW),
        ledger.opened(
            Reply(
                reply_id="rep_1",
                merchant_id="shop",
                account_id="1",
                origin="rule",
                action=PrivateReply(comment_id="c", text="Hi"),
            ),
            ("a",),
            NOW,
        ),
    ]


@pytest.mark.parametrize("row", every_state(), ids=lambda row: row.state)
async def test_a_row_reads_back_as_it_was_written(store, row):
    assert await store.insert(row) is None
    assert await store.find("rep_1") == row


async def test_a_row_is_there_once(store):
    first = ledger.begin(opened(), "graph", NOW)
    assert await store.insert(first) is None
    assert await store.insert(opened()) == first


async def test_of_many_who_insert_one_wins(store):
    there = await asyncio.gather(*(store.insert(opened()) for _ in range(8)))
    assert sum(one is None for one in there) == 1


async def test_only_who_read_the_latest_row_may_write(store):
    row = opened()
    await store.insert(row)
    begun = ledger.begin(row, "graph", NOW)
    assert await store.put(begun, over=row)
    assert not await store.put(ledger.withheld(row, "human_owns", "", NOW), over=row)
    assert await store.find("rep_1") == begun


async def test_a_row_that_came_back_to_the_same_state_is_another_row(store):
    begun = ledger.begin(opened(), "graph", NOW)
    await store.insert(begun)
    lost = ledger.lost_sight(begun, "found begun", NOW)
    again = ledger.begin(lost, "graph", NOW)
    assert await store.put(lost, over=begun)
    assert await store.put(again, over=lost)
    assert again.state == begun.state
    assert not await store.put(ledger.refused(begun, "bad_request", "", NOW), over=begun)
    assert await store.find("rep_1") == again


async def test_of_many_who_begin_one_wins(store):
    row = opened()
    await store.insert(row)
    won = await asyncio.gather(*(store.put(ledger.begin(row, "graph", NOW), over=row) for _ in range(8)))
    assert won.count(True) == 1


async def test_a_fact_is_written_onto_what_another_owner_made_of_the_row(store):
    begun = ledger.begin(opened(), "graph", NOW)
    await store.insert(begun)
    assert await store.put(ledger.lost_sight(begun, "found begun", NOW), over=begun)
    row = await write_fact(store, begun, lambda latest: ledger.after_arrival(latest, 0, "mid.1", NOW))
    assert (row.state, row.message_ids) == ("claimed", ("mid.1",))
    assert await store.find("rep_1") == row


async def test_a_comment_is_answered_privately_once_whatever_decided_it(store):
    action = PrivateReply(comment_id="c1", text="Hi")
    first = ledger.begin(opened(1, action), "graph", NOW)
    assert await store.insert(first) is None
    assert await store.insert(opened(2, action)) == CommentTaken()
    assert await store.find("rep_2") is None
    assert await store.insert(opened(3, PrivateReply(comment_id="c2", text="Hi"))) is None
    assert await store.insert(opened(4)) is None
    assert await store.insert(opened(5)) is None


async def test_a_comment_is_answered_in_public_once_whichever_webhook_told_of_it(store):
    ways = [CommentReply(comment_id="c1", text="Hi"), MentionReply(media_id="m", comment_id="c1", text="Hi")] * 4
    there = await asyncio.gather(*(store.insert(opened(number, way)) for number, way in enumerate(ways)))
    assert there.count(None) == 1
    assert there.count(CommentTaken()) == len(ways) - 1
    assert await store.insert(opened(9, PrivateReply(comment_id="c1", text="Hi"))) is None
    for number in (10, 11):
        assert await store.insert(opened(number, MentionReply(media_id="m", text="Hi"))) is None


async def test_a_private_reply_that_is_withheld_from_the_start_leaves_its_comment_free(store):
    action = PrivateReply(comment_id="c1", text="Hi")
    assert await store.insert(ledger.withheld(opened(1, action), "human_owns", "", NOW)) is None
    assert await store.insert(ledger.withheld(opened(2, action), "human_owns", "", NOW)) is None
    assert await store.insert(opened(3, action)) is None


async def test_an_echo_finds_the_conversations_rows_of_its_time_and_the_row_with_its_id(store):
    old = ledger.arrived(ledger.begin(opened(1, now=NOW - timedelta(days=2)), "graph", NOW), 0, "mid.old", NOW)
    await store.insert(old)
    await store.insert(opened(2))
    await store.insert(opened(3, contact="somebody else"))
    await store.insert(opened(4, now=NOW + timedelta(minutes=6)))

    async def senders(account, mid, keys=("a",)):
        return {row.reply_id for row in await store.possible_senders(CONVERSATION, account, NOW, mid, keys)}

    assert await senders("1", "mid.new") == {"rep_2"}
    assert await senders("1", "mid.old") == {"rep_1", "rep_2"}
    assert await senders("9", "mid.old") == {"rep_2"}
    assert {row.reply_id for row in await store.around(CONVERSATION, NOW)} == {"rep_2"}


async def test_an_echo_finds_the_rows_with_its_text_or_with_a_call_however_many_others_there_are(store):
    for number in range(ledger.MOST_ROWS + 1):
        await store.insert(replace(opened(number), parts=(ledger.Part("other"),)))
    earlier = NOW - timedelta(minutes=1)
    await store.insert(opened("with_its_text", now=earlier))
    await store.insert(ledger.begin(replace(opened("calling", now=earlier), parts=(ledger.Part("c"),)), "graph", NOW))

    async def senders(*keys):
        return {row.reply_id for row in await store.possible_senders(CONVERSATION, "1", NOW, "mid.new", keys)}

    assert await senders("b") == {"rep_with_its_text", "rep_calling"}
    assert await senders() == {"rep_calling"}
    assert len(await senders("other")) == ledger.MOST_ROWS
    assert len(await store.around(CONVERSATION, NOW)) == ledger.MOST_ROWS


async def test_a_flow_may_have_sent_any_message(store):
    await store.insert(replace(opened("flow"), kind="flow", parts=(ledger.Part(""),)))
    assert [row.reply_id for row in await store.possible_senders(CONVERSATION, "1", NOW, "mid.new", ("a",))] == [
        "rep_flow"
    ]


async def test_a_part_is_read_as_it_was_planned_and_dated(store):
    row = opened("planned")
    row = replace(row, parts=(ledger.Part("a", start=0, end=7), ledger.Part("b", start=8, end=15)))
    row = ledger.begin(row, "graph", NOW, at_platform_time=True)
    await store.insert(row)
    assert await store.find("rep_planned") == row


async def test_an_own_comment_finds_the_public_answers_with_its_text_that_are_under_way(store):
    def public(number, **changes):
        row = opened(number, action=CommentReply(comment_id=f"c{number}", parent_id="top", text="Thanks"))
        return replace(row, **{"parts": (ledger.Part("a"),), "decision_id": None, **changes})

    calling = ledger.begin(public(1), "graph", NOW)
    lost = ledger.lost_sight(ledger.begin(public(2), "graph", NOW), "reset", NOW)
    for row in (calling, lost, public(3), replace(calling, reply_id="rep_other", parts=(ledger.Part("b"),))):
        await store.insert(replace(row, public_reply_to=None))
    found = await store.public_replies_under_way("1", "a")
    assert {row.reply_id for row in found} == {"rep_1", "rep_2"}
    assert {row.public_reply_under for row in found} == {"top"}
    assert await store.public_replies_under_way("9", "a") == []


async def test_an_echo_finds_the_private_replies_to_authors_known_by_username(store):
    def private(number, contact="un_1", **changes):
        row = opened(number, action=PrivateReply(comment_id=f"c{number}", text="Thanks"))
        changed = {"parts": (ledger.Part("a"),), "contact_id": contact, "conversation_id": f"1:{contact}", **changes}
        return ledger.begin(replace(row, **changed), "graph", NOW)

    lost = ledger.lost_sight(private(2), "reset", NOW)
    others = private(3, "7"), private(4, parts=(ledger.Part("b"),)), private(5, at=NOW - timedelta(days=3))
    for row in (private(1), lost, *others, ledger.arrived(private(6), 0, "m6", NOW)):
        await store.insert(row)
    found = await store.private_replies_by_username("1", NOW, "m6", ["a"])
    assert {row.reply_id for row in found} == {"rep_1", "rep_2", "rep_6"}
    assert await store.private_replies_by_username("9", NOW, "m6", ["a"]) == []


async def test_what_stands_below_a_comment_is_owned_by_the_answers_to_all_its_customers(store):
    def public(number, **changes):
        row = opened(number, action=CommentReply(comment_id=f"c{number}", parent_id="top", text="Thanks"))
        changed = {"parts": (ledger.Part("a"),), "public_reply_to": None, "conversation_id": f"1:{number}", **changes}
        return ledger.begin(replace(row, **changed), "graph", NOW)

    named = ledger.arrived(public(1, parts=(ledger.Part("b"),)), 0, "m1", NOW)
    given_up = ledger.handed_over(ledger.lost_sight(public(2), "reset", NOW), "nobody knows", NOW)
    elsewhere = public(4, public_reply_under="another")
    earlier = public(5, at=NOW - timedelta(days=3))
    sent = ledger.arrived(public(6), 0, "m6", NOW)
    for row in (named, given_up, public(3), elsewhere, earlier, sent):
        await store.insert(row)
    found = await store.public_replies_below("1", "top", NOW, "a", ["m1", "m9"])
    assert {row.reply_id for row in found} == {"rep_1", "rep_2", "rep_3"}
    assert await store.public_replies_below("9", "top", NOW, "a", ["m1"]) == []


class TestSeen:
    """What the customer has read."""

    async def sent(self, store, number, at, **changes):
        row = replace(opened(number, now=at), parts=(ledger.Part("a"),), **changes)
        row = ledger.arrived(ledger.begin(row, "graph", at), 0, f"mid.{number}", at)
        await store.insert(row)
        return row

    async def seen(self, store, *numbers):
        return [(await store.find(f"rep_{number}")).seen_at for number in numbers]

    async def test_all_that_was_sent_by_then_is_marked_with_the_earliest_moment_in_any_order(self, store):
        minute = timedelta(minutes=1)
        for number in range(3):
            await self.sent(store, number, NOW + number * minute)
        await self.sent(store, "elsewhere", NOW, conversation_id="1:9")
        await self.sent(store, "public", NOW, kind="comment_reply")
        await store.mark_seen(CONVERSATION, upto=NOW + minute, at=NOW + 9 * minute)
        await store.mark_seen(CONVERSATION, upto=NOW, at=NOW + 5 * minute)
        await store.mark_seen(CONVERSATION, upto=NOW + minute, at=NOW + 9 * minute)
        assert await self.seen(store, 0, 1, 2) == [NOW + 5 * minute, NOW + 9 * minute, None]
        assert await self.seen(store, "elsewhere", "public") == [None, None]
        assert (await store.find("rep_1")).fence == 3

    async def test_a_reply_of_which_only_the_first_part_was_read_is_not_seen(self, store):
        begun = ledger.begin(opened(), "graph", NOW)
        later = NOW + timedelta(seconds=2)
        second = ledger.begin(ledger.arrived(begun, 0, "mid.1", NOW), "graph", later)
        await store.insert(ledger.arrived(second, 1, "mid.2", later))
        await store.mark_seen(CONVERSATION, upto=NOW, at=later)
        assert await self.seen(store, 1) == [None]
        await store.mark_seen(CONVERSATION, upto=later, at=later)
        assert await self.seen(store, 1) == [later]

    async def test_who_had_the_row_in_hand_does_not_take_the_mark_away(self, store):
        row = await self.sent(store, 1, NOW)
        await store.mark_seen(CONVERSATION, upto=NOW, at=NOW)
        assert not await store.put(ledger.told(row), over=row)
        assert await self.seen(store, 1) == [NOW]


async def test_an_erased_row_is_finished_and_shuts_its_owner_out(db, store):
    begun = ledger.begin(opened(), "graph", NOW)
    await store.insert(begun)
    document = await db[DELIVERIES].find_one({"_id": "rep_1"})
    await db[DELIVERIES].update_one({"_id": "rep_1"}, stripped(document))
    row = await store.find("rep_1")
    assert row.erased
    assert row.finished
    assert not await store.put(ledger.arrived(begun, 0, "mid.1", NOW), over=begun)
    assert await store.insert(opened()) == row


async def test_the_latest_moment_of_a_customer_stays(contacts):
    assert await contacts.find(CONVERSATION) is None
    await contacts.customer_acted(CONVERSATION, NOW - timedelta(hours=1))
    await contacts.customer_acted(CONVERSATION, NOW - timedelta(hours=2))
    assert (await contacts.find(CONVERSATION)).last_customer_at == NOW - timedelta(hours=1)


async def test_a_moment_in_the_future_counts_as_now(contacts):
    await contacts.customer_acted(CONVERSATION, NOW + timedelta(days=9))
    assert (await contacts.find(CONVERSATION)).last_customer_at == NOW


async def test_the_latest_owner_stays_whatever_comes_again(contacts):
    until = NOW + timedelta(hours=12)
    await contacts.customer_acted(CONVERSATION, NOW)
    await contacts.set_owner(CONVERSATION, "human", by="person", since=NOW, until=until)
    contact = await contacts.find(CONVERSATION)
    assert (contact.owner, contact.owner_by, contact.owner_since, contact.owner_until) == (
        "human",
        "person",
        NOW,
        until,
    )
    await contacts.set_owner(CONVERSATION, "bot", by="person", since=NOW + timedelta(seconds=1), until=None)
    await contacts.set_owner(CONVERSATION, "human", by="person", since=NOW, until=until)
    contact = await contacts.find(CONVERSATION)
    assert (contact.owner, contact.owner_until, contact.last_customer_at) == ("bot", None, NOW)


async def test_a_contact_may_begin_with_an_owner_or_a_subscriber(contacts):
    await contacts.set_owner("1:a", "human", by="person", since=NOW, until=None)
    assert (await contacts.find("1:a")).owner == "human"
    await contacts.remember_subscriber("1:b", 9_007_199_254_740_993)
    assert (await contacts.find("1:b")).subscriber_id == 9_007_199_254_740_993
    await contacts.remember_subscriber("1:b", None)
    assert (await contacts.find("1:b")).subscriber_id is None


async def test_whom_manychat_named_is_kept_until_confirmed_and_what_is_known_stays(contacts):
    await contacts.met_subscriber("1:c", 77)
    assert ((await contacts.find("1:c")).subscriber_id, (await contacts.find("1:c")).subscriber_at) == (77, None)
    await contacts.remember_subscriber("1:c", 77, confirmed_at=NOW)
    await contacts.met_subscriber("1:c", 77)
    assert (await contacts.find("1:c")).subscriber_at == NOW
    await contacts.met_subscriber("1:c", 88)
    assert ((await contacts.find("1:c")).subscriber_id, (await contacts.find("1:c")).subscriber_at) == (88, None)
    await contacts.remember_subscriber("1:c", None)
    assert (await contacts.find("1:c")).subscriber_id is None


async def test_rows_differ_only_where_they_should(store):
    """The document keeps nothing that says what was written to the customer."""
    row = replace(opened(), detail="")
    await store.insert(row)
    assert "Hello" not in str(await store.find("rep_1"))


class Nobody:
    """People, a platform and a merchant directory that know nothing, and remember what they were told."""

    def __init__(self):
        self.published, self.told = [], []

    async def publish(self, events):
        self.published.extend(events)

    async def by_id(self, merchant_id):
        return Merchant(id=merchant_id, name="Shop", account_id="1")

    async def notify(self, merchant, notice):
        self.told.append(notice)

    async def look(self, row, index, place):
        return CannotTell()


def sweeper(store, contacts, clock, outside):
    metrics = DeliveryMetrics(CollectorRegistry())
    reports = Reports(publish=outside.publish, merchants=outside, operator=outside, metrics=metrics)
    return Sweeper(
        ledger=store,
        contacts=contacts,
        eyes=outside,
        reports=reports,
        clock=clock,
        metrics=metrics,
        abandoned_after=timedelta(hours=1),
    )


async def test_what_was_left_behind_is_found_oldest_first_and_what_is_finished_or_young_is_not(db, store):
    long_ago = NOW - timedelta(hours=2)
    later = long_ago + timedelta(minutes=1)
    begun = ledger.begin(opened(1, now=long_ago), "graph", long_ago)
    untold = ledger.ended_for_its_owner(ledger.given_up(opened(5, now=long_ago), "never_sent", "", NOW))
    rows = [
        begun,
        opened(2, now=long_ago - timedelta(hours=1)),
        opened(3, now=NOW),
        ledger.withheld(opened(4, now=long_ago), "human_owns", "", NOW),
        untold,
        ledger.lost_sight(ledger.begin(opened(6, now=later), "graph", later), "x", NOW),
        opened(7, now=long_ago - timedelta(hours=2)),
    ]
    for row in rows:
        await store.insert(row)
    document = await db[DELIVERIES].find_one({"_id": "rep_7"})
    await db[DELIVERIES].update_one({"_id": "rep_7"}, stripped(document))
    before, waiting_before = NOW - timedelta(hours=1), NOW - timedelta(hours=2, minutes=30)
    found = await store.left_behind(before, 10, waiting_before=waiting_before)
    assert [row.reply_id for row in found] == ["rep_5", "rep_2", "rep_1", "rep_6"]
    assert found[0] == untold
    two = await store.left_behind(before, 2, waiting_before=waiting_before)
    assert [row.reply_id for row in two] == ["rep_5", "rep_2"]


async def test_several_sweepers_end_each_abandoned_row_once_and_leave_no_trace_of_telling(db, store, contacts, clock):
    long_ago = NOW - timedelta(hours=27)
    for number in range(6):
        row = opened(number, now=long_ago)
        await store.insert(row if number % 2 else ledger.begin(row, "graph", long_ago))
    outside = Nobody()
    await asyncio.gather(*(sweeper(store, contacts, clock, outside).sweep() for _ in range(3)))
    rows = [await store.find(f"rep_{number}") for number in range(6)]
    assert [row.state for row in rows] == ["handed_to_human", "failed"] * 3
    assert {event.id for event in outside.published} == {f"out_rep_{number}:failed" for number in range(6)}
    assert await db[DELIVERIES].count_documents({"untold": {"$exists": True}}) == 0
    again = await sweeper(store, contacts, clock, outside).sweep()
    assert (again.read, again.ended) == (0, 0)


async def test_a_row_is_swept_or_sent_but_never_both(store, contacts, clock):
    row = opened(1, now=NOW - timedelta(hours=27))
    await store.insert(row)
    swept, begun = await asyncio.gather(
        sweeper(store, contacts, clock, Nobody()).sweep(), store.put(ledger.begin(row, "graph", NOW), over=row)
    )
    state = (await store.find("rep_1")).state
    assert (swept.ended, begun, state) in {(1, False, "failed"), (0, True, "attempting")}
