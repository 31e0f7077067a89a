"""Whether anybody waits for what a read model will show next.

Each batch has its price, however few events are in it, and most of the time nobody looks at a read model within the
next hundredth of a second. So batches have pauses between them, in which events gather, unless somebody waits.
"""

import asyncio
import time

# How long after a batch was begun the next one is, at least and at most.
_REST_SECONDS = 0.02
_LONGEST_REST_SECONDS = 0.1
# In between so many times as long as the batch took: on a machine that is busy batches are fewer, and larger.
_TIMES = 10
# Whoever waits has an event in mind that is in the stream already: by then it has been applied, or there is a backlog.
_LASTS_SECONDS = 0.25


class BatchPacing:
    def __init__(self, rest_seconds: float = 0.0) -> None:
        """`rest_seconds`: what the projection wants between batches, where that is longer than usual."""
        self._wanted = rest_seconds
        self._until = float("-inf")
        self._called: asyncio.Future[None] | None = None

    def request_now(self) -> None:
        """Somebody waits from now on."""
        self._until = time.monotonic() + _LASTS_SECONDS
        if self._called is not None and not self._called.done():
            self._called.set_result(None)

    async def pause(self, since: float, took: float) -> None:
        """Returns when the next batch is due, the last one having been begun at `since` (of `time.monotonic`).

        `took`: seconds that it took to write.
        """
        now = time.monotonic()
        rest = max(_REST_SECONDS, self._wanted, min(_TIMES * took, _LONGEST_REST_SECONDS))
        left = since + rest - now
        if left <= 0 or now < self._until:
            return
        self._called = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._called], timeout=left)
