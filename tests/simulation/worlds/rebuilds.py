"""Operators rebuild read models and retry dead letters, while two processes keep the read models up to date."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from typing import ClassVar
from unittest.mock import patch

from psycopg import Error as DatabaseError

from contracts.errors import VestnikError
from contracts.events.friendship import FriendshipCreated
from contracts.subjects import CONTACT
from infra.operator_errors import OperatorError
from projections.engine.dead_letters.queries import DeadLetterRow
from projections.engine.dead_letters.resolution import retry
from projections.engine.projection import Projection
from projections.engine.rebuild.catch_up import CatchUp
from projections.engine.rebuild.rebuild import Rebuilt, rebuild
from projections.engine.storage import connections
from projections.engine.storage.builds import BuildState
from streams.log import Log
from tests.simulation.postgres.database import BuildId, BuildRow
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import Weighted
from tests.simulation.worlds import projections
from tests.simulation.worlds.projections import Projections
from tests.simulation.worlds.read_models import READ_MODELS, UNREADABLE, Tallies

_URL = "postgresql://db"
_FAILED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
# The errors that an operator may see: something is unreachable, in use or has changed.
_REFUSED = (OperatorError, DatabaseError, VestnikError, TimeoutError)
# Seconds after which an operator gives up, at most, and after which every operator has.
_PATIENCE = 20.0


class Rebuilds(Projections):
    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        super().__init__(loop, rng)
        self._rebuilding = 0
        # Tasks of rebuilds that had ended.
        self._left: list[asyncio.Task[object]] = []

    @contextmanager
    def patched(self) -> Iterator[None]:
        with super().patched(), patch.object(Tallies, "broken", True):
            yield

    def write_unreadable(self) -> None:
        """An event that the code cannot apply until it is fixed."""
        for _ in range(self._rng.randint(1, 3)):
            one = self._rng.choice(projections.PEOPLE)
            event = FriendshipCreated(requester_id=one, addressee_id=UNREADABLE)
            self._store(CONTACT, f"vestnik.contact.friendship.{one}", event)
            self.write()

    def mend(self) -> None:
        Tallies.broken = False

    def spoil(self) -> None:
        Tallies.broken = True

    def retry(self) -> None:
        """An operator retries the dead letters of an aggregate."""
        self._begin(self._retry_any())

    async def _retry_any(self) -> None:
        heads = [
            head
            for key, build in self.database.builds.items()
            if build.state in ("live", "building")
            for head in _heads(key, build)
        ]
        if heads:
            with suppress(*_REFUSED):
                async with asyncio.timeout(self._rng.random() * _PATIENCE):
                    await self._retry(self._rng.choice(heads))

    async def _retry(self, letter: DeadLetterRow) -> None:
        projection = next(model for model in READ_MODELS if model.name == letter.projection)
        conn = await connections.connect(_URL, "retry")
        try:
            await retry(conn, Log(self._rng.choice(self._processes).client), projection, letter)
        finally:
            await conn.close()

    def rebuild(self) -> None:
        """An operator rebuilds a read model, and may give up at any time."""
        self._begin(self._rebuild_any())

    async def _rebuild_any(self) -> None:
        with suppress(*_REFUSED):
            async with asyncio.timeout(self._rng.random() * _PATIENCE):
                await self._rebuild(self._rng.choice(READ_MODELS))

    async def _rebuild(self, projection: type[Projection]) -> Rebuilt:
        self._rebuilding += 1
        try:
            return await rebuild(projection, self._rng.choice(self._processes).client, _URL)
        finally:
            self._rebuilding -= 1
            if not self._rebuilding:
                self._left += [task for task in asyncio.all_tasks() if _belongs_to_a_rebuild(task)]

    async def check(self) -> None:
        """Afterwards a rebuild and a retry of all dead letters succeed, and nothing is missing."""
        await asyncio.sleep(projections.HEALED + _PATIENCE)
        Tallies.broken = False
        for projection in READ_MODELS:
            assert self.database.live(projection)
            await self._rebuild(projection)
            for turn in count(1):
                heads = [
                    head
                    for key, build in self.database.builds.items()
                    if build.state == "live"
                    for head in _heads(key, build)
                ]
                if not heads:
                    break
                assert turn < 20, f"{len(heads)} dead letters stay"
                for head in heads:
                    await self._retry(head)
        await super().check()
        assert not self._left, f"a rebuild has left {self._left}"
        for before, after in self.database.cutovers:
            assert all(after[stream] >= sequence for stream, sequence in before.items()), (
                f"back from {before} to {after}"
            )
        for projection in READ_MODELS:
            live = [
                build
                for key, build in self.database.builds.items()
                if key[0] == projection.name and build.state == "live"
            ]
            assert len(live) == 1, f"{projection.name} has {len(live)} live builds"
            shown_tables = {self.database.shown[projection.view(name)] for name in projection.table_names()}
            assert shown_tables == live[0].tables.keys(), f"readers of {projection.name} see {shown_tables}"

    ACTIONS: ClassVar[tuple[Weighted, ...]] = (
        (8, Projections.write),
        (1, Projections.write_much),
        (3, write_unreadable),
        (1, mend),
        (1, spoil),
        (4, retry),
        (3, rebuild),
        (1, Projections.rival),
        (0.7, Projections.pause),
        (1, Projections.restart),
        (0.7, Projections.cut),
        (0.4, Projections.silence),
        (0.7, Projections.step_down),
        (0.5, Projections.crash),
        (1.5, Projections.cut_database),
        (0.7, Projections.silence_database),
        (0.7, Projections.crash_database),
    )


def _belongs_to_a_rebuild(task: "asyncio.Task[object]") -> bool:
    return getattr(task.get_coro(), "__qualname__", "").startswith(CatchUp.__name__)


def _heads(key: BuildId, build: BuildRow) -> list[DeadLetterRow]:
    """The first dead letter of each aggregate."""
    heads: dict[str, DeadLetterRow] = {}
    for (stream, sequence), letter in sorted(build.letters.items()):
        head = DeadLetterRow(
            projection=key[0],
            version=key[1],
            build=key[2],
            build_state=BuildState(build.state),
            identity=build.identity,
            stream=stream,
            sequence=sequence,
            subject=letter.subject,
            fold_key=None,
            type=letter.kind,
            state=letter.state,
            reason="",
            at=_FAILED_AT,
            attempts=1,
            tried_at=_FAILED_AT,
            waiting=None,
            first=sequence,
        )
        heads.setdefault(letter.subject, head)
    return list(heads.values())
