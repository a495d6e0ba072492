"""The watermark, against a model that remembers everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.kafka.progress import PartitionProgress


@given(st.data())
def test_the_watermark_stands_behind_the_longest_finished_prefix(data):
    offsets = sorted(data.draw(st.sets(st.integers(0, 10_000), min_size=1, max_size=60)))
    progress = PartitionProgress()
    begun: list[int] = []
    finished: set[int] = set()
    waiting = list(offsets)
    while waiting or len(finished) < len(begun):
        unfinished = [offset for offset in begun if offset not in finished]
        if waiting and (not unfinished or data.draw(st.booleans())):
            offset = waiting.pop(0)
            begun.append(offset)
            progress.begin(offset, offset * 10)
        else:
            offset = data.draw(st.sampled_from(unfinished))
            finished.add(offset)
            progress.finish(offset)
        prefix = []
        for offset in begun:
            if offset not in finished:
                break
            prefix.append(offset)
        assert progress.watermark == (prefix[-1] + 1 if prefix else None)
        still = [offset for offset in begun if offset not in finished]
        assert progress.outstanding == len(still)
        assert progress.oldest_ms == (still[0] * 10 if still else None)


def test_an_offset_that_does_not_rise_is_refused():
    progress = PartitionProgress()
    progress.begin(5)
    with pytest.raises(ValueError, match="offset 5 came after 5"):
        progress.begin(5)


def test_finishing_what_was_never_begun_is_an_error():
    with pytest.raises(KeyError):
        PartitionProgress().finish(1)
