"""The database of the simulation: builds, checkpoints, rows and losses, with transactions and locks.

A transaction's writes take effect with its commit. A transaction that moves a checkpoint holds the build until the end
of the transaction, as the row locks of PostgreSQL do; another one waits, and then sees what was committed.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from uuid import UUID

from projections.engine.projection import Projection
from projections.engine.storage.pauses import Pause

# A projection's name and version, and the number of the build.
BuildId = tuple[str, int, int]
Key = tuple[str, ...]
Row = dict[str, str]
Effect = Callable[[], None]


class Letter:
    """A dead letter: `failed`, or `parked` after a failed one of its subject."""

    def __init__(self, subject: str, kind: str, state: str) -> None:
        self.subject = subject
        self.kind = kind
        self.state = state


class BuildRow:
    """A build with its checkpoints by stream, its tables by name, the losses that it has found and its dead letters."""

    def __init__(
        self,
        identity: str,
        checkpoints: Mapping[str, int],
        tables: Mapping[str, dict[Key, Row]],
        state: str = "live",
    ) -> None:
        self.state = state
        self.identity = identity
        self.revision = 0
        self.checkpoints = dict(checkpoints)
        self.tables = {name: {key: dict(row) for key, row in rows.items()} for name, rows in tables.items()}
        self.lost: set[tuple[str, int, int]] = set()
        # By stream and sequence.
        self.letters: dict[tuple[str, int], Letter] = {}
        # Higher the later the build was retired.
        self.retired = 0


class Locks:
    """Exclusive locks, given in the order of the requests; an owner may have one several times."""

    def __init__(self) -> None:
        self._owners: dict[object, object] = {}
        self._waiting: dict[object, deque[tuple[object, asyncio.Future[None]]]] = {}

    def try_acquire(self, name: object, owner: object) -> bool:
        return self._owners.setdefault(name, owner) is owner

    def has(self, name: object) -> bool:
        """Whether any owner has the lock."""
        return name in self._owners

    async def acquire(self, name: object, owner: object) -> None:
        if self.try_acquire(name, owner):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append((owner, turn))
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._hand_over(name)
            raise

    def release_all(self, owner: object) -> None:
        for name in [name for name, holder in self._owners.items() if holder is owner]:
            self._hand_over(name)

    def _hand_over(self, name: object) -> None:
        del self._owners[name]
        waiting = self._waiting.get(name, deque())
        while waiting:
            owner, turn = waiting.popleft()
            if not turn.done():
                self._owners[name] = owner
                turn.set_result(None)
                return


class Database:
    def __init__(self, projections: tuple[type[Projection], ...]) -> None:
        self.projections = {projection.name: projection for projection in projections}
        self.builds: dict[BuildId, BuildRow] = {}
        # By projection and version.
        self.pauses: dict[tuple[str, int], Pause] = {}
        # Held until the end of a session, and until the end of a transaction.
        self.session_locks, self.row_locks = Locks(), Locks()
        self.numbers = itertools.count(1)
        # By version the checkpoints of the build that was live last, and of each cutover those before and after it.
        self.replaced: dict[tuple[str, int], dict[str, int]] = {}
        self.cutovers: list[tuple[dict[str, int], dict[str, int]]] = []
        # By view the table that it shows.
        self.shown: dict[str, str] = {}
        for projection in projections:
            build = self.empty_build(projection, 1, "live")
            build.checkpoints = dict.fromkeys(projection.filters(), 0)
            self.builds[projection.name, projection.version, 1] = build
            self.shown |= {name.rpartition("_b")[0]: name for name in build.tables}

    def empty_build(self, projection: type[Projection], number: int, state: str) -> BuildRow:
        """A build without checkpoints."""
        tables: dict[str, dict[Key, Row]] = {
            f"{projection.view(name)}_b{number}": {} for name in projection.table_names()
        }
        return BuildRow(str(UUID(int=next(self.numbers))), {}, tables, state)

    def live(self, projection: type[Projection]) -> BuildRow:
        return next(build for key, build in self.builds.items() if key[0] == projection.name and build.state == "live")

    async def replace(self, projection: type[Projection]) -> BuildRow:
        """Retires the live build, and makes another with the same content live; returns the retired one."""
        number = max(key[2] for key in self.builds if key[0] == projection.name)
        old = self.builds[projection.name, projection.version, number]
        holder = object()
        await self.row_locks.acquire((projection.name, projection.version, number), holder)
        tables = {f"{name.rpartition('_')[0]}_b{number + 1}": rows for name, rows in old.tables.items()}
        new = BuildRow(str(UUID(int=next(self.numbers))), old.checkpoints, tables)
        new.lost = set(old.lost)
        old.state = "retired"
        self.builds[projection.name, projection.version, number + 1] = new
        self.row_locks.release_all(holder)
        return old

    def table(self, name: str) -> dict[Key, Row]:
        return next(build.tables[name] for build in self.builds.values() if name in build.tables)
