"""Whose an echo is: our own replies are never taken for a person's, and a person is noticed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Retryable, UnknownOutcome
from common.events.ids import contact_of_username
from common.events.replies import CommentReply, DirectMessage, Flow, Heart, PrivateReply, Reply, Typing
from delivery import ledger
from delivery.echoes import Foreign, Recorded, Repeats, recognise
from delivery.ledger import MOST_ROWS
from delivery.parts import keys_of, pieces_of

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

ACCOUNT, CONTACT = "17841400000000001", "1000000000000007"
CONVERSATION = f"{ACCOUNT}:{CONTACT}"


def owner(world):
    contact = world.contacts.known.get(CONVERSATION)
    return contact.owner if contact else "bot"


class TestOwnReplies:
    async def test_the_echo_of_a_delivered_reply_changes_nothing(self, world):
        await world.sender.deliver(world.reply(DirectMessage(text="Hello")))
        before = dict(world.ledger.rows)
        await world.echoes.read(world.echo("mid.1", "Hello"), world.merchant())
        assert world.ledger.rows == before
        assert (world.kinds(), owner(world)) == (["delivered"], "bot")

    async def test_an_echo_that_comes_before_the_sends_own_answer_is_ours(self, world):
        event = world.reply(DirectMessage(text="Hello"))
        original = world.platform.direct_message

        async def echo_first(token, account, contact, text):
            sent = await original(token, account, contact, text)
            await world.echoes.read(world.echo(sent.message_id, text), world.merchant())
            return sent

        world.platform.direct_message = echo_first
        await world.sender.deliver(event)
        assert (world.kinds(), owner(world)) == (["delivered"], "bot")
        assert world.row(event).message_ids == ("mid.1",)

    @pytest.mark.parametrize("times", [1, 3])
    async def test_a_manychat_reply_gets_its_id_from_the_echo_however_often_it_comes(self, world, times):
        world.with_manychat()
        event = world.reply(DirectMessage(text="Hello"))
        await world.sender.deliver(event)
        assert world.row(event).message_ids == ()
        for _ in range(times):
            await world.echoes.read(world.echo("mid.1", "Hello"), world.merchant())
        assert world.row(event).message_ids == ("mid.1",)
        assert (world.kinds(), owner(world)) == (["delivered"], "bot")

    async def test_an_echo_that_is_delivered_hours_later_is_ours_by_the_time_the_platform_gives_it(self, world):
        world.with_manychat()
        event = world.reply(DirectMessage(text="Hello"))
        await world.sender.deliver(event)
        sent_at = world.clock.now() + timedelta(seconds=2)
        world.clock.advance(timedelta(hours=20))
        await world.echoes.read(world.echo("mid.1", "Hello", at=sent_at), world.merchant())
        assert (world.row(event).message_ids, owner(world)) == (("mid.1",), "bot")

    async def test_two_equal_manychat_replies_get_their_ids_whichever_echo_comes_first(self, world):
        world.with_manychat()
        first, second = world.reply(DirectMessage(text="Hello")), world.reply(DirectMessage(text="Hello"))
        await world.sender.deliver(first)
        world.clock.advance(timedelta(seconds=4))
        await world.sender.deliver(second)
        for shown in reversed(world.platform.thread):
            await world.echoes.read(world.echo(shown.id, shown.text, at=shown.at), world.merchant())
        assert (world.row(first).message_ids, world.row(second).message_ids) == (("mid.1",), ("mid.2",))
        assert owner(world) == "bot"

    async def test_a_late_echo_is_ours_however_many_replies_went_out_since(self, world):
        world.with_manychat()
        texts = ["Hello", *(f"Answer {number}" for number in range(60)), *["Hello"] * (MOST_ROWS + 5)]
        for text in texts:
            await world.sender.deliver(world.reply(DirectMessage(text=text)))
            world.clock.advance(timedelta(milliseconds=300))
        for shown in world.platform.thread[:70]:
            await world.echoes.read(world.echo(shown.id, shown.text, at=shown.at), world.merchant())
        assert "replied" not in world.kinds()
        assert owner(world) == "bot"

    async def test_trimmed_and_composed_text_is_recognised(self, world):
        world.with_manychat()
        await world.sender.deliver(world.reply(DirectMessage(text=" Cafe\u0301  noir \n")))
        await world.echoes.read(world.echo("mid.1", "Caf\u00e9 noir"), world.merchant())
        assert owner(world) == "bot"

    async def test_the_echo_of_a_private_reply_is_ours(self, world):
        await world.sender.deliver(world.reply(PrivateReply(comment_id="c1", text="Hello")))
        await world.echoes.read(world.echo("mid.1", "Hello"), world.merchant())
        assert owner(world) == "bot"

    async def test_the_echo_of_a_reply_that_was_handed_to_a_person_is_still_ours(self, world):
        world.platform.script = [("arrives", UnknownOutcome("reset"))]
        world.platform.readable = False
        event = world.reply(DirectMessage(text="Hello"))
        at = world.clock.now()
        await world.deliver_until_done(event)
        await world.echoes.read(world.echo("mid.1", "Hello", at=at), world.merchant())
        assert (world.row(event).state, world.row(event).message_ids) == ("handed_to_human", ("mid.1",))
        assert owner(world) == "bot"

    async def test_an_echo_of_our_own_app_is_ours_whatever_it_says(self, world):
        await world.echoes.read(world.echo("mid.9", "Something else", app_id="4242"), world.merchant())
        assert (world.kinds(), owner(world)) == ([], "bot")

    async def test_the_same_text_a_moment_later_under_another_id_counts_as_ours(self, world):
        await world.sender.deliver(world.reply(DirectMessage(text="Hello")))
        await world.echoes.read(world.echo("mid.77", "Hello"), world.merchant())
        assert (world.kinds(), owner(world)) == (["delivered"], "bot")
        assert world.value("delivery_echoes_total", kind="repeats") == 1

    async def test_an_echo_waits_for_a_call_that_may_have_sent_it(self, world):
        """The platform may change a text; the call's answer will say the id."""
        event = world.reply(DirectMessage(text="Hello"))
        waited = []
        original = world.platform.direct_message

        async def echo_first(token, account, contact, text):
            sent = await original(token, account, contact, text)
            with pytest.raises(Retryable):
                await world.echoes.read(world.echo(sent.message_id, "HELLO!"), world.merchant())
            waited.append(True)
            return sent

        world.platform.direct_message = echo_first
        await world.sender.deliver(event)
        await world.echoes.read(world.echo("mid.1", "HELLO!"), world.merchant())
        assert waited
        assert (world.kinds(), owner(world)) == (["delivered"], "bot")

    async def test_an_echo_does_not_wait_for_ever_for_a_call_whose_process_died(self, world, crash):
        world.platform.script = [crash()]
        with pytest.raises(crash):
            await world.sender.deliver(world.reply(DirectMessage(text="Hello")))
        echo = world.echo("mid.9", "A person wrote this")
        with pytest.raises(Retryable):
            await world.echoes.read(echo, world.merchant())
        world.clock.advance(timedelta(seconds=world.patience.in_flight))
        await world.echoes.read(echo, world.merchant())
        assert owner(world) == "human"


class TestPeople:
    async def test_a_persons_message_is_published_and_silences_jawab(self, world):
        await world.echoes.read(world.echo("mid.9", "I will help you", at=world.clock.now()), world.merchant())
        (event,) = world.published
        assert event.type == "com.jawab.human.replied.v1"
        assert (event.data.mid, event.data.text, event.data.contact_id) == ("mid.9", "I will help you", CONTACT)
        assert event.id == f"out_{ACCOUNT}:msg:mid.9:human"
        reply = world.reply()
        await world.sender.deliver(reply)
        assert world.published[-1].data.reason == "human_owns"

    async def test_jawab_answers_again_after_the_pause(self, world):
        await world.echoes.read(world.echo("mid.9", "I will help you"), world.merchant())
        world.clock.advance(world.patience.human_pause)
        await world.sender.deliver(world.reply())
        assert world.kinds()[-1] == "delivered"

    async def test_a_person_who_sends_a_picture_is_a_person(self, world):
        await world.sender.deliver(world.reply(DirectMessage(text="Hello")))
        await world.echoes.read(world.echo("mid.9", None, attachments=[{"type": "image"}]), world.merchant())
        assert owner(world) == "human"

    async def test_a_person_is_noticed_among_many_replies(self, world):
        for number in range(MOST_ROWS + 5):
            await world.sender.deliver(world.reply(DirectMessage(text=f"Answer {number}")))
        await world.echoes.read(world.echo("mid.9999", "I will help you"), world.merchant())
        assert owner(world) == "human"

    def test_nobody_is_taken_for_a_person_where_not_all_replies_were_seen(self):
        reply = Reply(
            reply_id="r",
            merchant_id="s",
            account_id="1",
            contact_id="2",
            origin="rule",
            action=Typing(),
            decision_id="d",
        )
        rows = [ledger.opened(reply, ("k",), NOON)] * MOST_ROWS
        plain = {"mid": "m", "keys": ("other",), "at": NOON, "own_app": False}
        plain["is_under_way"] = lambda *_: False
        assert recognise(rows=rows, **plain) == Repeats()
        assert recognise(rows=rows[1:], **plain) == Foreign()

    async def test_a_public_answers_text_does_not_hide_a_person_in_the_thread(self, world):
        await world.sender.deliver(world.reply(CommentReply(comment_id="c1", text="Thank you")))
        await world.echoes.read(world.echo("mid.9", "Thank you"), world.merchant())
        assert owner(world) == "human"

    async def test_a_person_who_repeats_our_text_long_after_is_a_person(self, world):
        await world.sender.deliver(world.reply(DirectMessage(text="Hello")))
        world.clock.advance(timedelta(minutes=6))
        await world.echoes.read(world.echo("mid.9", "Hello"), world.merchant())
        assert owner(world) == "human"

    async def test_an_old_echo_of_a_person_is_told_but_silences_nobody(self, world):
        old = world.clock.now() - world.patience.human_pause
        await world.echoes.read(world.echo("mid.9", "Hi", at=old), world.merchant())
        assert (world.kinds(), owner(world)) == (["replied"], "bot")

    async def test_a_persons_echo_that_comes_again_after_a_release_does_not_take_the_conversation_back(self, world):
        echo = world.echo("mid.9", "Hi")
        await world.echoes.read(echo, world.merchant())
        world.clock.advance(timedelta(minutes=1))
        await world.contacts.set_owner(CONVERSATION, "bot", by="person", since=world.clock.now(), until=None)
        await world.echoes.read(echo, world.merchant())
        assert owner(world) == "bot"
        first, second = world.published
        assert first.id == second.id


class TestQuietTime:
    async def test_the_merchants_own_quiet_time_counts(self, world):
        shop = world.merchant(quiet_hours=0.5)
        await world.echoes.read(world.echo("mid.9", "I will help you"), shop)
        world.clock.advance(timedelta(minutes=29))
        await world.sender.deliver(world.reply())
        world.clock.advance(timedelta(minutes=1))
        await world.sender.deliver(world.reply())
        assert world.kinds() == ["replied", "suppressed", "delivered"]

    async def test_the_latest_message_of_a_person_counts(self, world):
        for _ in range(2):
            await world.echoes.read(world.echo(f"mid.{world.clock.now()}", "I will help you"), world.merchant())
            world.clock.advance(timedelta(hours=11))
        await world.sender.deliver(world.reply())
        assert world.published[-1].data.reason == "human_owns"


class TestOtherApps:
    TOOL, INBOX = "991", "1217981644879628"

    async def test_another_app_is_a_person_unless_the_merchant_says_otherwise(self, world):
        await world.echoes.read(world.echo("mid.9", "Hi", app_id=self.TOOL), world.merchant())
        assert (world.kinds(), owner(world)) == (["replied"], "human")

    @pytest.mark.parametrize("wish", [{"tool_apps": ("5", "991")}, {"other_apps": "ignore"}])
    async def test_a_tools_message_is_nobodys_answer(self, world, wish):
        await world.echoes.read(world.echo("mid.9", "Sale!", app_id=self.TOOL), world.merchant(**wish))
        assert (world.kinds(), owner(world)) == ([], "bot")
        assert world.value("delivery_echoes_total", kind="tool") == 1

    @pytest.mark.parametrize("app_id", [None, INBOX])
    async def test_who_types_in_the_app_or_an_inbox_is_a_person_though_other_apps_are_ignored(self, world, app_id):
        await world.echoes.read(world.echo("mid.9", "Hi", app_id=app_id), world.merchant(other_apps="ignore"))
        assert owner(world) == "human"

    async def test_an_inbox_that_the_merchant_names_as_a_tool_is_one(self, world):
        await world.echoes.read(world.echo("mid.9", "Hi", app_id=self.INBOX), world.merchant(tool_apps=(self.INBOX,)))
        assert owner(world) == "bot"

    async def test_our_own_reply_gets_its_id_though_it_comes_as_a_tools_message(self, world):
        shop = world.with_manychat(tool_apps=(self.TOOL,))
        event = world.reply(DirectMessage(text="Hello"))
        await world.sender.deliver(event)
        await world.echoes.read(world.echo("mid.1", "Hello", app_id=self.TOOL), shop)
        assert world.row(event).message_ids == ("mid.1",)


class TestWithoutText:
    """Hearts and flows that Jawab sent over ManyChat, which names no id."""

    def sent(self, world, kind):
        action = {"heart": Heart(), "flow": Flow(flow_ns="content1")}[kind]
        keys = keys_of(pieces_of(action))
        row = ledger.begin(
            ledger.opened(world.reply(action).data, keys, world.clock.now()), "manychat", NOON, at_platform_time=True
        )
        world.ledger.rows[row.reply_id] = ledger.arrived(row, 0, None, NOON)
        return row.reply_id

    async def test_a_heart_of_ours_gets_its_id_and_the_next_one_is_a_persons(self, world):
        reply = self.sent(world, "heart")
        heart = {"attachments": [{"type": "like_heart"}]}
        await world.echoes.read(world.echo("mid.1", None, **heart), world.merchant())
        assert (world.ledger.rows[reply].message_ids, owner(world)) == (("mid.1",), "bot")
        await world.echoes.read(world.echo("mid.2", None, **heart), world.merchant())
        assert owner(world) == "human"

    async def test_plain_words_are_not_taken_for_a_heart_of_ours(self, world):
        self.sent(world, "heart")
        await world.echoes.read(world.echo("mid.1", "I will help you"), world.merchant())
        assert owner(world) == "human"

    async def test_what_comes_right_after_a_flow_is_taken_for_the_flows_and_what_comes_later_for_a_persons(self, world):
        self.sent(world, "flow")
        for number in range(3):
            await world.echoes.read(world.echo(f"mid.{number}", f"Step {number}"), world.merchant())
        assert (world.kinds(), owner(world)) == ([], "bot")
        world.clock.advance(timedelta(minutes=6))
        await world.echoes.read(world.echo("mid.9", "I will help you"), world.merchant())
        assert owner(world) == "human"


@settings(max_examples=80, deadline=None)
@given(data=st.data())
async def test_no_order_of_sends_and_echoes_makes_jawab_take_its_own_reply_for_a_persons(make_world, data):
    world = make_world()
    if data.draw(st.booleans(), label="by ManyChat"):
        world.with_manychat()
    texts = data.draw(st.lists(st.sampled_from(["Hello", "Yes", "x " * 700]), min_size=1, max_size=4), label="texts")
    faults = [None, ("arrives", UnknownOutcome("reset")), UnknownOutcome("reset"), Retryable("429")]
    world.platform.script = data.draw(st.lists(st.sampled_from(faults), max_size=4), label="faults")
    told = set()
    for text in texts:
        event = world.reply(DirectMessage(text=text.strip()))
        for _ in range(100):
            try:
                await world.sender.deliver(event)
                break
            except Retryable as wait:
                world.clock.advance(timedelta(seconds=wait.after or 0.5))
            await some_echoes(world, data, told)
        await some_echoes(world, data, told)
    assert "replied" not in world.kinds()
    assert owner(world) == "bot"
    assert all(row.finished for row in world.ledger.rows.values())


async def some_echoes(world, data, told):
    """Let some of the echoes come now, some again, some never."""
    for shown in list(world.platform.thread):
        if data.draw(st.booleans(), label=f"echo of {shown.id} now"):
            await world.echoes.read(world.echo(shown.id, shown.text, at=shown.at), world.merchant())
            told.add(shown.id)


class TestPrivateRepliesToAnAuthorKnownByUsername:
    """Such a comment's conversation is named after the username; the echo comes in the thread, named after the id."""

    def private_reply(self, world):
        action = PrivateReply(comment_id="c1", text="The price is in your inbox")
        return world.reply(action, contact_id=contact_of_username(ACCOUNT, "someone"), origin="rule")

    async def test_an_echo_before_the_answer_of_the_call_is_no_agents(self, world):
        event, verdicts = self.private_reply(world), []
        original = world.platform._send

        async def send(*asked, **how):
            sent = await original(*asked, **how)
            verdicts.append(
                await world.echoes.read(world.echo(sent.message_id, event.data.action.text), world.merchant())
            )
            return sent

        world.platform._send = send
        await world.sender.deliver(event)
        assert not any(isinstance(one, Foreign) for one in verdicts)
        assert world.row(event).state == "delivered"
        assert CONVERSATION not in world.contacts.known
        assert world.kinds() == ["delivered"]

    async def test_an_echo_settles_one_of_unknown_outcome(self, world):
        world.platform.script = [("arrives", UnknownOutcome("ReadTimeout"))]
        event = self.private_reply(world)
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        await world.echoes.read(world.echo("mid.1", event.data.action.text), world.merchant())
        await world.sender.deliver(event)
        assert world.row(event).message_ids == ("mid.1",)
        assert world.kinds() == ["outcomeunknown", "delivered"]

    @pytest.mark.parametrize(("text", "hours"), [("I will look for you", 0), ("The price is in your inbox", 1)])
    async def test_what_it_cannot_have_sent_is_an_agents(self, world, text, hours):
        world.platform.script = [("arrives", UnknownOutcome("ReadTimeout"))]
        with pytest.raises(Retryable):
            await world.sender.deliver(self.private_reply(world))
        world.clock.advance(timedelta(hours=hours))
        assert isinstance(await world.echoes.read(world.echo("mid.9", text), world.merchant()), Foreign)

    async def test_one_whose_call_is_answered_while_its_echo_is_looked_for_is_recorded(self, world):
        world.platform.script = [("arrives", UnknownOutcome("ReadTimeout"))]
        event = self.private_reply(world)
        with pytest.raises(Retryable):
            await world.sender.deliver(event)

        def answered(step):
            if step == "ledger.private_replies_by_username":
                world.ledger.rows[event.data.reply_id] = ledger.arrived(world.row(event), 0, "mid.1", world.clock.now())

        world.ledger.before = answered
        verdict = await world.echoes.read(world.echo("mid.1", event.data.action.text), world.merchant())
        assert isinstance(verdict, Recorded)
