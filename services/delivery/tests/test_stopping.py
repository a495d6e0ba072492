"""Accounts that are stopped: by which errors, for how long, who is told, and what resumes them."""

import asyncio
from datetime import timedelta

import pytest
from pymongo.errors import AutoReconnect

from common.accounts import Standing
from common.errors import Finding, Retryable
from common.events.replies import DirectMessage, HideComment, OperatorNotification
from common.merchants import MerchantNotReadable
from delivery.contact_errors import COUNTED_FOR
from delivery.platforms.sending import Refused
from delivery.stopping import HOLD, KEY_TRIED_AGAIN, SUSPENSION, TOKEN_AGE

ACCOUNT = "17841400000000001"
OTHER = "17841400000000002"


def refusal(action, reason="token_expired", api="graph", **more):
    return Refused(reason, "Connect the account again.", **more).found(Finding(api, "190", action))


async def stop(world, action="reconnect", reason="token_expired", *, began=None, account=ACCOUNT, contact="1"):
    await world.stops.heed(account, refusal(action, reason), began or world.clock.now(), contact=contact)


@pytest.mark.parametrize(
    ("action", "state", "lasts"),
    [
        ("reconnect", "needs_reconnection", None),
        ("suspend", "needs_reconnection", SUSPENSION),
        ("restrict", "restricted", None),
        ("hold", "restricted", HOLD),
    ],
)
async def test_an_action_stops_the_account_for_as_long_as_it_says(world, action, state, lasts):
    for contact in "123" if action == "suspend" else "1":
        await stop(world, action, contact=contact)
    standing = await world.stops.standing(ACCOUNT)
    assert (standing.state, standing.reason, standing.detail) == (state, "token_expired", "Connect the account again.")
    world.clock.advance((lasts or timedelta(days=300)) - timedelta(seconds=1))
    assert (await world.stops.standing(ACCOUNT)).state == state
    world.clock.advance(timedelta(seconds=1))
    assert (await world.stops.standing(ACCOUNT)).state == ("active" if lasts else state)


async def test_an_unknown_subcode_that_one_contact_meets_stops_nothing_however_often(world):
    for _ in range(50):
        await stop(world, "suspend", "permission_missing")
    await stop(world, "suspend", "permission_missing", contact="2")
    assert (await world.stops.standing(ACCOUNT)).state == "active"
    assert world.people.told == []


async def test_an_unknown_subcode_stops_the_account_once_a_third_contact_meets_it(world):
    for contact in "123":
        await stop(world, "suspend", "permission_missing", contact=contact)
    assert (await world.stops.standing(ACCOUNT)).state == "needs_reconnection"
    assert len(world.people.told) == 1


async def test_contacts_that_met_it_more_than_an_hour_ago_do_not_count(world):
    for contact in "123":
        await stop(world, "suspend", "permission_missing", contact=contact)
        world.clock.advance(COUNTED_FOR / 2)
    assert (await world.stops.standing(ACCOUNT)).state == "active"


async def test_contacts_of_other_accounts_and_other_reasons_do_not_count(world):
    await stop(world, "suspend", "permission_missing", contact="1")
    await stop(world, "suspend", "blocked_for_policy", contact="2")
    await stop(world, "suspend", "permission_missing", contact="3", account=OTHER)
    assert world.standings.known == {}


@pytest.mark.parametrize("action", ["refuse", "done", "other_app", "ignore", "elsewhere", "once_more"])
async def test_no_other_action_stops_anything(world, action):
    await stop(world, action)
    await world.stops.heed(ACCOUNT, Refused("bad_request"), world.clock.now())
    assert (await world.stops.standing(ACCOUNT)).state == "active"
    assert (world.people.told, world.standings.known) == ([], {})


async def test_people_are_told_once_per_stop_however_many_messages_met_it(world):
    await asyncio.gather(*(stop(world) for _ in range(50)))
    (notice,) = world.people.told
    assert (notice.reason, notice.text, notice.account_id) == (
        "token_expired",
        "Connect the account again.",
        ACCOUNT,
    )
    assert world.value("delivery_accounts_stopped_total", reason="token_expired") == 1
    assert world.value("delivery_stopped_accounts", reason="token_expired") == 1


async def test_people_are_told_the_command_as_it_is_to_be_typed(world):
    refused = Refused("token_expired", "Again: `jawab merchants connect`.").found(Finding("graph", "190", "reconnect"))
    await world.stops.heed(ACCOUNT, refused, world.clock.now())
    (notice,) = world.people.told
    assert notice.text == f"Again: `jawab merchants connect shop --account {ACCOUNT}`."


async def test_an_account_that_is_blocked_again_after_the_hold_is_told_again(world):
    for _ in range(2):
        await stop(world, "hold", "blocked_for_policy")
        world.clock.advance(HOLD)
    assert len(world.people.told) == 2


async def test_connecting_resumes_it_and_the_gauge_follows(world):
    await stop(world)
    world.clock.advance(timedelta(minutes=5))
    world.standings.connect(ACCOUNT, world.clock.now())
    await world.stops.refresh()
    assert (await world.stops.standing(ACCOUNT)).state == "active"
    assert world.value("delivery_stopped_accounts", reason="token_expired") == 0


@pytest.mark.parametrize("late", [timedelta(0), TOKEN_AGE - timedelta(seconds=1)])
async def test_what_an_old_token_is_told_does_not_stop_an_account_that_was_connected_since(world, late):
    began = world.clock.now() + late
    world.standings.connect(ACCOUNT, world.clock.now())
    await stop(world, began=began)
    assert (await world.stops.standing(ACCOUNT)).state == "active"
    assert world.people.told == []


async def test_a_new_token_that_is_no_good_stops_the_account_again(world):
    await stop(world)
    world.standings.connect(ACCOUNT, world.clock.now())
    world.clock.advance(TOKEN_AGE)
    await stop(world)
    assert (await world.stops.standing(ACCOUNT)).state == "needs_reconnection"
    assert len(world.people.told) == 2


async def test_one_accounts_stop_touches_no_other(world):
    await stop(world)
    assert (await world.stops.standing(OTHER)).state == "active"


@pytest.mark.parametrize("error", [AutoReconnect("away"), Retryable("written by others")])
async def test_what_cannot_be_written_is_found_out_again_by_the_next_message(world, error):
    world.standings.fails = [error]
    await stop(world)
    assert (await world.stops.standing(ACCOUNT)).state == "active"
    await stop(world)
    assert (await world.stops.standing(ACCOUNT)).state == "needs_reconnection"
    assert len(world.people.told) == 1


async def test_people_who_cannot_be_reached_stop_nothing_from_being_stopped(world):
    world.people.reachable = False
    await stop(world)
    assert (await world.stops.standing(ACCOUNT)).state == "needs_reconnection"


async def test_an_account_of_nobody_is_stopped_all_the_same(world):
    await stop(world, account=OTHER)
    assert (await world.stops.standing(OTHER)).state == "needs_reconnection"
    assert world.people.told == []


async def test_a_merchant_that_cannot_be_read_hides_no_stop(world):
    async def of_account(account_id):
        raise MerchantNotReadable("merchant shop: not valid at rules")

    world.directory.of_account = of_account
    await stop(world)
    assert world.value("delivery_stopped_accounts", reason="token_expired") == 1


async def test_an_account_whose_merchant_removed_the_app_calls_nobody(world):
    world.standings.known[ACCOUNT] = Standing(ACCOUNT, "disconnected", "deauthorized", since=world.clock.now())
    assert (await world.stops.standing(ACCOUNT)).state == "disconnected"
    assert world.value("delivery_stopped_accounts", reason="deauthorized") == 0


class TestRefusedKeys:
    async def refuse(self, world, key="page:key"):
        await world.stops.heed(ACCOUNT, refusal("refuse_key", "key_refused", "manychat"), world.clock.now(), key)

    async def test_a_refused_key_is_not_tried_for_an_hour_and_people_are_told_once(self, world):
        for _ in range(3):
            await self.refuse(world)
        assert world.stops.refuses_key(ACCOUNT, "page:key")
        assert [notice.reason for notice in world.people.told] == ["key_refused"]
        assert world.value("delivery_stopped_accounts", reason="key_refused") == 1
        world.clock.advance(KEY_TRIED_AGAIN)
        assert not world.stops.refuses_key(ACCOUNT, "page:key")
        assert world.value("delivery_stopped_accounts", reason="key_refused") == 0

    async def test_another_key_is_tried_at_once(self, world):
        await self.refuse(world)
        assert not world.stops.refuses_key(ACCOUNT, "page:new")
        assert not world.stops.refuses_key(OTHER, "page:key")

    async def test_the_gauge_forgets_a_key_of_which_nobody_asks_any_more(self, world):
        await self.refuse(world)
        world.clock.advance(KEY_TRIED_AGAIN)
        await world.stops.refresh()
        assert world.value("delivery_stopped_accounts", reason="key_refused") == 0


async def test_an_account_that_nobody_can_make_sense_of_ends_no_refreshing(world):
    """Who refreshes runs beside what consumes: what it raised would stop the service from sending."""
    await stop(world)
    asked = []

    async def of(account_id):
        asked.append(account_id)
        raise TypeError("can't compare offset-naive and offset-aware datetimes")

    world.standings.of = of
    refreshing = asyncio.create_task(world.stops.refresh_regularly(0.0))
    async with asyncio.timeout(5):
        while len(asked) < 3:
            assert not refreshing.done()
            await asyncio.sleep(0)
    refreshing.cancel()


async def test_what_only_alerts_is_told_once_in_a_while(world):
    for _ in range(3):
        await stop(world, "refuse_and_alert", "account_not_linked")
    assert [notice.reason for notice in world.people.told] == ["account_not_linked"]
    world.clock.advance(HOLD)
    await stop(world, "refuse_and_alert", "account_not_linked")
    assert len(world.people.told) == 2
    assert world.standings.known == {}


class TestReplies:
    """What becomes of the replies of an account that is stopped."""

    @pytest.mark.parametrize("state", ["needs_reconnection", "restricted", "disconnected"])
    @pytest.mark.parametrize("origin", ["model", "api", "human"])
    async def test_they_are_withheld_with_the_reason_before_any_call(self, world, state, origin):
        world.standings.known[ACCOUNT] = Standing(
            ACCOUNT, state, "token_expired", "Connect it again.", since=world.clock.now()
        )
        event = world.reply(origin=origin)
        await world.sender.deliver(event)
        assert world.platform.sends() == []
        (outcome,) = world.published
        assert outcome.type == "com.jawab.reply.suppressed.v1"
        assert (outcome.data.reason, outcome.data.detail) == (state, "Connect it again.")

    async def test_a_merchant_with_manychat_is_answered_by_it_while_the_token_is_no_good(self, world):
        world.with_manychat()
        await stop(world)
        await world.sender.deliver(world.reply())
        assert world.kinds() == ["delivered"]

    async def test_what_only_the_token_can_do_is_withheld_for_a_merchant_with_manychat_too(self, world):
        world.with_manychat()
        await stop(world)
        await world.sender.deliver(world.reply(HideComment(comment_id="c1")))
        assert world.published[0].data.reason == "needs_reconnection"

    async def test_a_restriction_holds_manychat_back_too(self, world):
        """ManyChat sends by the same account."""
        world.with_manychat()
        await stop(world, "hold", "blocked_for_policy")
        await world.sender.deliver(world.reply())
        assert (world.platform.sends(), world.published[0].data.reason) == ([], "restricted")

    async def test_a_merchant_with_only_a_refused_key_is_told_so(self, world):
        world.with_manychat(access_token=None)
        await world.stops.heed(ACCOUNT, refusal("refuse_key", "key_refused"), world.clock.now(), "page:key")
        await world.sender.deliver(world.reply())
        assert (world.platform.asked, world.published[0].data.reason) == ([], "key_refused")

    async def test_people_are_told_whatever_is_stopped(self, world):
        await stop(world)
        await world.sender.deliver(world.reply(OperatorNotification(reason="escalated", text="Please look")))
        assert [notice.reason for notice in world.people.told] == ["token_expired", "escalated"]

    async def test_the_message_that_met_it_fails_and_the_next_is_not_sent(self, world):
        world.platform.script = [refusal("reconnect")]
        first, second = world.reply(), world.reply()
        await world.sender.deliver(first)
        await world.sender.deliver(second)
        assert world.kinds() == ["failed", "suppressed"]
        assert len(world.platform.sends()) == 1

    async def test_another_merchants_replies_go_on(self, world):
        world.directory.merchants.append(world.merchant(id="other", account_id=OTHER))
        await stop(world)
        await world.sender.deliver(world.reply(merchant_id="other", account_id=OTHER, in_reply_to=f"{OTHER}:msg:in.1"))
        assert world.kinds() == ["delivered"]

    async def test_after_the_hold_replies_are_sent_again(self, world):
        await stop(world, "hold", "blocked_for_policy")
        world.clock.advance(HOLD)
        await world.sender.deliver(world.reply(DirectMessage(text="Hello again")))
        assert world.kinds() == ["delivered"]

    async def test_what_asks_for_one_more_try_gets_one(self, world):
        world.platform.script = [refusal("once_more", "bad_media")] * 5
        event = world.reply()
        assert await world.deliver_until_done(event) == 2
        assert len(world.platform.sends()) == 2
        assert world.published[0].data.reason == "bad_media"

    async def test_a_send_that_waited_for_its_turn_with_an_old_token_does_not_stop_what_was_connected(self, make_world):
        """The token is as old as the plan it stands in, however late the call begins."""
        world = make_world(places=1)
        await world.pacing._places.take("graph", ACCOUNT)
        waiting = asyncio.create_task(world.sender.deliver(world.reply()))
        for _ in range(50):
            await asyncio.sleep(0)
        world.clock.advance(timedelta(seconds=5))
        world.standings.connect(ACCOUNT, world.clock.now())
        world.clock.advance(timedelta(seconds=30))
        world.platform.script = [refusal("reconnect")]
        world.pacing._places.leave("graph")
        await waiting
        assert world.kinds() == ["failed"]
        assert (await world.stops.standing(ACCOUNT)).state == "active"


class TestWithoutAWay:
    """Replies that find no way out because of the account, not because of what they say or to whom."""

    async def test_what_manychat_cannot_take_from_a_stopped_account_waits_for_the_account(self, world):
        world.with_manychat(routes=("manychat", "graph"))
        world.platform.subscribers.clear()
        stopped = Standing(ACCOUNT, "needs_reconnection", "token_expired", "connect it again", since=world.clock.now())
        await world.standings.note_news(stopped)
        await world.sender.deliver(world.reply())
        (event,) = world.published
        assert (world.kinds(), event.data.reason) == (["suppressed"], "needs_reconnection")
        assert event.data.account_stopped
        assert "access token" not in event.data.detail

    async def test_the_reply_that_stops_the_account_waits_for_it_as_well(self, world):
        world.platform.script = [Refused("token_expired").found(Finding("graph", "190/463", "reconnect"))]
        await world.sender.deliver(world.reply())
        assert (world.kinds(), world.published[0].data.account_stopped) == (["failed"], True)

    @pytest.mark.parametrize("changes", [{"access_token": None}, {"access_token": "sealed elsewhere"}])
    async def test_so_does_what_no_key_can_send(self, world, changes):
        world.directory.merchants = [world.merchant(**changes)]
        await world.sender.deliver(world.reply())
        assert world.published[0].data.account_stopped

    @pytest.mark.parametrize("reason", ["window_closed", "person_unavailable", "bad_request", "no_such_recipient"])
    async def test_what_is_refused_for_itself_waits_for_nothing(self, world, reason):
        world.platform.script = [Refused(reason)]
        await world.sender.deliver(world.reply())
        assert not world.published[0].data.account_stopped
