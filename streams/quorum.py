"""Evidence that the NATS node of a connection is part of a quorum: one append per second to a small replicated stream.

In a cluster a read proves nothing by itself: a leader that was cut off from its peers continues to answer for a second
or two after the others have elected another and acknowledged new events. Only an append passes through the group. So
each process appends to a dedicated stream (QUORUM: in memory, one message per process). A decision on a read from a
leader counts only while an append that was sent within the last `AGE_SECONDS` has been acknowledged. That is less than
the four seconds that a group needs at least to replace a lost leader.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from types import TracebackType

from nats.aio.client import Client

from contracts.errors import NoQuorum
from streams.jetstream import publish_ack
from streams.jetstream.api import NO_LEADER
from streams.jetstream.client import subscribe_direct
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import NoAnswer
from streams.metrics import QUORUM_WAITING

_LOG = logging.getLogger(__name__)
# How long evidence counts, from the sending of its append; docs/reference/guarantees.md states it.
AGE_SECONDS = 3.0
# How long evidence must have lasted after a gap or a reconnect before it counts: reunited nodes settle first.
HOLD_SECONDS = 5.0
EVERY_SECONDS = 1.0
# Appends in a row without any acknowledgement after which the connection changes to another server: at least so many,
# and up to so many more, at random, so that processes do not change together. A cluster that elects the stream's leader
# acknowledges nothing for up to nine seconds at every node, and a change does no harm then. While no acknowledgement
# comes at another server either, each wait is twice as long as the one before.
_CHANGE_AFTER, _CHANGE_SPREAD, _CHANGE_LONGEST = 6, 3, 60


class Quorum:
    """Quorum evidence of one connection; as a context, it requires the evidence before and after a read.

    Times are on the monotonic clock.
    """

    def __init__(
        self,
        nc: Client,
        subject: str,
        *,
        age: float = AGE_SECONDS,
        hold: float = HOLD_SECONDS,
        every: float = EVERY_SECONDS,
    ) -> None:
        """`subject`: a subject of the stream QUORUM, used by this process only."""
        self._nc = nc
        self._subject = subject
        self._age = age
        self._hold = hold
        self._every = every
        self._when_lost: list[Callable[[], None]] = []
        # Unacknowledged appends: when each was sent, and on which connection.
        self._sent: dict[str, tuple[float, int]] = {}
        self._count = 0
        # The connection of the evidence, as the number of connections before it.
        self._connection = -1
        # When the last acknowledged append was sent, and the first one since the last gap.
        self._latest = self._since = float("-inf")
        # Until when decisions may rely on the evidence.
        self._until = float("-inf")
        self._reported = False
        # Appends since the last acknowledgement or reconnect, and after how many the connection changes the server.
        self._unanswered = 0
        self._unanswered_on = -1
        self._change_after = _CHANGE_AFTER + _spread()
        # Whether the evidence has ever counted.
        self.was_held = False

    @property
    def holds(self) -> bool:
        """Whether a read over this connection, answered by now, is what the cluster has agreed on."""
        return time.monotonic() <= self._until and self._connection == self._nc.stats["reconnects"]

    def require(self) -> None:
        """
        Raises:
            NoQuorum: there is no evidence that counts.
        """
        if not self.holds:
            raise NoQuorum(retry_after=self._wait())

    def seen_within(self, seconds: float) -> bool:
        """Whether an append sent within the last `seconds` was acknowledged, over any connection."""
        return time.monotonic() - self._latest <= seconds

    def when_lost(self, call: Callable[[], None]) -> None:
        """Registers a callback, called after each gap before evidence counts again: earlier reads must be repeated."""
        self._when_lost.append(call)

    def __enter__(self) -> None:
        self.require()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.require()

    async def run(self) -> None:
        """Appends periodically until cancelled."""
        inbox = self._nc.new_inbox()
        subscription = await subscribe_direct(self._nc, f"{inbox}.*", self._take, headers=True)
        try:
            while True:
                await self._append(inbox)
                await asyncio.sleep(self._every)
                self._report_change()
                await self._change_server()
        finally:
            if self._nc.is_connected:
                await subscription.unsubscribe()

    async def _append(self, inbox: str) -> None:
        if not self._nc.is_connected:
            return
        now = time.monotonic()
        # An acknowledgement of older appends is no longer evidence.
        self._sent = {token: sent for token, sent in self._sent.items() if now - sent[0] <= self._age}
        self._count += 1
        token = str(self._count)
        self._sent[token] = now, self._nc.stats["reconnects"]
        await self._nc.publish(self._subject, b"", reply=f"{inbox}.{token}")

    def _take(self, message: Delivered) -> None:
        sent, connection = self._sent.pop(message.subject.rpartition(".")[2], (float("-inf"), -1))
        if message.status is not None:
            return
        try:
            refused = publish_ack.decode(message.data).error
        except NoAnswer:
            return
        if refused is not None:
            if refused.err_code not in NO_LEADER:
                # Another server would refuse it as well.
                self._unanswered = 0
            return
        # However late it is: this server reaches the group.
        self._unanswered, self._change_after = 0, _CHANGE_AFTER + _spread()
        if connection == self._nc.stats["reconnects"]:
            self._acknowledged(sent, connection)

    def _acknowledged(self, sent: float, connection: int) -> None:
        now = time.monotonic()
        if now - sent > self._age:
            return
        if connection != self._connection or now - self._latest > self._age:
            self._connection = connection
            self._since = sent
            self._until = float("-inf")
            for call in self._when_lost:
                call()
        self._latest = max(self._latest, sent)
        if self._latest - self._since >= self._hold:
            self._until = self._latest + self._age
            self.was_held = True

    async def _change_server(self) -> None:
        """Changes the server if its node has not reached the group for some seconds, as when it was cut off.

        Appends are counted, and not seconds: a process that was suspended has sent none meanwhile.
        """
        connection = self._nc.stats["reconnects"]
        if connection != self._unanswered_on:
            self._unanswered, self._unanswered_on = 0, connection
        if not self._nc.is_connected:
            return
        self._unanswered += 1
        if self._unanswered <= self._change_after:
            return
        _LOG.warning("the NATS node of this connection seems to be cut off from its cluster: changing to another one")
        self._change_after = min(self._change_after * 2, _CHANGE_LONGEST) + _spread()
        await self._nc.force_reconnect()

    def _wait(self) -> int:
        """Whole seconds after which evidence may count again."""
        left = self._hold - (time.monotonic() - self._since) if self.seen_within(self._age) else self._hold
        return max(1, math.ceil(left))

    def _report_change(self) -> None:
        holds = self.holds
        QUORUM_WAITING.set(not holds)
        if holds == self._reported:
            return
        self._reported = holds
        if holds:
            _LOG.info("the NATS node of this connection is part of a quorum")
        else:
            _LOG.warning("no evidence that the NATS node of this connection is part of a quorum: commands wait")


def _spread() -> float:
    return random.uniform(0, _CHANGE_SPREAD)  # noqa: S311 - no secret
