"""Two processes keep the same read models up to date, while the event store and the database have faults."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from typing import Any, ClassVar, cast
from unittest.mock import patch

from psycopg import Error as DatabaseError

from contracts.envelope import Provenance, encode, seal
from contracts.errors import VestnikError
from contracts.events.event import Event
from contracts.events.friendship import FriendshipCreated
from contracts.events.profile import ProfileCreated
from contracts.subjects import CONTACT, OPERATOR, PROFILE
from projections.engine.apply import loop_slices
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.errors import BuildSuperseded, ProjectionPaused
from projections.engine.apply.pipeline import Pipeline
from projections.engine.controls.pause import AlreadyPaused, NotPaused, pause, resume
from projections.engine.controls.waiting import Busy
from projections.engine.projection import Projection
from projections.engine.reading.shared_reader import SharedReaders
from projections.engine.reading.stream_sources import Sources
from projections.engine.rebuild import cutover
from projections.engine.running.faults import is_fault
from projections.engine.running.runner import Runner
from projections.engine.storage import connections
from projections.engine.storage.tables import BadTables
from projections.engine.waiting.position_waiter import PositionWaiter
from streams.jetstream.client import Client
from tests.simulation.nats.clients import connect
from tests.simulation.nats.server import NatsServer
from tests.simulation.network import Network
from tests.simulation.postgres.connection import Driver
from tests.simulation.postgres.database import BuildRow, Database
from tests.simulation.postgres.server import PostgresServer
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import Weighted, World
from tests.simulation.worlds.read_models import CATALOG, READ_MODELS, check

_STREAMS = {CONTACT: "vestnik.contact.", PROFILE: "vestnik.profile.", OPERATOR: "vestnik.operator."}
PEOPLE = ("anna", "ben", "cleo")
# Seconds after which the effects of every fault are over, and within which the read models are then at the end.
HEALED, _CATCH_UP_SECONDS = 25.0, 15.0
# How far the clock of loop slices advances each time it is read.
_READ_SECONDS = 0.0004


class Process:
    """One process: its connection to NATS, and a runner for each read model."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._waiting = PositionWaiter(READ_MODELS, client, cast(Any, None))
        self.runners: list[Runner] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._waiting.start()
        self.run()

    def run(self) -> None:
        sharing = SharedReaders(self.client)
        self.runners = [
            Runner(projection, self.client, "postgresql://db", self._waiting, sharing) for projection in READ_MODELS
        ]
        self.tasks = [asyncio.create_task(runner.run()) for runner in self.runners]

    async def restart(self) -> None:
        """Cancels the runners, whatever they await, and starts others once these have ended."""
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:
            self.run()


class Projections(World):
    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        super().__init__(loop, rng)
        self._network = Network(loop, rng)
        self.nats = NatsServer(self._network, _STREAMS, replicated=rng.random() < 0.5)
        self.database = Database(READ_MODELS)
        self._postgres = PostgresServer(loop, rng, self.database, CATALOG)
        self._processes: list[Process] = []
        self._others: set[asyncio.Task[None]] = set()
        self._numbers = count(1)
        # Builds that were replaced, each with a copy from right after that.
        self._replaced: list[tuple[BuildRow, BuildRow]] = []
        self._faults: list[Exception] = []

    @contextmanager
    def patched(self) -> Iterator[None]:
        looks, note = count(), Runner._note

        def noted(runner: Runner, error: Exception) -> None:
            if is_fault(error):
                self._faults.append(error)
            note(runner, error)

        with (
            patch.object(connections, "AsyncConnection", Driver(self._postgres)),
            patch.object(loop_slices, "perf_counter", lambda: next(looks) * _READ_SECONDS),
            patch.object(Runner, "_note", noted),
        ):
            yield

    async def start(self) -> None:
        for number in range(2):
            process = Process(await connect(f"contact-{number}"))
            await process.start()
            self._processes.append(process)

    def write(self) -> None:
        for _ in range(self._rng.randint(1, 6)):
            self._write()

    def write_much(self) -> None:
        """More than fits into a batch of a reader."""
        for _ in range(self._rng.randint(50, 300)):
            self._write()

    def _write(self) -> None:
        one, other = self._rng.sample(PEOPLE, 2)
        choice = self._rng.random()
        if choice < 0.7:
            event: Event = FriendshipCreated(requester_id=one, addressee_id=other)
            self._store(CONTACT, f"vestnik.contact.friendship.{one}", event)
        else:
            # The filter passes profiles only.
            event = ProfileCreated(username=one, display_name=one)
            kind = "profile" if choice < 0.9 else "private"
            self._store(PROFILE, f"vestnik.profile.{kind}.{one}-profile", event)

    def _store(self, stream: str, subject: str, event: Event) -> None:
        aggregate = subject.rpartition(".")[2]
        envelope = seal(event, aggregate_id=aggregate, version=next(self._numbers), provenance=Provenance())
        self.nats.store(stream, subject, encode(envelope), {"Nats-Msg-Id": envelope.id})

    def lose(self) -> None:
        """Events in a row can no longer be read."""
        end = self.nats.streams[CONTACT].end
        first = self._rng.randint(max(1, end - 10), end + 1)
        for sequence in range(first, min(first + self._rng.randint(1, 4), end + 1)):
            self.nats.lose(CONTACT, sequence)

    def rival(self) -> None:
        """Applies events to the live build in competition with the runner, without its lock."""
        self._begin(self._rival())

    async def _rival(self) -> None:
        projection, process = self._rng.choice(READ_MODELS), self._rng.choice(self._processes)
        until = self._loop.now + self._rng.random() * 5.0
        with suppress(BuildSuperseded, ProjectionPaused, BadTables, DatabaseError, VestnikError, TimeoutError):
            conn = await connections.connect("postgresql://db", "rival")
            try:
                async with asyncio.timeout(20):
                    build = await cutover.live_build(conn, projection)
                    assert build is not None
                    writer = await BuildWriter.open(conn, projection, build, obeys_pauses=True)
                    sources = Sources(process.client, projection.filters(), writer.position, name="rival")
                    async with Pipeline(sources, writer) as pipeline:
                        while self._loop.now < until:
                            await pipeline.step(1.0)
            finally:
                await conn.close()

    def pause(self) -> None:
        """An operator pauses a read model, and resumes it some seconds later."""
        self._begin(self._pause())

    async def _pause(self) -> None:
        projection = self._rng.choice(READ_MODELS)
        with suppress(AlreadyPaused, Busy, DatabaseError, VestnikError, TimeoutError):
            await self._by_operator(projection, partial(pause, reason="a test", by="anna"))
            build = self.database.live(projection)
            paused = dict(build.checkpoints)
            await asyncio.sleep(self._rng.random() * 5.0)
            if (projection.name, projection.version) in self.database.pauses:
                # A rebuild may have replaced it, which goes on.
                now = build.checkpoints
                assert now == paused, f"{projection.name} went on from {paused} to {now} while it was paused"
        while (projection.name, projection.version) in self.database.pauses:
            with suppress(NotPaused, DatabaseError, VestnikError, TimeoutError):
                await self._by_operator(projection, resume)
            await asyncio.sleep(0.1)

    async def _by_operator(self, projection: type[Projection], control: Any) -> None:  # noqa: ANN401 - one of two
        conn = await connections.connect("postgresql://db", "operator")
        try:
            async with asyncio.timeout(10):
                await control(conn, projection)
        finally:
            await conn.close()

    def replace(self) -> None:
        """Another build with the same content becomes the live one."""
        self._begin(self._replace())

    async def _replace(self) -> None:
        projection = self._rng.choice(READ_MODELS)
        old = await self.database.replace(projection)
        self._replaced.append((old, BuildRow(old.identity, old.checkpoints, old.tables)))

    def restart(self) -> None:
        self._begin(self._rng.choice(self._processes).restart())

    def _begin(self, action: Any) -> None:  # noqa: ANN401 - a coroutine
        task = self._loop.create_task(action)
        self._others.add(task)

    def cut(self) -> None:
        self._network.cut("nats")

    def silence(self) -> None:
        self._network.silence("nats", self._outage())

    def step_down(self) -> None:
        self.nats.step_down(self._outage())

    def crash(self) -> None:
        if self.nats.running:
            self.nats.crash()
            self._loop.call_later(self._outage(), self.nats.start)

    def cut_database(self) -> None:
        self._postgres.cut()

    def silence_database(self) -> None:
        self._postgres.silence(self._outage())

    def crash_database(self) -> None:
        if self._postgres.running:
            self._postgres.crash()
            self._loop.call_later(self._outage(), self._postgres.start)

    async def check(self) -> None:
        """After all faults the read models are at the ends of the streams, and every build is what it should be."""
        await asyncio.sleep(HEALED)
        for task in self._others:
            assert task.done(), "a rival or a restart does not end"
            task.result()
        self.write()
        await asyncio.sleep(_CATCH_UP_SECONDS)
        assert not self._postgres.failures, repr(self._postgres.failures)
        assert not self._faults, repr(self._faults)
        for (name, *_), build in self.database.builds.items():
            projection = next(model for model in READ_MODELS if model.name == name)
            check(projection, build, self.nats.streams)
            if build.state == "live":
                ends = {stream: self.nats.streams[stream].end for stream in projection.filters()}
                assert build.checkpoints == ends, f"{name} is at {build.checkpoints} of {ends} after all faults"
        for old, copy in self._replaced:
            assert (old.checkpoints, old.tables) == (copy.checkpoints, copy.tables), "written after it was replaced"
        for process in self._processes:
            assert process.tasks, "a restart does not end"
            assert not any(task.done() for task in process.tasks), "a runner has ended"
            assert all(runner.ready for runner in process.runners), "a runner is not ready"
        for runners in zip(*[process.runners for process in self._processes], strict=True):
            leading = [runner.leading for runner in runners]
            assert sum(leading) == 1, f"leading: {leading}"

    ACTIONS: ClassVar[tuple[Weighted, ...]] = (
        (10, write),
        (1, write_much),
        (0.7, lose),
        (2, rival),
        (1, replace),
        (1, pause),
        (2, restart),
        (0.7, cut),
        (0.4, silence),
        (0.7, step_down),
        (0.5, crash),
        (2, cut_database),
        (0.7, silence_database),
        (0.7, crash_database),
    )
