"""Adaptive thresholds by recent durations: the number of events from which a batch is faster than single appends, and
the number of single appends that may be in flight at once.

A batch has a fixed cost: that of about ten single events where the server stages a batch in files, as a single server
does, and of about three where it stages it in memory, as in a cluster. The minimum of the recent durations counts as
the cost, since anything above it is caused by other work. The server stores appends one after the other, so a single
append's duration is divided by the number of those in flight.

An event in a batch costs the server a third of a single one. So where batches are cheap, few single appends are sent at
once, and the others wait for one of them or for enough others to fill a batch.
"""

import math
from collections import deque

# The maximum of the threshold, so that batches are still tried sometimes, whatever their cost was.
MOST = 10
# Two events that arrive together by chance need no batch.
LEAST = 3
# Until the costs are known: the threshold, and how many batches have to be stored, since the first ones are slower.
FIRST = 4
TRIED = 8
# Up to this many single appends' cost, a batch is cheap.
CHEAP = 5
# Single appends in flight where batches are cheap: the server stores one, and receives the next.
FEW = 2
_REMEMBERED = 64


class BatchThreshold:
    def __init__(self) -> None:
        self._batches: deque[float] = deque(maxlen=_REMEMBERED)
        self._singles: deque[float] = deque(maxlen=_REMEMBERED)
        # The number of events from which a batch is faster.
        self.minimum = FIRST
        # The number of single appends that may be in flight at once.
        self.singles = FEW

    def batch(self, seconds: float) -> None:
        """Records a batch that was stored within `seconds`."""
        self._batches.append(seconds)
        self._compare()

    def single(self, seconds: float, in_flight: int = 1) -> None:
        """Records a single event that was stored within `seconds`, as one of so many in flight."""
        self._singles.append(seconds / in_flight)
        self._compare()

    def _compare(self) -> None:
        if len(self._batches) >= TRIED and self._singles and (single := min(self._singles)) > 0:
            self.minimum = max(LEAST, min(MOST, math.ceil(min(self._batches) / single)))
            self.singles = FEW if self.minimum <= CHEAP else self.minimum
