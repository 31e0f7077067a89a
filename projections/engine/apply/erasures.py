"""The erasure of users in a build: empties what is read of them, and removes what was written before."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Self

import msgspec
from psycopg import sql

from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.events.user import UserErased
from contracts.personal_data.keys_of_fields import KEY_OF, OwnerOf
from contracts.values.personal_data import Sealed
from projections.engine.erasing import ERASED, ErasingProjection
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.tables import Table
from streams.personal_data.fields import PersonalField, changed, fields_of

ERASES = UserErased.TYPE


class Erasures:
    """The erased users of one build, according to the events that it has read."""

    def __init__(self, projection: type[Projection], tables: Mapping[str, Table]) -> None:
        self.users: set[str] = set()
        self._table: str | None = None
        self._statements: Sequence[bytes] = ()
        if issubclass(projection, ErasingProjection):
            names = {name: sql.Identifier(table.physical).as_string(None) for name, table in tables.items()}
            self._table = names[ERASED]
            self._statements = [projection.with_tables(statement, names).encode() for statement in projection.erasures]

    @property
    def are_kept(self) -> bool:
        """Whether the projection has personal data."""
        return self._table is not None

    async def load(self, conn: Connection) -> Self:
        """Reads the users that were erased before the build's checkpoint."""
        if self._table is not None:
            cursor = await conn.execute(f"SELECT user_id::text FROM {self._table}".encode())  # noqa: S608
            self.users.update(str(user_id) for (user_id,) in await cursor.fetchall())
        return self

    def emptied(self, event: Recorded[Event]) -> Recorded[Event]:
        """The event without the texts of users who are erased; the same object if it has none."""
        users, data = self.users, event.data
        owners = _owners_in(type(data))
        if owners is not None and not any(owner(data, event.aggregate_id) in users for owner in owners):
            return event

        def kept(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed | None:
            if KEY_OF[field.name].owner(container, event.aggregate_id) not in users:
                return value
            return None if field.optional else ""

        emptied = changed(data, kept)
        return event if emptied is data else msgspec.structs.replace(event, data=emptied)

    async def write(self, conn: Connection, users: Collection[str]) -> None:
        """Removes the data of users from the rows."""
        for statement in self._statements if users else ():
            await conn.execute(statement, {"users": list(users)})


def owners_of(event: Recorded[Event]) -> set[str]:
    """The users whose texts the event has."""
    owners: set[str] = set()

    def kept(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed:
        owner = KEY_OF[field.name].owner(container, event.aggregate_id)
        if owner is not None:
            owners.add(owner)
        return value

    changed(event.data, kept)
    return owners


@cache
def _owners_in(kind: type[Event]) -> tuple[OwnerOf, ...] | None:
    """Finds in an event of this type the users whose data it has; None if some are within its members."""
    fields = fields_of(kind)
    if any("." in field.name.partition("/")[2] for field in fields):
        return None
    return tuple({KEY_OF[field.name].owner: None for field in fields})
