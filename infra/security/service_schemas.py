"""Whose the read models of each service are at a database: everybody's, or each service's in a schema of its own.

An operator's command acts for the owner: what it makes is the service's, as if its own processes had made it, and it
can do no more than they could. Without schemas of the services' all of them share one login, and so does the operator.
"""

import asyncio
from collections.abc import Mapping
from typing import Self

from psycopg import AsyncConnection, OperationalError, ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from contracts.errors import Unavailable
from infra.operator_errors import OperatorError
from infra.security.postgres_roles import role_of
from infra.settings import SERVICES, BadSetting

_WITHIN = 10.0
# A schema of a service's, and whether this login may act for it.
_SCHEMAS = """
SELECT n.nspname::text, pg_has_role(r.oid, 'MEMBER')
FROM pg_namespace AS n JOIN pg_roles AS r ON r.rolname = n.nspname
WHERE n.nspname = ANY(%s)
"""


class NoSchemaAccess(OperatorError):
    """The login has no right to what belongs to a service."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"the login of VESTNIK_DATABASE_URL may not act for {service}: use that of {role_of('operator')}"
        )


class ServiceSchemas:
    def __init__(self, database_url: str, may_act: Mapping[str, bool]) -> None:
        self._database_url = database_url
        # By service with a schema of its own.
        self._may_act = may_act

    @classmethod
    async def discover(cls, database_url: str) -> Self:
        """Asks the database.

        Raises:
            BadSetting: the URL is none.
            Unavailable: it does not answer, or not to us.
        """
        try:
            async with asyncio.timeout(_WITHIN):
                async with await AsyncConnection.connect(database_url, connect_timeout=5) as conn:
                    cursor = await conn.execute(_SCHEMAS, ([role_of(service) for service in SERVICES],))
                    found = {str(schema): may_act is True for schema, may_act in await cursor.fetchall()}
        except ProgrammingError:
            # Its text would show the whole of the setting, and with it the password.
            raise BadSetting("VESTNIK_DATABASE_URL is not the address of a PostgreSQL database") from None
        except (OperationalError, TimeoutError) as error:
            reason = str(error).partition("\n")[0] or "no answer in time"
            raise Unavailable(f"The database does not answer: {reason}") from error
        return cls(
            database_url, {service: found[role_of(service)] for service in SERVICES if role_of(service) in found}
        )

    @property
    def are_separate(self) -> bool:
        """Whether services have schemas of their own."""
        return bool(self._may_act)

    def url(self, service: str) -> str:
        """How to connect so as to act for the service.

        Raises:
            NoSchemaAccess: this login may not.
        """
        if service not in self._may_act:
            return self._database_url
        if not self._may_act[service]:
            raise NoSchemaAccess(service)
        given = str(conninfo_to_dict(self._database_url).get("options") or "")
        role = role_of(service)
        options = f"{given} -c role={role} -c search_path={role}".strip()
        return make_conninfo(self._database_url, options=options)

    def urls(self) -> dict[str, list[str]]:
        """Every place where read models may be, and the services whose they are.

        Raises:
            NoSchemaAccess: this login may not act for one of them.
        """
        places: dict[str, list[str]] = {}
        for service in SERVICES:
            places.setdefault(self.url(service), []).append(service)
        return places
