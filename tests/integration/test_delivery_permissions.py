"""What changes what may be sent, kept on a real server: opt-ins used once, hidden comments, the account itself."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from common.clock import ManualClock
from common.mongo import database, ensure_indexes, mongo_client
from common.settings import MongoSettings
from delivery.contacts import MOST_HIDDEN, Contact
from delivery.mongo import MongoContacts
from delivery.rules.opt_ins import MOST_KEPT, OptInToken

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CONVERSATION = "1:2"
LATER = timedelta(days=1)

pytestmark = pytest.mark.mongo


@pytest.fixture
async def contacts(mongo_url):
    client = mongo_client(MongoSettings(mongodb_url=SecretStr(mongo_url)), service="test")
    db = database(client)
    await ensure_indexes(db, owner="delivery")
    yield MongoContacts(db, ManualClock(NOW))
    await client.close()


async def tokens(contacts):
    known = await contacts.find(CONVERSATION)
    return known.opt_ins if known is not None else ()


async def test_an_opt_in_is_kept_as_it_was_given_also_of_somebody_unknown(contacts):
    token = OptInToken("t1", NOW, NOW + timedelta(days=180))
    await contacts.opted_in(CONVERSATION, token)
    await contacts.opted_in(CONVERSATION, token)
    assert await tokens(contacts) == (token,)


async def test_an_opt_in_leaves_the_rest_of_the_contact_alone(contacts):
    await contacts.customer_acted(CONVERSATION, NOW)
    await contacts.remember_subscriber(CONVERSATION, 77)
    await contacts.opted_in(CONVERSATION, OptInToken("t1", NOW))
    known = await contacts.find(CONVERSATION)
    assert (known.last_customer_at, known.subscriber_id, len(known.opt_ins)) == (NOW, 77, 1)


async def test_of_many_replies_at_once_one_uses_a_token(contacts):
    await contacts.opted_in(CONVERSATION, OptInToken("t1", NOW))
    used = await asyncio.gather(*(contacts.use_opt_in(CONVERSATION, "t1", f"rep_{n}") for n in range(20)))
    assert used.count(True) == 1
    winner = f"rep_{used.index(True)}"
    assert await tokens(contacts) == (OptInToken("t1", NOW, used_by=winner),)
    assert await contacts.use_opt_in(CONVERSATION, "t1", winner)


async def test_a_token_that_is_not_there_is_nobodys(contacts):
    assert not await contacts.use_opt_in(CONVERSATION, "t1", "rep_1")
    await contacts.opted_in(CONVERSATION, OptInToken("t1", NOW))
    assert not await contacts.use_opt_in(CONVERSATION, "t2", "rep_1")


async def test_an_opt_in_is_given_back_by_the_reply_that_kept_it_alone(contacts):
    for token in ("t1", "t2"):
        await contacts.opted_in(CONVERSATION, OptInToken(token, NOW))
        assert await contacts.use_opt_in(CONVERSATION, token, f"rep_{token}")
    await contacts.give_back_opt_in(CONVERSATION, "rep_t2")
    await contacts.give_back_opt_in(CONVERSATION, "rep_other")
    await contacts.give_back_opt_in("1:nobody", "rep_t1")
    assert [one.used_by for one in await tokens(contacts)] == ["rep_t1", None]
    assert await contacts.find("1:nobody") is None


async def test_an_opt_in_that_is_told_again_stays_used_and_one_given_anew_is_free(contacts):
    await contacts.opted_in(CONVERSATION, OptInToken("t1", NOW))
    await contacts.use_opt_in(CONVERSATION, "t1", "rep_1")
    await contacts.opted_in(CONVERSATION, OptInToken("t1", NOW))
    assert [one.used_by for one in await tokens(contacts)] == ["rep_1"]
    await contacts.opted_in(CONVERSATION, OptInToken("t1", NOW + LATER))
    assert await tokens(contacts) == (OptInToken("t1", NOW + LATER),)


async def test_who_opts_out_has_no_token_left_and_late_copies_bring_none_back(contacts):
    await contacts.opted_in(CONVERSATION, OptInToken("t1", NOW))
    await contacts.opted_in(CONVERSATION, OptInToken("t2", NOW + 2 * LATER))
    await contacts.opted_out(CONVERSATION, NOW + LATER)
    await contacts.opted_in(CONVERSATION, OptInToken("t1", NOW))
    assert [one.token for one in await tokens(contacts)] == ["t2"]
    await contacts.opted_in(CONVERSATION, OptInToken("t1", NOW + 3 * LATER))
    assert [one.token for one in await tokens(contacts)] == ["t2", "t1"]


async def test_an_opt_out_that_comes_first_is_remembered(contacts):
    await contacts.opted_out(CONVERSATION, NOW + LATER)
    await contacts.opted_in(CONVERSATION, OptInToken("t1", NOW))
    assert await tokens(contacts) == ()


async def test_only_the_latest_tokens_are_kept(contacts):
    for n in range(MOST_KEPT + 3):
        await contacts.opted_in(CONVERSATION, OptInToken(f"t{n}", NOW + n * LATER))
    assert [one.token for one in await tokens(contacts)] == [f"t{n}" for n in range(3, MOST_KEPT + 3)]


async def test_hidden_comments_are_remembered_once_and_forgotten_when_shown(contacts):
    for _ in range(2):
        await contacts.comment_hidden(CONVERSATION, "c1", hidden=True)
    await contacts.comment_hidden(CONVERSATION, "c2", hidden=True)
    assert (await contacts.find(CONVERSATION)).hidden_comments == {"c1", "c2"}
    await contacts.comment_hidden(CONVERSATION, "c1", hidden=False)
    assert (await contacts.find(CONVERSATION)).hidden_comments == {"c2"}


async def test_showing_a_comment_of_somebody_unknown_makes_no_contact(contacts):
    await contacts.comment_hidden(CONVERSATION, "c1", hidden=False)
    assert await contacts.find(CONVERSATION) is None


async def test_only_the_latest_hidden_comments_are_kept(contacts):
    for n in range(MOST_HIDDEN + 2):
        await contacts.comment_hidden(CONVERSATION, f"c{n}", hidden=True)
    assert (await contacts.find(CONVERSATION)).hidden_comments == {f"c{n}" for n in range(2, MOST_HIDDEN + 2)}


async def test_the_account_itself_is_known_by_its_message_to_itself(contacts):
    await contacts.is_the_account_itself(CONVERSATION)
    assert await contacts.find(CONVERSATION) == Contact(CONVERSATION, is_self=True)
