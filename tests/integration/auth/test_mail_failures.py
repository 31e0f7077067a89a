"""No mail is lost and none is sent twice, whatever happens to the sender, its consumer, the store or the database."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import psycopg
from nats.aio.client import Client as NATS

from contracts.durable_consumers import VERIFICATION_MAIL
from contracts.rpc.vestnik.auth.v1 import GetUserRequest
from infra.embedded.nats_server import NatsServer
from infra.rpc.call_context import Call
from infra.security.secrets import Secrets
from services.auth.mail.transport import FolderTransport
from tests.conditions import until
from tests.integration.auth.dying_sender import ACK_WAIT
from tests.integration.auth.mail_reactions import Recording, reacting, register, settled, tokens
from tests.integration.auth_and_session import Auth, mails, running, stored

ROOT = Path(__file__).parents[3]


async def test_two_replicas_share_the_work_and_send_each_mail_once(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    outbox = Recording()
    async with reacting(streams, replicas[0], outbox), reacting(streams, replicas[1], outbox):
        await asyncio.gather(*(register(replicas[number % 2], f"user{number}") for number in range(40)))
        await until(lambda: len(outbox.sent) >= 40)
        await settled(streams)
    assert Counter(mail.username for mail in outbox.sent) == {f"user{number}": 1 for number in range(40)}


async def test_a_mail_that_could_not_be_sent_is_tried_again(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    outbox = Recording(failures=3)
    async with reacting(streams, replicas[0], outbox):
        await register(replicas[0], "anna")
        await until(lambda: len(outbox.sent) == 1)
        await settled(streams)
    assert outbox.failures == 0


async def test_a_crash_between_sending_and_recording_costs_one_duplicate_at_most(
    replicas: tuple[Auth, Auth],
    streams: NATS,
    nats_server: NatsServer,
    tmp_path: Path,
) -> None:
    auth, folder = replicas[0], tmp_path / "mail"
    await register(auth, "anna")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.auth.dying_sender",
        nats_server.url,
        str(tmp_path / "secrets"),
        str(folder),
        cwd=ROOT,
    )
    assert await asyncio.wait_for(process.wait(), 60) == -9
    assert len(mails(folder)) == 1
    outbox = Recording()
    async with reacting(streams, auth, outbox, ack_wait=ACK_WAIT):
        await until(lambda: len(outbox.sent) == 1)
        await settled(streams)
    # The same event, hence the same Message-ID and, for a mail that is a file, the same file.
    assert outbox.sent[0].event_id in mails(folder)[0].name
    await FolderTransport(folder, "no-reply@localhost").send(outbox.sent[0])
    assert len(mails(folder)) == 1
    async with reacting(streams, auth, outbox, ack_wait=ACK_WAIT):
        await settled(streams)
    assert len(outbox.sent) == 1
    assert [event.type for event in await stored(streams, "AUTH")].count("mail.sent") == 1


async def test_even_a_consumer_that_was_lost_sends_nothing_twice(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    outbox = Recording()
    async with reacting(streams, replicas[0], outbox):
        await register(replicas[0], "anna")
        await until(lambda: len(outbox.sent) == 1)
        await settled(streams)
        await streams.jetstream().delete_consumer("AUTH", VERIFICATION_MAIL.name)
        await register(replicas[0], "boris")
        await until(lambda: len(outbox.sent) == 2)
        await settled(streams)
    assert [mail.username for mail in outbox.sent] == ["anna", "boris"]


async def test_mails_go_on_after_the_event_store_was_killed(
    replicas: tuple[Auth, Auth], streams: NATS, nats_server: NatsServer
) -> None:
    outbox = Recording()
    async with reacting(streams, replicas[0], outbox):
        await register(replicas[0], "anna")
        await until(lambda: len(outbox.sent) == 1)
        await settled(streams)
        nats_server.kill()
        await nats_server.start()
        await register(replicas[0], "boris")
        await until(lambda: len(outbox.sent) == 2)
    assert [mail.username for mail in outbox.sent] == ["anna", "boris"]


async def test_after_the_database_was_lost_users_are_back_and_no_mail_goes_out_again(
    replicas: tuple[Auth, Auth], streams: NATS, secrets: Secrets, database_url: str
) -> None:
    outbox, user_ids = Recording(), set[str]()
    async with running(streams, database_url, secrets), reacting(streams, replicas[0], outbox):
        for number in range(5):
            await register(replicas[0], f"user{number}")
        await until(lambda: len(outbox.sent) == 5)
        await settled(streams)
        user_ids = {replicas[0].tokens.read(token).user_id for mail in outbox.sent for token in tokens(mail)}
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("DROP SCHEMA public CASCADE")
        await connection.execute("CREATE SCHEMA public")
    async with running(streams, database_url, secrets) as services, reacting(streams, replicas[1], outbox):
        for user_id in user_ids:
            answer = await services.to_auth.call(
                services.auth.get_user,
                GetUserRequest(user_id=user_id),
                context=Call(request_id="request", actor=user_id),
            )
            assert answer.user is not None
            assert answer.user.email == f"{answer.user.username}@example.org"
        await settled(streams)
    assert len(user_ids) == len(outbox.sent) == 5
