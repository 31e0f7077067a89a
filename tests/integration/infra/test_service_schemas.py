"""An operator's command acts for the service whose read model it is, with a schema a service as well as without."""

import pytest
from psycopg import AsyncConnection

from contracts.errors import Unavailable
from contracts.services import OPERATOR, SERVICES
from infra.security.postgres_roles import role_of
from infra.security.service_schemas import NoSchemaAccess, NoServiceSchema, ServiceSchemas
from infra.settings import BadSetting
from projections.engine.rebuild import cutover
from projections.engine.storage.connections import connect
from tests.integration.infra.postgres_logins import Logins, go_live, one_of

RELATIONS = "SELECT DISTINCT schemaname, tableowner FROM pg_tables WHERE schemaname ~ '^(vestnik|public)' ORDER BY 1"


async def test_what_an_operator_makes_for_a_service_is_the_services(postgres_logins: Logins) -> None:
    owners = await ServiceSchemas.discover(postgres_logins.url(OPERATOR))
    assert owners.are_separate
    for service in SERVICES:
        if service == OPERATOR:
            continue
        projection = one_of(service)
        conn = await connect(owners.url(service), "operator")
        await go_live(conn, projection)
        await conn.close()
        # The service goes on with it, and can drop it.
        own = await postgres_logins.of(service)
        live = await cutover.live_build(own, projection)
        assert live is not None
        assert live.build == 2
        await go_live(own, projection)
        await cutover.drop_build(own, projection, live)
    cursor = await (await postgres_logins.of(OPERATOR)).execute(RELATIONS.encode())
    assert await cursor.fetchall() == [(role_of(service), role_of(service)) for service in sorted(SERVICES)]


async def test_an_operator_who_acts_for_one_service_can_do_nothing_to_another(postgres_logins: Logins) -> None:
    owners = await ServiceSchemas.discover(postgres_logins.url(OPERATOR))
    conn = await connect(owners.url("contact"), "operator")
    cursor = await conn.execute("SELECT has_schema_privilege('vestnik_messaging', 'USAGE'), current_user::text")
    assert await cursor.fetchone() == (False, "vestnik_contact")
    await conn.close()


async def test_the_operators_service_keeps_its_read_models_in_its_own_schema(postgres_logins: Logins) -> None:
    owners = await ServiceSchemas.discover(postgres_logins.url(OPERATOR))
    conn = await connect(owners.url(OPERATOR), "operator")
    cursor = await conn.execute("SELECT current_user::text, current_schema()::text")
    assert await cursor.fetchone() == ("vestnik_operator", "vestnik_operator")
    projection = one_of(OPERATOR)
    live = await cutover.live_build(conn, projection)
    assert live is not None
    await go_live(conn, projection)
    await cutover.drop_build(conn, projection, live)
    await conn.close()


async def test_a_service_whose_schema_was_not_created_yet_is_named(postgres_logins: Logins) -> None:
    async with await AsyncConnection.connect(postgres_logins.database_url) as admin:
        await admin.execute("DROP SCHEMA vestnik_operator CASCADE")
    owners = await ServiceSchemas.discover(postgres_logins.url(OPERATOR))
    with pytest.raises(NoServiceSchema, match=r"no schema for operator: .* `vestnik postgres-logins`"):
        owners.url(OPERATOR)
    assert {service for services in owners.urls().values() for service in services} == {*SERVICES} - {OPERATOR}


async def test_options_of_the_given_url_stay(postgres_logins: Logins) -> None:
    database_url = f"{postgres_logins.url(OPERATOR)}?options=-c%20work_mem%3D5MB"
    conn = await connect((await ServiceSchemas.discover(database_url)).url("contact"), "operator")
    cursor = await conn.execute("SELECT current_setting('work_mem'), current_user::text")
    assert await cursor.fetchone() == ("5MB", "vestnik_contact")
    await conn.close()


async def test_a_services_login_is_no_operators(postgres_logins: Logins) -> None:
    owners = await ServiceSchemas.discover(postgres_logins.url("contact"))
    assert "contact" in owners.url("contact")
    with pytest.raises(NoSchemaAccess, match="may not act for messaging: use that of vestnik_operator"):
        owners.url("messaging")
    with pytest.raises(NoSchemaAccess):
        owners.urls()


async def test_where_services_have_no_schemas_all_share_the_login(database_url: str) -> None:
    owners = await ServiceSchemas.discover(database_url)
    assert not owners.are_separate
    assert owners.urls() == {database_url: list(SERVICES)}


async def test_the_error_of_an_unreachable_database_has_no_password(database_url: str) -> None:
    host = database_url.rsplit("@", 1)[1]
    with pytest.raises(Unavailable, match="does not answer") as refused:
        await ServiceSchemas.discover(f"postgresql://nobody:hidden@{host}")
    assert "hidden" not in str(refused.value)
    with pytest.raises(BadSetting) as bad:
        await ServiceSchemas.discover("postgresql://a:hidden@b/c?nonsense=1")
    assert "hidden" not in str(bad.value)


async def test_connections_for_services_are_distinguished_from_the_superusers(postgres_logins: Logins) -> None:
    owners = await ServiceSchemas.discover(postgres_logins.database_url)
    async with await AsyncConnection.connect(owners.url("auth")) as conn:
        cursor = await conn.execute("SELECT current_user::text, current_schema()::text")
        assert await cursor.fetchone() == ("vestnik_auth", "vestnik_auth")
