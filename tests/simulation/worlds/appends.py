"""Writers of several processes append to the same subjects, alone and in batches, while the event store has faults."""

import asyncio
import random
from datetime import UTC, datetime
from itertools import count
from typing import ClassVar

import msgspec

from contracts.envelope import Envelope
from contracts.errors import DeadlineExceeded, Overloaded, Unavailable
from streams.log import Append, Conflict, Log
from tests.simulation.nats.clients import connect
from tests.simulation.nats.server import NatsServer
from tests.simulation.network import Network
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import Weighted, World

STREAM = "CONTACT"
_SUBJECTS = [f"vestnik.contact.friendship.{number}" for number in range(40)]
_PATIENCE = 10.0
# Seconds that an append may exceed its patience by.
_GRACE = 1.5
# Seconds after which the effects of every fault are over.
_HEALED = 30.0


class Attempted(msgspec.Struct):
    """An append and how it ended."""

    events: list[Append]
    began: float
    took: float = 0.0
    sequences: list[int] | None = None
    error: BaseException | None = None


class Appends(World):
    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        super().__init__(loop, rng)
        self._network = Network(loop, rng)
        self.server = NatsServer(self._network, {STREAM: "vestnik.contact."}, replicated=rng.random() < 0.5)
        self._logs: list[Log] = []
        self._ids = count(1)
        self._attempts: list[Attempted] = []
        self._running: dict[asyncio.Task[None], Attempted] = {}

    async def start(self) -> None:
        for number in range(2):
            client = await connect(f"writer-{number}")
            self._logs.append(Log(client, patience=_PATIENCE, stream_of=lambda _: STREAM))

    def append_one(self) -> None:
        self._begin(self._events(self._rng.choice(_SUBJECTS), 1))

    def append_three(self) -> None:
        """Appends three events to one subject."""
        self._begin(self._events(self._rng.choice(_SUBJECTS), 3))

    def append_to_three(self) -> None:
        """Appends an event to each of three subjects."""
        self._begin([event for subject in self._rng.sample(_SUBJECTS, 3) for event in self._events(subject, 1)])

    def burst(self) -> None:
        """Many concurrent appends, which share batches."""
        for _ in range(self._rng.randint(12, 40)):
            self._begin(self._events(self._rng.choice(_SUBJECTS), 1 if self._rng.random() < 0.9 else 3))

    def append_again(self) -> None:
        """Appends the events of an earlier append again, as a caller does that got no answer."""
        if self._attempts:
            self._begin(self._rng.choice(self._attempts).events)

    def cancel(self) -> None:
        """Cancels a caller that waits."""
        if self._running:
            self._rng.choice(list(self._running)).cancel()

    def cut(self) -> None:
        self._network.cut("nats")

    def silence(self) -> None:
        self._network.silence("nats", self._outage())

    def step_down(self) -> None:
        self.server.step_down(self._outage())

    def delay(self) -> None:
        self.server.delay(self._outage())

    def crash(self) -> None:
        self._crash(self._outage())

    def crash_amid_burst(self) -> None:
        """The server stops while batches are under way."""
        self.burst()
        self._loop.call_later(self._rng.random() * 0.01, self._crash, self._rng.random() * 2 * _PATIENCE)

    def _crash(self, outage: float) -> None:
        """The server stops, and comes back."""
        if self.server.running:
            self.server.crash()
            self._loop.call_later(outage, self.server.start)

    async def check(self) -> None:
        """Every append ends, and what was answered is what is stored; afterwards everything works again."""
        await asyncio.sleep(_PATIENCE + _GRACE)
        assert not self._running, "an append does not end"
        await asyncio.sleep(_HEALED)
        self._check_store()
        for attempted in self._attempts:
            self._check_attempt(attempted)
        for log in self._logs:
            await self._check_recovered(log)

    async def _check_recovered(self, log: Log) -> None:
        async with asyncio.timeout(_PATIENCE):
            for attempted in self._rng.sample(self._attempts, min(5, len(self._attempts))):
                retry = Attempted(attempted.events, self._loop.now)
                await self._run(log, retry)
                if attempted.sequences is not None:
                    assert retry.sequences == attempted.sequences, "an event appended again has another sequence"
                assert retry.sequences or isinstance(retry.error, Conflict), f"{retry.error!r} after all faults"
            for subject in _SUBJECTS:
                fresh = Attempted(self._events(subject, 1), self._loop.now)
                await self._run(log, fresh)
                assert fresh.sequences is not None, f"{fresh.error!r} after all faults"

    def _events(self, subject: str, number: int) -> list[Append]:
        """New events after the subject's last one, as a writer that has read it would append them."""
        expected = self.server.streams[STREAM].last_of.get(subject, 0)
        return [self._event(subject, expected, version) for version in range(1, number + 1)]

    def _event(self, subject: str, expected: int, version: int) -> Append:
        number = next(self._ids)
        data = msgspec.Raw(b'{"requester_id":"a","addressee_id":"b"}')
        envelope = Envelope(
            id=f"event-{number}",
            type="friendship.created",
            schema=1,
            aggregate_id=subject,
            version=version,
            at=datetime.fromtimestamp(self._loop.now, UTC),
            data=data,
        )
        return Append(subject=subject, expected=expected, envelope=envelope)

    def _begin(self, events: list[Append]) -> None:
        attempted = Attempted(events, self._loop.now)
        self._attempts.append(attempted)
        log = self._rng.choice(self._logs)
        task = self._loop.create_task(self._run(log, attempted))
        self._running[task] = attempted
        task.add_done_callback(self._running.pop)

    async def _run(self, log: Log, attempted: Attempted) -> None:
        try:
            if len(attempted.events) == 1:
                attempted.sequences = [await log.append(attempted.events[0])]
            else:
                attempted.sequences = await log.append_together(attempted.events)
        except (Conflict, Unavailable, Overloaded, DeadlineExceeded, asyncio.CancelledError) as error:
            attempted.error = error
        finally:
            attempted.took = self._loop.now - attempted.began

    def _check_store(self) -> None:
        messages = self.server.streams[STREAM].messages
        ids = [message.headers["Nats-Msg-Id"] for message in messages]
        assert len(ids) == len(set(ids)), "an event is stored twice"

    def _check_attempt(self, attempted: Attempted) -> None:
        sequences = {
            message.headers["Nats-Msg-Id"]: message.sequence for message in self.server.streams[STREAM].messages
        }
        stored = [sequences.get(event.envelope.id) for event in attempted.events]
        assert len(set(map(bool, stored))) == 1, f"a part of an append is stored: {stored}"
        assert attempted.took <= _PATIENCE + _GRACE, f"an append took {attempted.took} s"
        if attempted.sequences is not None:
            assert stored == attempted.sequences, f"answered {attempted.sequences}, stored at {stored}"
        is_only_attempt = sum(1 for other in self._attempts if other.events is attempted.events) == 1
        if isinstance(attempted.error, Conflict) or (
            is_only_attempt and isinstance(attempted.error, Unavailable | Overloaded)
        ):
            assert stored[0] is None, f"{attempted.error!r}, but stored at {stored}"

    ACTIONS: ClassVar[tuple[Weighted, ...]] = (
        (6, append_one),
        (2, append_three),
        (2, append_to_three),
        (4, burst),
        (2, append_again),
        (3, cancel),
        (1, cut),
        (0.5, silence),
        (0.7, step_down),
        (0.7, delay),
        (0.5, crash),
        (2, crash_amid_burst),
    )
