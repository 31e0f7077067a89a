"""The embedded PostgreSQL: committed rows survive SIGKILL, stale pid files do not matter, and it can be started as
root."""

import os
import signal
from pathlib import Path

import psycopg
import pytest

from infra.embedded import postgres_server
from infra.embedded.exec_wrapper import NOBODY
from infra.embedded.postgres_server import PostgresFailed, PostgresServer
from infra.embedded.run_as import postgres_identity
from infra.security.secrets import DATABASE_PARTIES


async def _run(url: str, command: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(command.encode())


async def _rows(url: str, query: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def test_committed_rows_survive_sigkill_and_the_port_stays(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres")
    url = await server.start()
    await _run(url, "CREATE TABLE kept AS SELECT generate_series(1, 100) AS n")
    server.kill()
    assert await server.wait() == -signal.SIGKILL
    assert await server.start() == url
    assert await _rows(url, "SELECT count(*) FROM kept") == [(100,)]
    await server.stop()


async def test_a_stale_pid_file_that_names_a_living_process_does_not_matter(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres")
    await server.start()
    await server.stop()
    (tmp_path / "postgres" / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    await server.start()
    await server.stop()


async def test_everybody_has_his_login_also_in_a_database_that_is_made_again(tmp_path: Path) -> None:
    passwords = {party: f"secret of {party}".replace(" ", "") for party in DATABASE_PARTIES}
    server = PostgresServer(tmp_path / "postgres", passwords=passwords)
    url = await server.start()
    await _run(server.url_of("contact"), "CREATE TABLE kept AS SELECT 1 AS n")
    server.kill()
    await server.wait()
    await server.start()
    assert await _rows(server.url_of("contact"), "SELECT n FROM vestnik_contact.kept") == [(1,)]
    await _run(url.rsplit("/", 1)[0] + "/postgres", "DROP DATABASE vestnik WITH (FORCE)")
    server.kill()
    await server.wait()
    await server.start()
    await _run(server.url_of("contact"), "CREATE TABLE kept AS SELECT 2 AS n")
    assert await _rows(server.url_of("operator"), "SELECT n FROM vestnik_contact.kept") == [(2,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await _run(server.url_of("auth"), "SELECT n FROM vestnik_contact.kept")
    await server.stop()


async def test_a_folder_of_an_earlier_release_has_todays_rights_after_the_next_start(tmp_path: Path) -> None:
    passwords = dict.fromkeys(DATABASE_PARTIES, "secret")
    earlier = PostgresServer(tmp_path / "postgres", passwords=passwords)
    url = await earlier.start()
    for statement in (
        "ALTER ROLE vestnik_operator INHERIT",
        "REVOKE vestnik_contact FROM vestnik_operator",
        "GRANT vestnik_contact TO vestnik_operator",
        "GRANT CONNECT ON DATABASE postgres TO PUBLIC",
        "GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC",
    ):
        await _run(url, statement)
    await _run(earlier.url_of("contact"), "CREATE TABLE kept AS SELECT 1 AS n")
    await _run(earlier.url_of("operator"), "DELETE FROM vestnik_contact.kept")
    await earlier.stop()

    server = PostgresServer(tmp_path / "postgres", passwords=passwords)
    await server.start()
    for party, statement in (
        ("operator", "INSERT INTO vestnik_contact.kept VALUES (2)"),
        ("contact", "SELECT lo_create(0)"),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await _run(server.url_of(party), statement)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        await _run(server.url_of("contact").rsplit("/", 1)[0] + "/postgres", "SELECT 1")
    assert await _rows(server.url_of("operator"), "SELECT n FROM vestnik_contact.kept") == []
    await server.stop()


async def test_logins_that_cannot_be_made_are_said_in_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    server = PostgresServer(
        tmp_path / "postgres",
        passwords=dict.fromkeys(DATABASE_PARTIES, "secret"),
        settings={"default_transaction_read_only": "on"},
    )
    with pytest.raises(PostgresFailed, match=r"logins: cannot execute .* in a read-only transaction"):
        await server.start()
    assert await server.wait() == -signal.SIGKILL


async def test_an_interrupted_first_start_is_made_good(tmp_path: Path) -> None:
    unfinished = tmp_path / "postgres" / "cluster.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    server = PostgresServer(tmp_path / "postgres")
    await server.start()
    await server.stop()


async def test_a_dropped_database_is_made_again_at_the_next_start(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres")
    url = await server.start()
    await _run(url, "CREATE TABLE gone (n int)")
    await _run(url.rsplit("/", 1)[0] + "/postgres", "DROP DATABASE vestnik")
    await server.stop()
    url = await server.start()
    assert await _rows(url, "SELECT to_regclass('gone')::text") == [(None,)]
    await server.stop()


async def test_it_is_durable_speaks_utf8_and_wants_the_password(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres", password="right")
    url = await server.start()
    query = "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('server_encoding')"
    assert await _rows(url, query) == [("on", "on", "UTF8")]
    with pytest.raises(psycopg.OperationalError, match="password"):
        await psycopg.AsyncConnection.connect(url.replace("right", "wrong"))
    await server.stop()


async def test_another_password_than_the_clusters_is_said_clearly(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres", password="first")
    await server.start()
    await server.stop()
    with pytest.raises(PostgresFailed, match="a different password"):
        await PostgresServer(tmp_path / "postgres", password="second").start()


@pytest.mark.skipif(os.getuid() != 0, reason="only root steps aside")
async def test_root_may_move_between_a_namespace_and_the_user_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = PostgresServer(tmp_path / "postgres")
    identity = await postgres_identity()
    assert identity in ("namespace", "nobody")
    url = await server.start()
    await _run(url, "CREATE TABLE kept AS SELECT 1 AS n")
    await server.stop()

    async def only_nobody() -> str:
        return "nobody"

    with monkeypatch.context() as without_namespaces:
        without_namespaces.setattr(postgres_server, "postgres_identity", only_nobody)
        await server.start()
        assert await _rows(url, "SELECT n FROM kept") == [(1,)]
        assert os.stat(f"/proc/{server.pid}").st_uid == NOBODY
        await server.stop()
    await server.start()
    assert await _rows(url, "SELECT n FROM kept") == [(1,)]
    await server.stop()
