"""The world finds anybody, forgets the oldest, and learns from webhooks without ever failing on one."""

from hypothesis import given
from hypothesis import strategies as st

from devkit.ids import Ids
from devkit.one_of_each import one_of_each
from devkit.sandbox.bounded import Bounded
from devkit.sandbox.graph_fields import parse_fields
from devkit.sandbox.observation import observe
from devkit.sandbox.rates import Rates
from devkit.sandbox.world import Account, World, contact_of, subscriber_of
from devkit.simulator import Simulator

NOW = 1_760_000_000.0


def make_world():
    return World(account=Account("17841405309211844", "dar.zaytoon"), ids=Ids("t"), now=lambda: NOW)


def make_simulator():
    return Simulator(seed=3, now=lambda: NOW)


@given(st.integers(1, 10**17))
def test_a_subscribers_number_leads_back_to_the_person_and_is_another_number(igsid):
    number = subscriber_of(str(igsid))
    assert contact_of(number) == str(igsid)
    assert number != igsid


def test_a_person_whose_id_is_no_number_is_found_by_their_number_once_known():
    world = make_world()
    world.person("17841405309211844", "customer-1")
    assert world.person_by_subscriber(subscriber_of("customer-1")).id == "customer-1"


@given(st.integers(1, 10), st.lists(st.integers(0, 20)))
def test_a_bounded_dictionary_keeps_the_newest(limit, keys):
    kept = Bounded(limit)
    for key in keys:
        kept[key] = key
    assert list(kept) == list(dict.fromkeys(keys))[-limit:] or len(kept) == limit
    assert len(kept) <= limit


def test_a_message_opens_the_window_and_appears_in_the_conversation():
    world, simulator = make_world(), make_simulator()
    contact = simulator.contact()
    assert observe(world, simulator.text(contact, "شكد السعر؟").body()) == 1
    assert world.person(simulator.account, contact).last_message == NOW
    ((line,),) = [c["lines"] for c in world.told(contact=contact)]
    assert (line["direction"], line["text"]) == ("in", "شكد السعر؟")


def test_reads_reactions_and_echoes_do_not_open_the_window():
    world, simulator = make_world(), make_simulator()
    contact = simulator.contact()
    for update in (
        simulator.read(contact, "m1"),
        simulator.reaction(contact, "m1"),
        simulator.echo(contact, "from the app"),
    ):
        observe(world, update.body())
    assert world.person(simulator.account, contact).last_message is None


def test_an_echo_of_our_own_send_is_not_shown_twice():
    world, simulator = make_world(), make_simulator()
    person = world.person(simulator.account, simulator.contact())
    sent = world.deliver(person, route="graph", kind="message", text="أهلاً")
    observe(world, simulator.echo(person.id, "أهلاً", mid=sent.id).body())
    ((line,),) = [c["lines"] for c in world.told(contact=person.id)]
    assert line["route"] == "graph"


def test_a_comment_is_known_with_its_author_and_place_in_every_shape():
    world, simulator = make_world(), make_simulator()
    contact = simulator.contact()
    plain = simulator.comment(contact, "السعر؟", product="REELS")
    other = simulator.comment(contact, "Super", id_key="comment_id")
    flat = simulator.comment(contact, "love").flat()
    for update in (plain, other, flat):
        observe(world, update.body())
    assert [world.comments[u.id].contact for u in (plain, other, flat)] == [contact] * 3
    assert world.comments[plain.id].product == "REELS"
    assert not world.person(simulator.account, contact).window_is_open(NOW)


def test_the_guides_lists_teach_every_item():
    world, simulator = make_world(), make_simulator()
    assert observe(world, simulator.plural_messages(("111111111111111", "a"), ("222222222222222", "b")).body()) == 2
    assert observe(world, simulator.plural_comments(("111111111111111", "a")).body()) == 1


def test_every_kind_of_webhook_can_be_observed():
    world, simulator = make_world(), make_simulator()
    for update in one_of_each(simulator, simulator.contact()):
        observe(world, update.body())


_KEYS = [
    *("entry", "messaging", "changes", "standby", "message", "sender", "recipient", "id", "value", "field"),
    *("from", "text", "comments", "messages", "mid", "timestamp", "attachments", "postback", "media"),
]
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(_json)
def test_no_body_whatever_makes_observing_fail(body):
    assert observe(make_world(), body) >= 0


def test_fields_nest():
    assert parse_fields("id,messages.limit(5){id,from{username},message},updated_time") == {
        "id": {},
        "messages": {"id": {}, "from": {"username": {}}, "message": {}},
        "updated_time": {},
    }
    assert parse_fields("") == {}


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_no_second_sees_more_calls_than_twice_the_limit_when_rates_are_enforced(gaps):
    """A bucket may be emptied at once and refilled within the second, never more."""
    rates, now, allowed = Rates(enforce=True), 0.0, []
    for gap in gaps:
        now += gap
        if rates.allows("send", "a", limit=10, seconds=1.0, now=now):
            allowed.append(now)
    for start in allowed:
        assert sum(start <= at < start + 1 for at in allowed) <= 20


def test_rates_not_enforced_allow_everything():
    rates = Rates(enforce=False)
    assert all(rates.allows("send", "a", limit=1, seconds=1.0, now=0.0) for _ in range(100))
