"""Builds that are kept go some time after an erasure that they lack, without an operator."""

import asyncio
from datetime import timedelta

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Recorded
from contracts.events.user import UserCreated, UserErased
from contracts.positions import Position
from contracts.subjects import AUTH
from contracts.values.ids import new_id
from projections.engine import Projection, RowChanges, handles
from projections.engine.erasing import ERASED
from projections.engine.rebuild import kept_builds
from projections.engine.rebuild.build_cleanup import DroppedBuild
from projections.engine.rebuild.cutover import start_build
from projections.engine.rebuild.rebuild import NothingKept, rebuild
from projections.engine.running import unerased_builds
from projections.engine.running.unerased_builds import drop_unerased_builds
from projections.engine.storage.connections import connect
from projections.users import Users
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer

VERSION = Users.version
NOW, LATER = timedelta(0), timedelta(days=3)
BUILDS = "SELECT version, build, state FROM projection_builds ORDER BY version, build"


class Older(Users):
    name = "users"
    version = VERSION - 1


class OldestUsers(Projection):
    """The projection of users in a release without erasures."""

    name = "users"
    version = VERSION - 2
    streams = (AUTH,)
    tables = "CREATE TABLE {users} (user_id uuid PRIMARY KEY, username text)"

    @handles(UserCreated)
    def created(self, event: Recorded[UserCreated], write: RowChanges) -> None:
        write.upsert("users", key={"user_id": event.aggregate_id}, set={"username": event.data.username})


async def registered(writer: Writer) -> tuple[str, int]:
    """A new user, and the sequence of the registration."""
    user_id = new_id()
    return user_id, await writer.append(subjects.user(user_id), UserCreated(username="anna", display_name=""))


async def erased(writer: Writer, user_id: str) -> int:
    return await writer.append(subjects.user(user_id), UserErased(reason="requested"))


async def applied(run: Opened, last: int, *projections: type[Projection]) -> None:
    """Runs the projections until they have applied the event."""
    for projection in projections:
        runners = await run(projection)
        await runners.waiting.wait(projection, Position.at(AUTH, last), PATIENCE)


async def builds(pool: Pool) -> list[tuple[object, ...]]:
    async with pool.connection() as conn:
        return await (await conn.execute(BUILDS)).fetchall()


async def make_older(pool: Pool, table: str, column: str) -> None:
    async with pool.connection() as conn:
        await conn.execute(f"UPDATE {table} SET {column} = {column} - interval '4 days'".encode())


def ids(dropped: list[DroppedBuild]) -> list[tuple[int, int]]:
    return [(build.version, build.build) for build in dropped]


async def test_the_build_before_goes_three_days_after_an_erasure_that_it_lacks(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    anna, last = await registered(writer)
    runners = await run(Users)
    await runners.waiting.wait(Users, Position.at(AUTH, last), PATIENCE)
    await rebuild(Users, streams, database_url)
    assert await drop_unerased_builds(Users, database_url, NOW) == []
    await runners.waiting.wait(Users, Position.at(AUTH, await erased(writer, anna)), PATIENCE)
    assert await drop_unerased_builds(Users, database_url, LATER) == []
    assert await builds(pool) == [(VERSION, 1, "retired"), (VERSION, 2, "live")]
    assert ids(await drop_unerased_builds(Users, database_url, NOW)) == [(VERSION, 1)]
    assert await builds(pool) == [(VERSION, 2, "live")]
    with pytest.raises(NothingKept, match="data of a user who was erased is dropped 3 days after the erasure"):
        await rebuild(Users, streams, database_url, back=True)


async def test_a_build_that_has_the_erasure_stays(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    anna, _ = await registered(writer)
    await applied(run, await erased(writer, anna), Users)
    await rebuild(Users, streams, database_url)
    assert await drop_unerased_builds(Users, database_url, NOW) == []
    await rebuild(Users, streams, database_url, back=True)
    assert await builds(pool) == [(VERSION, 1, "live"), (VERSION, 2, "retired")]


async def test_an_interrupted_rebuild_goes(writer: Writer, run: Opened, pool: Pool, database_url: str) -> None:
    anna, last = await registered(writer)
    runners = await run(Users)
    await runners.waiting.wait(Users, Position.at(AUTH, last), PATIENCE)
    conn = await connect(database_url, "rebuild users")
    async with conn:
        await start_build(conn, Users)
    await runners.waiting.wait(Users, Position.at(AUTH, await erased(writer, anna)), PATIENCE)
    assert ids(await drop_unerased_builds(Users, database_url, NOW)) == [(VERSION, 2)]


async def test_an_interrupted_rebuild_that_has_not_come_to_old_erasures_may_go_on_for_three_days(
    writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    anna, _ = await registered(writer)
    await applied(run, await erased(writer, anna), Users)
    conn = await connect(database_url, "rebuild users")
    async with conn:
        await start_build(conn, Users)
    await make_older(pool, Users.view(ERASED), "at")
    assert await drop_unerased_builds(Users, database_url, LATER) == []
    await make_older(pool, "projection_checkpoints", "updated_at")
    assert ids(await drop_unerased_builds(Users, database_url, LATER)) == [(VERSION, 2)]


async def test_versions_that_no_service_runs_go_and_those_that_one_runs_stay(
    writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    anna, last = await registered(writer)
    stopped = [await run(version) for version in (OldestUsers, Older)]
    for runners, projection in zip(stopped, (OldestUsers, Older), strict=True):
        await runners.waiting.wait(projection, Position.at(AUTH, last), PATIENCE)
    await stopped[1].stop()
    last = await erased(writer, anna)
    await applied(run, last, Users)
    await stopped[0].waiting.wait(OldestUsers, Position.at(AUTH, last), PATIENCE)
    # A service of a release without erasures still runs its version.
    assert ids(await drop_unerased_builds(Users, database_url, NOW)) == [(VERSION - 1, 1)]
    await stopped[0].stop()
    assert ids(await drop_unerased_builds(Users, database_url, NOW)) == [(VERSION - 2, 1)]
    assert await builds(pool) == [(VERSION, 1, "live")]


async def test_no_build_goes_before_the_present_version_is_live(
    writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    anna, last = await registered(writer)
    runners = await run(Older)
    await runners.waiting.wait(Older, Position.at(AUTH, last), PATIENCE)
    await runners.waiting.wait(Older, Position.at(AUTH, await erased(writer, anna)), PATIENCE)
    await runners.stop()
    assert await drop_unerased_builds(Users, database_url, NOW) == []
    assert await builds(pool) == [(VERSION - 1, 1, "live")]


async def test_the_service_that_applies_the_read_model_drops_them(
    streams: Client,
    writer: Writer,
    run: Opened,
    pool: Pool,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unerased_builds, "_FIRST", 0.0)
    monkeypatch.setattr(unerased_builds, "_EVERY", 0.05)
    monkeypatch.setattr(kept_builds, "KEPT_AFTER_ERASURE", NOW)
    anna, last = await registered(writer)
    await applied(run, last, Users)
    await rebuild(Users, streams, database_url)
    assert (VERSION, 1, "retired") in await builds(pool)
    await erased(writer, anna)
    async with asyncio.timeout(PATIENCE):
        while await builds(pool) != [(VERSION, 2, "live")]:
            await asyncio.sleep(0.02)
