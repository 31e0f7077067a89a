from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.audit.leaf_runs import LeafRuns


@given(st.lists(st.lists(st.integers(1, 3), max_size=5)), st.integers(0, 10))
def test_every_leaf_has_its_sequence_whatever_the_gaps(batches: list[list[int]], first: int) -> None:
    runs, sequences, last = LeafRuns(first), list[int](), 0
    for steps in batches:
        batch = list(accumulate(steps, initial=last))[1:]
        runs.extend(batch)
        sequences += batch
        last = batch[-1] if batch else last
    assert [runs.sequence_of(first + number) for number in range(len(sequences))] == sequences
    for leaf in (first - 1, first + len(sequences)):
        with pytest.raises(LookupError):
            runs.sequence_of(leaf)
