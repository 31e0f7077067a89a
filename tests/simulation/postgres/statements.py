"""The statements that the projection engine sends while it applies events, on the simulated database.

Each is recognized by its text. A statement that is not simulated fails the run.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from projections.engine.storage.pauses import Pause
from projections.engine.storage.schema import STEPS
from tests.simulation.postgres.database import BuildId, BuildRow, Database, Effect, Key, Row

Answer = list[tuple[object, ...]]
_UPSERT = re.compile(
    r'INSERT INTO "(?P<table>\w+)" AS t \((?P<columns>[^)]*)\) SELECT .*? FROM \((?P<source>SELECT .*)\) AS s'
    r" ORDER BY .* ON CONFLICT \((?P<key>[^)]*)\) DO (?P<action>.*)"
)
_ASSIGNMENT = re.compile(r'"(\w+)" = (EXCLUDED|COALESCE\(t\."\w+" \+ EXCLUDED)')
_PAUSED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
_ONLY_IF_MOVED = "current_setting('vestnik.moved', true) IS DISTINCT FROM '0'"
# The columns that the catalog shows for a table, with the place of each in the key; by the end of the view's name.
Catalog = dict[str, Answer]


class Transaction:
    """One session's transaction: the effects of its commit, and whether it has moved its checkpoint."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.moved: bool | None = None
        # By savepoint how many effects came before it.
        self.savepoints: list[int] = []
        # Seconds; None: there is no limit.
        self.lock_timeout: float | None = None
        # Builds that it adds, and their tables.
        self.builds: dict[BuildId, BuildRow] = {}
        self.created: set[str] = set()


class Statements:
    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog
        self.known: tuple[tuple[str, Callable[..., Answer]], ...] = (
            ("SELECT to_regclass('projection_schema')", self._yes),
            ("SELECT coalesce(max(version), 0) FROM projection_schema", lambda *_: [(len(STEPS),)]),
            ("SELECT projection, version, build, state, identity::text FROM projection_builds", self._builds),
            ("SELECT reason, paused_by, paused_at FROM projection_pauses", self._pause),
            ("INSERT INTO projection_pauses", self._add_pause),
            ("DELETE FROM projection_pauses", self._end_pause),
            ("UPDATE projection_builds SET letters_revision", self._revise),
            ("SELECT begins_after FROM projection_builds", lambda *_: [(None,)]),
            ("SELECT stream, sequence FROM projection_checkpoints", self._checkpoints),
            ("SELECT b.letters_revision FROM", self._revision),
            ("SELECT b.letters_revision, ARRAY", self._standing),
            ("SELECT a.attname", self._columns),
            ("SELECT stream, first, last FROM projection_lost_events", self._lost),
            ("INSERT INTO projection_lost_events", self._lose),
            ("INSERT INTO projection_errors", self._nothing),
            ("UPDATE projection_errors", self._nothing),
            ("SELECT 1 FROM projection_errors", self._nothing),
        )

    def run(self, text: str, values: Sequence[Any], transaction: Transaction) -> Answer:
        for beginning, act in self.known:
            if text.startswith(beginning):
                return act(values, transaction)
        if (upsert := _UPSERT.fullmatch(text)) is not None:
            if transaction.moved is not False or _ONLY_IF_MOVED not in upsert["source"]:
                transaction.effects.append(lambda: self._merge(upsert, values))
            return []
        raise AssertionError(f"not simulated: {text}")

    async def move(self, owner: object, values: Sequence[Any], transaction: Transaction) -> Answer:
        """Moves a checkpoint; waits for another transaction that has moved one of this build."""
        *build_id, state, identity, revision, after, _rate = values[:8]
        stream, before = values[11:]
        key: BuildId = (build_id[0], build_id[1], build_id[2])
        build = self._database.builds.get(key)
        if build is None:
            transaction.moved = False
            return [("0",)]
        expected = state, identity, revision, before
        if (build.state, build.identity, build.revision) == expected[:3]:
            await self._database.row_locks.acquire(key, owner)
        unchanged = (build.state, build.identity, build.revision, build.checkpoints[stream]) == expected
        transaction.moved = unchanged
        if unchanged:
            transaction.effects.append(lambda: build.checkpoints.update({stream: after}))
        return [(str(int(unchanged)),)]

    async def hold(self, owner: object, values: Sequence[Any], transaction: Transaction) -> Answer:
        """Locks the builds of a version until the end of the transaction."""
        builds = self._builds(values, transaction)
        for name, version, number, *_ in builds:
            await self._database.row_locks.acquire((name, version, number), owner)
        return self._builds(values, transaction)

    def _yes(self, *_: object) -> Answer:
        return [(True,)]

    def _nothing(self, *_: object) -> Answer:
        return []

    def _builds(self, values: Sequence[Any], _: Transaction) -> Answer:
        return [
            (*key, build.state, build.identity)
            for key, build in self._database.builds.items()
            if key[:2] == tuple(values)
        ]

    def _pause(self, values: Sequence[Any], _: Transaction) -> Answer:
        pause = self._database.pauses.get((values[0], values[1]))
        return [] if pause is None else [(pause.reason, pause.paused_by, pause.paused_at)]

    def _add_pause(self, values: Sequence[Any], transaction: Transaction) -> Answer:
        name, version, reason, paused_by = values
        if (name, version) in self._database.pauses:
            return []
        pause = Pause(reason, paused_by, _PAUSED_AT)
        transaction.effects.append(lambda: self._database.pauses.update({(name, version): pause}))
        return [(pause.reason, pause.paused_by, pause.paused_at)]

    def _end_pause(self, values: Sequence[Any], transaction: Transaction) -> Answer:
        def end() -> None:
            self._database.pauses.pop((values[0], values[1]), None)

        transaction.effects.append(end)
        return self._pause(values, transaction)

    def _revise(self, values: Sequence[Any], transaction: Transaction) -> Answer:
        build = self._database.builds.get(tuple(values))

        def revise() -> None:
            if build is not None:
                build.revision += 1

        transaction.effects.append(revise)
        return []

    def _checkpoints(self, values: Sequence[Any], _: Transaction) -> Answer:
        build = self._database.builds.get(tuple(values))
        return [] if build is None else list(build.checkpoints.items())

    def _revision(self, values: Sequence[Any], _: Transaction) -> Answer:
        build = self._database.builds.get(tuple(values[:3]))
        return [(build.revision,)] if build and (build.state, build.identity) == tuple(values[3:]) else []

    def _standing(self, values: Sequence[Any], transaction: Transaction) -> Answer:
        revision = self._revision(values, transaction)
        if not revision:
            return []
        letters = self._database.builds[tuple(values[:3])].letters.values()
        failed = sum(letter.state == "failed" for letter in letters)
        blocked = sorted({letter.subject for letter in letters})
        return [(*revision[0], blocked, failed, len(letters) - failed, [])]

    def _columns(self, values: Sequence[Any], transaction: Transaction) -> Answer:
        tables = {name for build in self._database.builds.values() for name in build.tables}
        if values[0] not in tables | transaction.created:
            return []
        # No column has a default or rounds its values.
        return [(*column, None, False) for column in self._catalog[values[0].rpartition("_v")[0]]]

    def _lost(self, values: Sequence[Any], _: Transaction) -> Answer:
        build = self._database.builds.get(tuple(values))
        return [] if build is None else sorted(build.lost)

    def _lose(self, values: Sequence[Any], transaction: Transaction) -> Answer:
        build = self._database.builds[tuple(values[:3])]
        streams, firsts, lasts = map(elements, values[3:])
        gaps = list(zip(streams, map(int, firsts), map(int, lasts), strict=True))
        transaction.effects.append(lambda: build.lost.update(gaps))
        return []

    def _merge(self, upsert: re.Match[str], values: Sequence[Any]) -> None:
        columns, key_columns = _names(upsert["columns"]), _names(upsert["key"])
        rows = self._database.table(upsert["table"])
        effects = dict(_ASSIGNMENT.findall(upsert["action"]))
        for texts in zip(*map(elements, values), strict=True):
            new = dict(zip(columns, texts, strict=True))
            key: Key = tuple(new[column] for column in key_columns)
            row: Row | None = rows.get(key)
            if row is None:
                rows[key] = {column: text for column, text in new.items() if column not in key_columns}
                continue
            for column, effect in effects.items():
                is_added = effect.startswith("COALESCE") and column in row
                row[column] = str(int(row[column]) + int(new[column])) if is_added else new[column]


def _names(columns: str) -> list[str]:
    return [column.strip(' "') for column in columns.split(",")]


def elements(array: str) -> list[str]:
    """The elements of an array literal, each of which is quoted."""
    elements: list[str] = json.loads(f"[{array[1:-1]}]")
    return elements
