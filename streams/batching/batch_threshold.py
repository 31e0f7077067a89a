"""From how many on a batch is quicker than its events by themselves, as both have been of late.

A batch has a fixed price. It is that of some ten events where the server gathers a batch in files, as a single one does
by itself, and that of three or so where it does that in memory, as in a cluster. The least of the last times is taken
for the price, since all that makes them longer is what else there was to do.
"""

import math
from collections import deque

# Where nothing is known yet; also the most, so that batches are tried now and then however dear they were.
MOST = 10
# Two that come by chance at the same moment need not be one.
LEAST = 3
_REMEMBERED = 64


class BatchThreshold:
    def __init__(self) -> None:
        self._batches: deque[float] = deque(maxlen=_REMEMBERED)
        self._singles: deque[float] = deque(maxlen=_REMEMBERED)
        self.minimum = MOST

    def batch(self, seconds: float) -> None:
        """One was stored, in so many seconds."""
        self._batches.append(seconds)
        self._compare()

    def single(self, seconds: float) -> None:
        """An event was stored by itself, in so many seconds."""
        self._singles.append(seconds)
        self._compare()

    def _compare(self) -> None:
        if self._batches and self._singles and (single := min(self._singles)) > 0:
            self.minimum = max(LEAST, min(MOST, math.ceil(min(self._batches) / single)))
