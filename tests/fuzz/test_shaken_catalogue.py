"""The catalogue's bodies with keys lost, types changed, items doubled and moved: never an error, one event an item."""

import copy
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from invariants import (
    NOW,
    catalogue_bodies,
    check,
    check_contact,
    contact_bodies,
    items_in,
    occurrence,
    unshared,
)

from ingest.notifications import normalise

BODIES = catalogue_bodies()


def places(value, path=()):
    """Every place inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


def texts(value):
    """Every text inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


SAID = sorted({said for body in BODIES for said in texts(body)})
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(SAID)
    | st.sampled_from([0, "0", "", " ", 10**30, -1, 1e300, "1" * 600, "a:b", "%3A", "true", "<TIME>", "9" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(SAID) | st.text(max_size=4), inner),
    max_leaves=4,
)


def at(body, path):
    """The container a place is in, or None when an earlier change took it away."""
    for key in path[:-1]:
        try:
            body = body[key]
        except (KeyError, IndexError, TypeError):
            return None
    last = path[-1]
    fits = (isinstance(body, dict) and last in body) or (
        isinstance(body, list) and isinstance(last, int) and last < len(body)
    )
    return body if fits else None


def recast(value):
    """The same value in a type the platform has been seen to use for it as well."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str() if value.isdigit() and len(value) < 300:
            return int(value)
        case dict() | None:
            return [value]
        case list() if value:
            return value[0]
        case _:
            return {"id": value}


def accident(draw, inside, last):
    """Let one thing happen to what stands at `inside[last]`."""
    match draw(st.sampled_from(["delete", "replace", "recast", "double", "move"])):
        case "delete":
            del inside[last]
        case "replace":
            inside[last] = draw(values)
        case "recast":
            inside[last] = recast(inside[last])
        case "double" if isinstance(inside, list):
            inside.insert(last, copy.deepcopy(inside[last]))
        case "double":
            inside[draw(st.sampled_from(SAID))] = copy.deepcopy(inside[last])
        case _ if isinstance(inside, list):
            inside[:] = draw(st.permutations(inside))
        case _:
            inside[last] = inside.pop(draw(st.sampled_from(sorted(inside))))


@st.composite
def shaken(draw):
    """A body of the catalogue, or two in one, after up to six accidents."""
    body = copy.deepcopy(draw(st.sampled_from(BODIES)))
    if draw(st.booleans()) and isinstance(body.get("entry"), list):
        body["entry"] += copy.deepcopy(draw(st.sampled_from(BODIES)).get("entry", []))
    for _ in range(draw(st.integers(1, 6))):
        path = draw(st.sampled_from(sorted(places(body), key=repr) or [("entry",)]))
        inside = at(body, path)
        if inside is not None:
            accident(draw, inside, path[-1])
    return body


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_the_catalogue_itself_holds_the_invariants(body):
    check(body)


def loss(inside, last):
    """Leave it out."""
    del inside[last]


def null(inside, last):
    """Put nothing there."""
    inside[last] = None


def other_type(inside, last):
    """Write it as another type."""
    inside[last] = recast(inside[last])


@pytest.mark.parametrize("happen", [loss, null, other_type])
def test_no_single_place_of_any_body_is_needed(happen):
    for body in BODIES:
        for path in places(body):
            hurt = copy.deepcopy(body)
            happen(at(hurt, path), path[-1])
            check(hurt)


def test_what_differs_in_one_word_is_another_occurrence_where_no_id_says_otherwise():
    for body in BODIES:
        for path in places(body):
            other = copy.deepcopy(body)
            inside = at(other, path)
            if isinstance(inside[path[-1]], str | int):
                inside[path[-1]] = f"{inside[path[-1]]}1"
                check({"entry": body.get("entry", [body]) + other.get("entry", [other])})


@settings(max_examples=400, deadline=None)
@given(shaken())
@example({"entry": [{"id": "1", "messaging": [{"sender": {"id": "1"}, "message": {"mid": "m", "text": "of itself"}}]}]})
def test_a_shaken_body_is_never_an_error_and_loses_no_item(body):
    check(json.loads(json.dumps(body)))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(contact_bodies()), st.data())
def test_a_shaken_external_request_is_refused_by_name_or_can_be_stored(body, data):
    body = copy.deepcopy(body)
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(sorted(places(body), key=repr) or [("id",)]))
        inside = at(body, path)
        if inside is not None:
            accident(data.draw, inside, path[-1])
    check_contact(json.loads(json.dumps(body)))


@settings(max_examples=150, deadline=None)
@given(st.lists(shaken(), min_size=2, max_size=5))
def test_no_id_is_shared_by_two_occurrences_of_one_account_in_any_order(bodies):
    events = [event for body in bodies for event in normalise(json.loads(json.dumps(body)), received_at=NOW)]
    unshared(events)
    unshared(events[::-1])


def test_all_bodies_of_the_catalogue_in_one_are_what_they_are_apart():
    entries = [entry for body in BODIES for entry in body.get("entry", [])]
    together = check({"object": "instagram", "entry": entries})
    apart = [event for entry in entries for event in normalise({"entry": [entry]}, received_at=NOW)]
    assert [event.id for event in together] == [event.id for event in apart]


def test_what_is_the_same_and_what_is_not_is_told_apart():
    """The checks themselves: they must see a shared id and a lost item."""
    [first], [other] = (normalise(BODIES[n], received_at=NOW) for n in (0, 1))
    assert occurrence(first) != occurrence(other)
    with pytest.raises(AssertionError, match="share an id"):
        unshared([first, other.model_copy(update={"id": first.id})])
    assert [items_in({}), items_in({"entry": [{}, 5]}), items_in({"entry": {"messaging": [1, 2]}})] == [0, 2, 2]
