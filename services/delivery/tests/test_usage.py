"""Usage headers: what they say, what follows, and that no header whatever does harm."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.platforms.usage import LONGEST, NOT_NAMED, SLOWEST, Pace, Usage, of_account, of_app, pace

ACCOUNT = "17841400000000001"


def shares(count=0, time=0, cpu=0, **more):
    return {"call_count": count, "total_time": time, "total_cputime": cpu, **more}


def business(**objects):
    return json.dumps({f"1784140000000000{number[1:]}": listed for number, listed in objects.items()})


def test_the_greatest_share_of_the_app_counts():
    assert of_app(json.dumps(shares(28, 91, 3))) == Usage(91)


def test_the_accounts_own_object_counts_where_it_is_named():
    header = business(a1=[shares(10)], a2=[shares(99)])
    assert of_account(header, ACCOUNT) == Usage(10)


def test_the_worst_of_all_counts_where_the_account_is_not_named():
    assert of_account(business(a3=[shares(10)], a4=[shares(20), shares(cpu=85)]), ACCOUNT) == Usage(85)


@pytest.mark.parametrize("kind", ["ads_management", "ads_insights", "custom_audience", "leadgen", 7, ["pages"]])
def test_what_other_use_cases_have_used_says_nothing_about_messages(kind):
    full = shares(100, estimated_time_to_regain_access=60, type=kind)
    assert of_account(business(a1=[full, shares(10, type="instagram")]), ACCOUNT) == Usage(10)
    assert of_account(business(a1=[full]), ACCOUNT) is None


@pytest.mark.parametrize("kind", ["instagram", "messenger", "pages", None])
def test_every_use_case_of_ours_counts(kind):
    assert of_account(business(a1=[shares(3), shares(95, type=kind)]), ACCOUNT) == Usage(95)


def test_the_time_until_access_is_regained_is_in_minutes():
    header = business(a1=[shares(100, estimated_time_to_regain_access=19), shares(3)])
    assert of_account(header, ACCOUNT) == Usage(100, 19 * 60)


def test_no_more_than_the_documented_number_of_objects_is_read():
    header = json.dumps({str(number): [shares(99 if number > 32 else 1)] for number in range(1, 60)})
    assert of_account(header, ACCOUNT) == Usage(1)


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "soon", "[]", "7", "null", "{", "[" * 5000),
        *('{"call_count": "much"}', '{"call_count": -3}', '{"call_count": NaN}', '{"call_count": true}'),
        '{"call_count": 1e999}',
    ],
)
def test_what_cannot_be_read_says_nothing(header):
    assert of_app(header) is None
    assert of_account(header, ACCOUNT) is None


def test_a_share_given_as_text_is_read():
    assert of_app('{"call_count": "81"}') == Usage(81)


@pytest.mark.parametrize("percent", [0, 35, 70])
def test_little_use_asks_for_nothing(percent):
    assert pace(Usage(percent)) == Pace()


def test_calls_are_slowed_before_80_percent_and_the_more_the_nearer_the_limit():
    gaps = [pace(Usage(percent)).gap for percent in range(70, 100)]
    assert pace(Usage(79)).gap > 0.5
    assert gaps == sorted(gaps)
    assert gaps[-1] < SLOWEST
    assert all(pace(Usage(percent)).stop == 0 for percent in range(100))


@pytest.mark.parametrize(
    ("usage", "seconds"),
    [
        (Usage(100), NOT_NAMED),
        (Usage(250), NOT_NAMED),
        (Usage(100, 1140.0), 1140.0),
        (Usage(40, 60.0), 60.0),
        (Usage(100, 1e12), LONGEST),
    ],
)
def test_at_the_limit_calls_stop_for_the_time_that_is_named(usage, seconds):
    assert pace(usage).stop == seconds


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([ACCOUNT, "call_count", "total_time", "estimated_time_to_regain_access"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_values.map(json.dumps) | st.text(max_size=50))
def test_any_header_asks_for_a_bounded_pace_or_for_none(header):
    for usage in (of_app(header), of_account(header, ACCOUNT)):
        if usage is not None:
            asked = pace(usage)
            assert 0 <= asked.stop <= LONGEST
            assert 0 <= asked.gap <= SLOWEST
