"""A read model is compared with its streams; every row changed by hand is named, and the shadow goes."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Recorded
from contracts.errors import Unavailable
from contracts.events.message import MessageSent
from contracts.positions import Position
from contracts.subjects import MESSAGING
from infra.embedded.nats_server import NatsServer
from projections.engine import RowChanges, Runners, handles
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.inspection import isolated_build
from projections.engine.inspection.table_diff import Difference, Kind
from projections.engine.inspection.verify import NotBuilt, verify
from projections.engine.rebuild.rebuild import rebuild
from projections.notifications import Notifications
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids, seen
from tests.integration.projections.sample_projection import POISON, Letters

SHADOWS = "SELECT count(*) FROM projection_builds WHERE state = 'shadow'"
TEMPORARY_TABLES = "SELECT count(*)::int FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'"
KILLED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shadow letters'"
SHADOW_TABLES = "SELECT count(*) FROM pg_class WHERE relname LIKE 'letters%_b2' AND relkind = 'r'"


async def caught_up(runners: Runners, last: int) -> None:
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)


async def test_an_untouched_read_model_is_equal_while_others_write(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    conversations = conversation_ids(5)
    last = await writer.fill(conversations, 40)
    last = await writer.append(subjects.read_mark(conversations[0], "x"), seen(conversations[0], 2))
    await caught_up(runners, last)
    verdict = await verify(Letters, streams, database_url)
    assert verdict.equal
    assert verdict.differences == []
    assert (verdict.position, verdict.events, verdict.rows) == ({MESSAGING: last}, 201, 205)
    async with pool.connection() as conn:
        assert await (await conn.execute(SHADOWS)).fetchone() == (0,)
        assert await (await conn.execute(SHADOW_TABLES)).fetchone() == (0,)


async def test_rows_changed_added_and_deleted_by_hand_are_named(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    one, other = conversation_ids(2)
    await caught_up(runners, await writer.fill([one, other], 3))
    added = conversation_ids(1)[0]
    async with pool.connection() as conn:
        await conn.execute("UPDATE letters_v1 SET messages = 4 WHERE conversation_id = %s", (one,))
        await conn.execute("INSERT INTO letters_v1 (conversation_id, messages) VALUES (%s, 7)", (added,))
        await conn.execute("DELETE FROM letters_texts_v1 WHERE conversation_id = %s AND sequence = 2", (other,))
    verdict = await verify(Letters, streams, database_url)
    assert not verdict.equal
    assert (verdict.changed, verdict.extra, verdict.missing) == (1, 1, 1)
    assert sorted(verdict.differences, key=lambda difference: difference.kind) == [
        Difference("letters", Kind.CHANGED, {"conversation_id": one}, {"messages": ("4", "3")}),
        Difference(
            "letters",
            Kind.EXTRA,
            {"conversation_id": added},
            {
                "messages": ("7", None),
                "last_text": (None, None),
                "last_sequence": (None, None),
                "seen": (None, None),
            },
        ),
        Difference("texts", Kind.MISSING, {"conversation_id": other, "sequence": "2"}, {"text": (None, "text 1")}),
    ]
    async with pool.connection() as conn:
        assert await (await conn.execute(SHADOWS)).fetchone() == (0,)


async def test_differences_are_named_up_to_a_limit_and_all_counted(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    await caught_up(runners, await writer.fill(conversation_ids(1), 100))
    async with pool.connection() as conn:
        await conn.execute("UPDATE letters_texts_v1 SET text = text || '!'")
    verdict = await verify(Letters, streams, database_url)
    assert verdict.changed == 100
    assert len(verdict.differences) == 20


async def test_a_projection_that_was_never_built_cannot_be_verified(streams: Client, database_url: str) -> None:
    with pytest.raises(NotBuilt):
        await verify(Letters, streams, database_url)


@pytest.mark.parametrize(
    ("hosts", "reason"),
    [
        ("127.0.0.1:1,{standby}", r"no primary answered \(host: '127.0.0.1', port: '1'.*refused"),
        ("{standby},{standby}", "all of its hosts are read-only"),
    ],
)
async def test_a_primary_that_does_not_answer_is_the_reason_and_not_the_standby_beside_it(
    streams: Client, database_url: str, hosts: str, reason: str
) -> None:
    parts = urlsplit(database_url)
    login, _, server = parts.netloc.rpartition("@")
    read_only = "target_session_attrs=read-write&options=-c%20default_transaction_read_only%3Don"
    url = urlunsplit(parts._replace(netloc=f"{login}@{hosts.format(standby=server)}", query=read_only))
    with pytest.raises(Unavailable, match=f"^The database does not answer: {reason}"):
        await verify(Letters, streams, url)


async def test_a_verification_that_is_stopped_leaves_no_shadow_to_the_next(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    await caught_up(runners, await writer.fill(conversation_ids(3), 20))

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        await verify(Letters, streams, database_url, stop)
    assert (await verify(Letters, streams, database_url)).equal
    async with pool.connection() as conn:
        assert await (await conn.execute(SHADOWS)).fetchone() == (0,)


async def test_several_verifications_of_one_read_model_do_not_disturb_each_other(
    streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    runners = await run(Letters)
    await caught_up(runners, await writer.fill(conversation_ids(3), 100))
    verdicts = await asyncio.gather(*(verify(Letters, streams, database_url) for _ in range(3)))
    assert [verdict.equal for verdict in verdicts] == [True] * 3


async def test_a_verification_that_is_killed_leaves_nothing_at_all(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Letters)
    await caught_up(runners, await writer.fill(conversation_ids(3), 100))
    seen: list[int] = []

    def look_and_die(progress: object) -> None:
        with psycopg.connect(database_url, autocommit=True) as conn:
            row = conn.execute(TEMPORARY_TABLES).fetchone()
            assert row is not None
            seen.append(row[0])
            conn.execute(KILLED)

    with pytest.raises(Unavailable):
        await verify(Letters, streams, database_url, look_and_die)
    assert seen[0] > 0
    async with pool.connection() as conn, asyncio.timeout(60):
        while await (await conn.execute(TEMPORARY_TABLES)).fetchone() != (0,):
            await asyncio.sleep(0.01)
        assert await (await conn.execute(SHADOWS)).fetchone() == (0,)


async def test_events_that_the_code_of_today_can_apply_are_missing_from_the_live_rows(
    streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    class Mended(Letters):
        name = "letters"

        @handles(MessageSent)
        def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
            key = {"conversation_id": event.aggregate_id}
            write.upsert("letters", key=key, set={"last_text": "", "last_sequence": 0}, add={"messages": 1})

    runners = await run(Letters)
    (conversation,) = conversation_ids(1)
    await caught_up(runners, await writer.say(conversation, "a", POISON, "b"))
    by_the_same_code = await verify(Letters, streams, database_url)
    assert (by_the_same_code.equal, by_the_same_code.dead_letters, by_the_same_code.dead_letters_rebuilt) == (
        True,
        2,
        2,
    )
    verdict = await verify(Mended, streams, database_url)
    assert (verdict.equal, verdict.dead_letters, verdict.dead_letters_rebuilt) == (False, 2, 0)
    table_diff = next(difference for difference in verdict.differences if difference.table == "letters")
    assert table_diff.columns["messages"] == ("1", "3")


async def test_the_command_verifies_the_others_where_one_was_never_built(
    nats_server: NatsServer, streams: Client, writer: Writer, run: Opened, database_url: str, tmp_path: Path
) -> None:
    runners = await run(Notifications)
    await runners.waiting.wait(Notifications, Position.at(MESSAGING, await writer.fill(conversation_ids(1), 3)), 60)
    own = {"VESTNIK_NATS_URL": nats_server.url, "VESTNIK_DATABASE_URL": database_url, "VESTNIK_DATA_DIR": str(tmp_path)}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "infra.cli.main", "verify", "users", "notifications", "--json"],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    outcome = json.loads(done.stdout)
    assert (done.returncode, outcome["equal"]) == (1, False)
    assert [(verdict["projection"], verdict["equal"]) for verdict in outcome["projections"]] == [
        ("notifications", True)
    ]
    assert outcome["failed"][0]["projection"] == "users"
    assert "has no live build of version" in done.stderr


async def test_tables_that_two_rebuilds_have_replaced_meanwhile_are_still_verified(
    streams: Client, writer: Writer, run: Opened, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await run(Letters)
    await caught_up(runners, await writer.fill(conversation_ids(2), 3))
    start = isolated_build.create_isolated_build

    async def after_rebuilds(*about: Any) -> BuildWriter:  # noqa: ANN401 - passed on
        for _ in range(2):
            await rebuild(Letters, streams, database_url)
        return await start(*about)

    monkeypatch.setattr(isolated_build, "create_isolated_build", after_rebuilds)
    verdict = await verify(Letters, streams, database_url)
    assert (verdict.equal, verdict.build) == (True, 1)


async def test_a_stream_that_is_gone_or_silent_is_a_failure_that_says_so(
    streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    runners = await run(Letters)
    last = await writer.fill(conversation_ids(1), 3)
    await caught_up(runners, last)
    await runners.stop()
    await streams.request(f"$JS.API.STREAM.DELETE.{MESSAGING}", b"")
    with pytest.raises(isolated_build.StreamTooShort, match=f"ends at 0, before the read model's checkpoint {last}"):
        await verify(Letters, streams, database_url)
