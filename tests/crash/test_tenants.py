"""One merchant in trouble never delays another merchant's first answers; `make tenants` measures it at length."""

import asyncio

import pytest
from tenant_troubles import TROUBLES, known
from tenants import JOURNAL_LIMIT, TENANT_SETTINGS, measure, print_line

from devkit.stack import Stack

SEED = 1
WITHSTOOD = tuple(trouble for trouble in TROUBLES if trouble != "flood")
"""The troubles that delay nobody. Those which `make tenants` shows to delay others are in docs/guarantees.md."""
SECONDS = 4.0
SHARED_FATE_SECONDS = 4.0
"""The noise that is allowed here: this runs beside other tests."""


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.timeout(400)
def test_no_trouble_of_one_merchant_delays_anothers_first_answers(tmp_path):
    sandbox = {"SANDBOX_JOURNAL_LIMIT": str(JOURNAL_LIMIT)}
    with Stack(tmp_path, settings=TENANT_SETTINGS, sandbox=sandbox) as stack:
        verdict = asyncio.run(
            measure(stack, seed=SEED, troubles=WITHSTOOD, seconds=SECONDS, noise=SHARED_FATE_SECONDS, show=print_line)
        )
    assert [str(delay) for delay in verdict.delays] == []


def test_troubles_are_chosen_by_name():
    assert known(["typo", "flood"]) == ("flood", "typo")
    assert known(TROUBLES) == TROUBLES
    with pytest.raises(ValueError, match="'tpyo' is no trouble; there are busy, flood"):
        known(["tpyo"])
