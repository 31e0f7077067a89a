"""Where each service's read models are: in one shared schema, or in a schema per service.

With a schema per service, an operator's command acts as the owner: what it creates belongs to the service, and it has
the service's rights and no more. Without them all services and the operator share one login.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Self

from psycopg import AsyncConnection, OperationalError, ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from contracts.errors import Unavailable
from contracts.services import SERVICES
from infra import url_files
from infra.operator_errors import OperatorError
from infra.security.postgres_roles import role_of
from infra.settings import BadSetting

# Seconds.
_WITHIN = 10.0
_CACHED_SECONDS = 60.0
# With this value the RPC client does not retry by itself (infra/rpc/client.py).
_RETRY_AFTER = 2
# Schemas of services, and whether this login may act as their owner.
_SCHEMAS = """
SELECT n.nspname::text, pg_has_role(r.oid, 'MEMBER')
FROM pg_namespace AS n JOIN pg_roles AS r ON r.rolname = n.nspname
WHERE n.nspname = ANY(%s)
"""


class NoSchemaAccess(OperatorError):
    """The login has no access to a service's schema."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"the login of VESTNIK_DATABASE_URL may not act for {service}: use that of {role_of('operator')}"
        )


class NoServiceSchema(OperatorError):
    """Services have schemas of their own, and this one has none yet."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"the database has no schema for {service}: a superuser has to run the output of `vestnik postgres-logins`"
        )


class ServiceSchemas:
    def __init__(self, database_url: str, may_act: Mapping[str, bool]) -> None:
        self._database_url = database_url
        # By service, for those that have a schema of their own.
        self._may_act = may_act

    @classmethod
    async def discover(cls, database_url: str) -> Self:
        """Queries the database for the services' schemas.

        Raises:
            BadSetting: the URL is not valid.
            Unavailable: the database does not answer, or refuses the login.
        """
        try:
            async with asyncio.timeout(_WITHIN):
                async with await AsyncConnection.connect(url_files.read(database_url), connect_timeout=5) as conn:
                    cursor = await conn.execute(_SCHEMAS, ([role_of(service) for service in SERVICES],))
                    schemas = {str(schema): may_act is True for schema, may_act in await cursor.fetchall()}
        except ProgrammingError:
            # The error's text would show the whole setting, including the password.
            raise BadSetting("VESTNIK_DATABASE_URL is not the address of a PostgreSQL database") from None
        except (OperationalError, TimeoutError, url_files.UnreadableUrl) as error:
            reason = str(error).partition("\n")[0] or "no answer in time"
            raise Unavailable(f"The database does not answer: {reason}") from error
        return cls(
            database_url, {service: schemas[role_of(service)] for service in SERVICES if role_of(service) in schemas}
        )

    @property
    def are_separate(self) -> bool:
        """Whether services have schemas of their own."""
        return bool(self._may_act)

    def url(self, service: str) -> str:
        """The URL for connecting as the service.

        Raises:
            NoServiceSchema: the service has no schema, although others have.
            NoSchemaAccess: this login may not act for the service.
        """
        if not self.are_separate:
            return self._database_url
        if service not in self._may_act:
            raise NoServiceSchema(service)
        if not self._may_act[service]:
            raise NoSchemaAccess(service)
        present_options = str(conninfo_to_dict(url_files.read(self._database_url)).get("options") or "")
        role = role_of(service)
        options = f"{present_options} -c role={role} -c search_path={role}".strip()
        return url_files.with_options(self._database_url, options)

    def urls(self) -> dict[str, list[str]]:
        """The services by the URL at which their read models are, without services that have no schema yet.

        Raises:
            NoSchemaAccess: this login may not act for one of them.
        """
        schemas_of: dict[str, list[str]] = {}
        for service in self._may_act or SERVICES:
            schemas_of.setdefault(self.url(service), []).append(service)
        return schemas_of


class CachedSchemas:
    """The services' schemas, queried again after 60 s, since they rarely change."""

    def __init__(self, database_url: str, *, is_silent: Callable[[], bool] = lambda: False) -> None:
        """`is_silent`: whether the database is known not to answer, so that calls fail without waiting for it."""
        self._database_url = database_url
        self._is_silent = is_silent
        self._known: tuple[float, ServiceSchemas] | None = None

    async def get(self) -> ServiceSchemas:
        """
        Raises: as `ServiceSchemas.discover` does.
        """
        if self._is_silent():
            raise Unavailable("The database does not answer.", retry_after=_RETRY_AFTER)
        now = time.monotonic()
        if self._known is None or now - self._known[0] > _CACHED_SECONDS:
            self._known = now, await ServiceSchemas.discover(self._database_url)
        return self._known[1]
