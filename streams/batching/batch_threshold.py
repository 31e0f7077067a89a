"""Adaptive threshold: the number of events from which a batch is faster than single appends, by recent durations.

A batch has a fixed cost: that of about ten single events where the server stages a batch in files, as a single server
does, and of about three where it stages it in memory, as in a cluster. The minimum of the recent durations counts as
the cost, since anything above it is caused by other work.
"""

import math
from collections import deque

# The initial threshold and its maximum, so that batches are still tried sometimes, whatever their cost was.
MOST = 10
# Two events that arrive together by chance need no batch.
LEAST = 3
_REMEMBERED = 64


class BatchThreshold:
    def __init__(self) -> None:
        self._batches: deque[float] = deque(maxlen=_REMEMBERED)
        self._singles: deque[float] = deque(maxlen=_REMEMBERED)
        self.minimum = MOST

    def batch(self, seconds: float) -> None:
        """Records a batch that was stored within `seconds`."""
        self._batches.append(seconds)
        self._compare()

    def single(self, seconds: float) -> None:
        """Records a single event that was stored within `seconds`."""
        self._singles.append(seconds)
        self._compare()

    def _compare(self) -> None:
        if self._batches and self._singles and (single := min(self._singles)) > 0:
            self.minimum = max(LEAST, min(MOST, math.ceil(min(self._batches) / single)))
