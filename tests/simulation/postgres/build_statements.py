"""The statements of rebuilds, cutovers and retries of dead letters, on the simulated database."""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

from psycopg import errors

from tests.simulation.postgres.database import BuildId, Database, Letter
from tests.simulation.postgres.statements import Answer, Transaction, elements

_VIEW = re.compile(r'CREATE OR REPLACE VIEW "(\w+)" AS SELECT \* FROM "(\w+)"')
_BUILDS = "SELECT projection, version, build, state, identity::text FROM projection_builds"


class BuildStatements:
    def __init__(self, database: Database) -> None:
        self._database = database
        self.known: tuple[tuple[str, Callable[..., Answer]], ...] = (
            (f"{_BUILDS} WHERE projection = %s AND version = %s AND state = 'retired'", self._retired),
            ("INSERT INTO projection_builds", self._add_build),
            ("INSERT INTO projection_checkpoints", self._add_checkpoint),
            ("DELETE FROM projection_builds", self._drop_build),
            ("SELECT tables, objects FROM projection_builds", self._tables),
            ("SELECT code FROM projection_builds", lambda *_: [(None,)]),
            ("UPDATE projection_builds SET tables", self._nothing),
            ("UPDATE projection_builds SET live_at", self._nothing),
            ("SELECT events FROM projection_progress", self._nothing),
            ("INSERT INTO projection_progress", self._nothing),
            ("DELETE FROM projection_progress", self._nothing),
            ("SELECT EXISTS (SELECT FROM pg_locks", lambda values, _: [(self._database.session_locks.has(values[0]),)]),
            ("SELECT EXISTS ( SELECT FROM pg_stat_activity", lambda *_: [(False,)]),
            ("SELECT EXISTS ( SELECT FROM pg_index", lambda *_: [(False,)]),
            ("SELECT l.pid", self._nothing),
            ("CREATE TABLE", self._nothing),
            ("DROP ", self._nothing),
            ("ANALYZE", self._nothing),
            ("INSERT INTO projection_dead_letters", self._add_letters),
            ("DELETE FROM projection_dead_letters", self._remove_letters),
            ("UPDATE projection_dead_letters SET state = 'failed', reason = %s, attempts = attempts", self._fail),
            ("SELECT sequence FROM projection_dead_letters", self._page),
            ("SELECT count(*) FROM projection_dead_letters", lambda *arguments: [(len(self._page(*arguments)),)]),
        )

    def show(self, text: str, transaction: Transaction) -> bool:
        """Points a view at a build's table, if that is what the statement does."""
        view = _VIEW.fullmatch(text)
        if view is not None:
            transaction.effects.append(lambda: self._database.shown.update({view[1]: view[2]}))
        return view is not None

    async def lock(self, owner: object, values: Sequence[Any], transaction: Transaction) -> Answer:
        """Locks a build in a state until the end of the transaction."""
        key, state = _id(values), values[3]
        if not self._is(key, state):
            return []
        await self.acquire(key, owner, transaction)
        return [(1,)] if self._is(key, state) else []

    async def set_state(self, owner: object, values: dict[str, Any], transaction: Transaction) -> Answer:
        key = values["projection"], values["version"], values["build"]
        await self.acquire(key, owner, transaction)
        build, state = self._database.builds.get(key), values["state"]

        def change() -> None:
            if build is not None:
                build.state = state
                if state == "retired":
                    build.retired = next(self._database.numbers)
                    self._database.replaced[key[:2]] = dict(build.checkpoints)
                elif state == "live":
                    before = self._database.replaced.get(key[:2], {})
                    self._database.cutovers.append((before, dict(build.checkpoints)))

        transaction.effects.append(change)
        return []

    async def acquire(self, name: object, owner: object, transaction: Transaction) -> None:
        """
        Raises:
            LockNotAvailable: within the transaction's limit.
        """
        try:
            async with asyncio.timeout(transaction.lock_timeout):
                await self._database.row_locks.acquire(name, owner)
        except TimeoutError:
            raise errors.LockNotAvailable("canceling statement due to lock timeout") from None

    def _is(self, key: BuildId, state: str) -> bool:
        build = self._database.builds.get(key)
        return build is not None and build.state == state

    def _nothing(self, *_: object) -> Answer:
        return []

    def _retired(self, values: Sequence[Any], _: Transaction) -> Answer:
        retired = [
            (build.retired, (*key, build.state, build.identity))
            for key, build in self._database.builds.items()
            if key[:2] == tuple(values) and build.state == "retired"
        ]
        return [row for _, row in sorted(retired, reverse=True)]

    def _add_build(self, values: dict[str, Any], transaction: Transaction) -> Answer:
        name, version = values["projection"], values["version"]
        number = max((key[2] for key in self._database.builds if key[:2] == (name, version)), default=0) + 1
        build = self._database.empty_build(self._database.projections[name], number, values["state"])
        transaction.created |= build.tables.keys()
        transaction.builds[name, version, number] = build
        transaction.effects.append(lambda: self._database.builds.update({(name, version, number): build}))
        return [(name, version, number, build.state, build.identity)]

    def _add_checkpoint(self, values: Sequence[Any], transaction: Transaction) -> Answer:
        *_, stream, sequence = values
        transaction.builds[_id(values)].checkpoints.setdefault(stream, sequence)
        return []

    def _drop_build(self, values: Sequence[Any], transaction: Transaction) -> Answer:
        def drop() -> None:
            self._database.builds.pop(_id(values), None)

        transaction.effects.append(drop)
        return []

    def _tables(self, values: Sequence[Any], _: Transaction) -> Answer:
        build = self._database.builds.get(_id(values))
        return [] if build is None else [(list(build.tables), None)]

    def _add_letters(self, values: Sequence[Any], transaction: Transaction) -> Answer:
        build = self._database.builds[_id(values)]
        streams, sequences, subjects, types, states = map(elements, values[3:8])
        letters = {
            (stream, int(sequence)): Letter(subject, kind, state)
            for stream, sequence, subject, kind, state in zip(streams, sequences, subjects, types, states, strict=True)
        }
        assert not letters.keys() & build.letters.keys(), "a dead letter is stored twice"
        transaction.effects.append(lambda: build.letters.update(letters))
        return []

    def _remove_letters(self, values: Sequence[Any], transaction: Transaction) -> Answer:
        build, stream, sequences = self._database.builds[_id(values)], values[3], values[4]
        removed = [(stream, sequence) for sequence in sequences if (stream, sequence) in build.letters]

        def remove() -> None:
            for position in removed:
                del build.letters[position]

        transaction.effects.append(remove)
        return [(build.letters[position].subject,) for position in removed]

    def _fail(self, values: Sequence[Any], transaction: Transaction) -> Answer:
        _, _, *build_id, stream, sequence = values
        letter = self._database.builds[_id(build_id)].letters[stream, sequence]

        def fail() -> None:
            letter.state = "failed"

        transaction.effects.append(fail)
        return []

    def _page(self, values: Sequence[Any], _: Transaction) -> Answer:
        """The dead letters of an aggregate."""
        build, stream, subject = self._database.builds.get(_id(values)), values[3], values[4]
        positions = [] if build is None else sorted(build.letters)
        return [
            (sequence,)
            for letter_stream, sequence in positions
            if build and (letter_stream, build.letters[letter_stream, sequence].subject) == (stream, subject)
        ]


def _id(values: Sequence[Any]) -> BuildId:
    return values[0], values[1], values[2]
