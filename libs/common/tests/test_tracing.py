"""Traces are continued, not broken."""

import pytest

from common.tracing import TRACEPARENT, continued, new_traceparent


def test_the_next_step_is_of_the_same_trace():
    first = new_traceparent()
    second = continued(first)
    assert second[:35] == first[:35]
    assert second != first
    assert TRACEPARENT.match(second)


@pytest.mark.parametrize("broken", [None, "", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "what\nis this"])
def test_what_is_no_trace_begins_one(broken):
    assert TRACEPARENT.match(continued(broken))
