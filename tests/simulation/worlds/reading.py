"""Readers follow a stream that others append to, while the event store has faults and callers give up waiting."""

import asyncio
import random
from typing import ClassVar

from contracts.errors import Unavailable
from streams.jetstream.client import Client
from streams.loss.missing_events import Gap
from streams.message import Message
from streams.reader import ReadBatch, Reader, StreamWentBack
from streams.topology import StreamMissing
from tests.simulation.nats.clients import connect
from tests.simulation.nats.server import NatsServer
from tests.simulation.nats.store import matches
from tests.simulation.network import Network
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import Weighted, World

STREAM = "CONTACT"
_PREFIX = "vestnik.contact."
_FILTER = "vestnik.contact.friendship.*"
_SUBJECTS = ("vestnik.contact.friendship.1", "vestnik.contact.friendship.2", "vestnik.contact.block.1")
# Seconds after which the effects of every fault are over, and within which a reader is then at the end.
_HEALED, _CATCH_UP_SECONDS = 20.0, 5.0


class Reading:
    """One reader, and what it has returned."""

    def __init__(self, client: Client, server: NatsServer, *, subject_filter: str | None, report_gaps: bool) -> None:
        self.subject_filter = subject_filter
        self.report_gaps = report_gaps
        self._server = server
        self.messages: list[Message] = []
        self.gaps: list[Gap] = []
        self.position = 0
        self.error: Exception | None = None
        self._reader = Reader(
            client,
            STREAM,
            subject_filter=subject_filter,
            name="simulation",
            buffer=50,
            outlasts_refusals=True,
            report_gaps=report_gaps,
        )

    async def follow(self, rng: random.Random) -> None:
        """Reads without end; cancels every other call after some time, at whatever it awaits then."""
        while True:
            seconds = rng.choice((0.001, 0.01, 0.1, 1.0, None))
            try:
                async with asyncio.timeout(seconds):
                    batch = await self._reader.next(rng.choice((1, 3, 100)))
            except TimeoutError:
                continue
            except (StreamWentBack, StreamMissing, Unavailable, PermissionError) as error:
                self.error = error
                return
            self._take(batch)

    def _take(self, batch: ReadBatch) -> None:
        lost = self._server.streams[STREAM].lost
        assert batch.position >= self.position, f"back from {self.position} to {batch.position}"
        for gap in batch.gaps:
            assert lost.issuperset(range(gap.first, gap.last + 1)), f"{gap} is reported, and is stored"
        self.position = batch.position
        self.messages += batch.messages
        self.gaps += batch.gaps

    def check(self) -> None:
        """Every message up to the position was returned once, in order, and each loss was reported."""
        stream = self._server.streams[STREAM]
        sequences = [message.sequence for message in self.messages]
        assert sequences == sorted(set(sequences)), f"returned twice, or in another order: {sequences}"
        for message in self.messages:
            stored = stream.messages[message.sequence - 1]
            assert (stored.subject, stored.data) == (message.subject, message.payload)
        expected = {
            stored.sequence
            for stored in stream.messages[: self.position]
            if matches(self.subject_filter or ">", stored.subject)
        }
        missing = expected.difference(sequences)
        if self.report_gaps:
            missing -= {sequence for gap in self.gaps for sequence in range(gap.first, gap.last + 1)}
        else:
            missing -= stream.lost
        assert not missing, f"not returned up to {self.position}: {sorted(missing)}"
        assert self.position == stream.end, f"at {self.position} of {stream.end} after all faults"


class ReaderWorld(World):
    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        super().__init__(loop, rng)
        self._network = Network(loop, rng)
        self.server = NatsServer(self._network, {STREAM: _PREFIX}, replicated=rng.random() < 0.5)
        # Whether consumers pass over messages: only a reader that reports gaps notices.
        self._passes_over = rng.random() < 0.5
        self.readings: list[Reading] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for subject_filter, report_gaps in ((None, True), (None, self._passes_over), (_FILTER, False)):
            client = await connect(f"reader-{len(self.readings)}")
            reading = Reading(client, self.server, subject_filter=subject_filter, report_gaps=report_gaps)
            self.readings.append(reading)
            rng = random.Random(self._rng.random())
            self._tasks.append(self._loop.create_task(reading.follow(rng)))

    def write(self) -> None:
        for _ in range(self._rng.randint(1, 5)):
            self.server.store(STREAM, self._rng.choice(_SUBJECTS), b"%d" % self._rng.randrange(1_000), {})

    def write_much(self) -> None:
        """More than waits in a reader's memory."""
        for _ in range(200):
            self.server.store(STREAM, self._rng.choice(_SUBJECTS), b"{}", {})

    def lose(self) -> None:
        """Some messages in a row can no longer be read."""
        first = self._rng.randint(1, self.server.streams[STREAM].end + 1)
        for sequence in range(first, min(first + self._rng.randint(1, 3), self.server.streams[STREAM].end + 1)):
            self.server.lose(STREAM, sequence)

    def damage(self) -> None:
        """Consumers miss messages for some time."""
        self.server.damage(skipped=0.2 if self._passes_over else 0.0, dropped=0.1)
        self._loop.call_later(self._outage(), lambda: self.server.damage(skipped=0.0, dropped=0.0))

    def cut(self) -> None:
        self._network.cut("nats")

    def silence(self) -> None:
        self._network.silence("nats", self._outage())

    def step_down(self) -> None:
        self.server.step_down(self._outage())

    def crash(self) -> None:
        if self.server.running:
            self.server.crash()
            self._loop.call_later(self._outage(), self.server.start)

    async def check(self) -> None:
        """After all faults every reader is at the end, and has returned what is stored."""
        await asyncio.sleep(_HEALED)
        self.write()
        await asyncio.sleep(_CATCH_UP_SECONDS)
        for task, reading in zip(self._tasks, self.readings, strict=True):
            if task.done():
                task.result()
            assert reading.error is None, repr(reading.error)
            reading.check()

    ACTIONS: ClassVar[tuple[Weighted, ...]] = (
        (8, write),
        (2, write_much),
        (1, lose),
        (1, damage),
        (1, cut),
        (0.5, silence),
        (1, step_down),
        (0.7, crash),
    )
