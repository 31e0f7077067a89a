"""Paces a projection's batches: pauses between them, unless a caller waits for the read model.

Each batch has a fixed cost, even with few events, and most reads do not need the last few milliseconds. Events
accumulate during the pauses.
"""

import asyncio
import time

# Seconds from the start of a batch to the next one: minimum, and maximum of the adaptive pause.
_REST_SECONDS = 0.02
_LONGEST_REST_SECONDS = 0.1
# In between, this multiple of the batch's duration: a busy machine writes fewer, larger batches.
_TIMES = 10
# How long a request suspends the pauses. A waiting caller's event is in the stream already: after this time it has been
# applied, or there is a backlog.
_LASTS_SECONDS = 0.25


class BatchPacing:
    def __init__(self, rest_seconds: float = 0.0) -> None:
        """`rest_seconds`: the projection's own pause between batches, where it is longer than usual."""
        self._wanted = rest_seconds
        self._until = float("-inf")
        self._called: asyncio.Future[None] | None = None

    def request_now(self) -> None:
        """Ends the current pause, since a caller waits, and suspends further ones for a short time."""
        self._until = time.monotonic() + _LASTS_SECONDS
        if self._called is not None and not self._called.done():
            self._called.set_result(None)

    async def pause(self, since: float, took: float) -> None:
        """Returns when the next batch is due.

        `since`: start of the last batch (`time.monotonic`); `took`: seconds that it took to write.
        """
        now = time.monotonic()
        rest = max(_REST_SECONDS, self._wanted, min(_TIMES * took, _LONGEST_REST_SECONDS))
        left = since + rest - now
        if left <= 0 or now < self._until:
            return
        self._called = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._called], timeout=left)
