"""What follows a request and an erasure: sessions end, and files, mails and drafts are removed."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nats.aio.client import Client as NATS
from nats.js.errors import NotFoundError

from contracts.durable_consumers import ERASURES
from contracts.envelope import Provenance, Recorded
from contracts.errors import Unavailable
from contracts.events.data_export import DataExportMade, DataExportRequested
from contracts.events.event import Event
from contracts.events.session import SessionRevoked
from contracts.events.user import UserErased, UserErasureCancelled, UserErasureRequested
from contracts.personal_data.key_ids import person_key
from contracts.rpc.vestnik.auth.v1 import (
    AuthServiceStub,
    DeleteAccountRequest,
    EraseAccountRequest,
    LoginRequest,
    LoginResponse,
)
from contracts.subjects import DATA_EXPORTS, DATA_KEYS, DRAFTS, session, user
from contracts.values.ids import new_id
from contracts.values.timestamps import from_unix_ms
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.security.secrets import Secrets
from services.auth.data_export.store import FileStore
from services.auth.erasure.commands import Erasures
from services.auth.erasure.process import ErasureProcess
from services.auth.erasure.queries import DueErasure
from services.auth.erasure.reactions import AccountEndings
from services.auth.erasure.removal import Removal
from services.auth.mail.templates import Mail
from services.auth.mail.transport import FolderTransport
from services.messaging.settings.drafts import Drafts
from streams.jetstream.key_value import KeyValue
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.personal_data.sealer import Sealer
from streams.personal_data.unsealer import Unsealer
from streams.topology import ensure_bucket
from tests.integration import recorded_keys
from tests.integration.auth.accounts import NO_ACTOR
from tests.integration.auth_and_session import DAY, ERASURE, PASSWORD, Clock, Services, mails
from tests.integration.recorded_keys import RING


class Removals:
    """Counts the removals of users' data; its first calls fail."""

    def __init__(self, failures: int = 0) -> None:
        self.of: list[str] = []
        self._failures = failures

    async def remove_of(self, user_id: str) -> None:
        if self._failures:
            self._failures -= 1
            raise Unavailable
        self.of.append(user_id)


async def log_in(services: Services) -> LoginResponse:
    request = LoginRequest(login="anna", password=PASSWORD, device="phone", address="192.0.2.1")
    return await services.to_auth.call(services.auth.login, request)


async def delete(services: Services, user_id: str) -> datetime:
    request = DeleteAccountRequest(user_id=user_id, password=PASSWORD)
    answer = await services.to_auth.call(
        services.auth.delete_account, request, context=Call(request_id="request", actor=user_id)
    )
    return from_unix_ms(answer.erased_at)


async def end_of(services: Services, logged_in: LoginResponse) -> str | None:
    """The reason of the session's end."""
    assert logged_in.tokens is not None
    last = await services.log.last(session(logged_in.tokens.session_id))
    assert last is not None
    event = last.open().data
    return event.reason if isinstance(event, SessionRevoked) else None


async def last_event(services: Services, user_id: str) -> Recorded[Event]:
    message = await services.log.last(user(user_id))
    assert message is not None
    return message.open()


def removal(services: Services, nats: NATS, secrets: Secrets, drafts: Removals, mails: Removals) -> Removal:
    files = FileStore(KeyValue(nats, DATA_EXPORTS), secrets.mail_key, most_bytes=1024)
    keys = KeyDestruction(KeyStore(nats))
    return Removal(services.auth_replica.aggregates, keys, services.sessions, drafts, files, mails)


def endings(services: Services, nats: NATS, secrets: Secrets, drafts: Removals, mails: Removals) -> AccountEndings:
    left = removal(services, nats, secrets, drafts, mails)
    return AccountEndings(services.auth_replica.aggregates.users, services.sessions, left)


async def test_all_sessions_end_with_the_request_and_a_login_says_that_it_has_cancelled_it(
    services: Services, anna: str
) -> None:
    phone, laptop = await log_in(services), await log_in(services)
    first, second = await asyncio.gather(delete(services, anna), delete(services, anna))
    assert first == second
    assert abs(first - datetime.now(UTC) - 14 * DAY) < timedelta(minutes=5)
    assert [await end_of(services, device) for device in (phone, laptop)] == ["erasure_requested"] * 2
    again = await log_in(services)
    assert (again.erasure_cancelled, await end_of(services, again)) == (True, None)
    assert not (await log_in(services)).erasure_cancelled


async def test_sessions_that_could_not_end_with_the_request_end_later_but_not_that_of_a_login_that_cancelled_it(
    services: Services, anna: str, streams: NATS, secrets: Secrets
) -> None:
    before = await log_in(services)
    request = UserErasureRequested(erase_at=datetime.now(UTC) + DAY)
    await services.auth_replica.aggregates.users.execute(anna, lambda _: (request,), NO_ACTOR)
    event = await last_event(services, anna)
    reaction = endings(services, streams, secrets, Removals(), Removals())
    await reaction.effects()[event.type](event)
    assert await end_of(services, before) == "erasure_requested"
    after = await log_in(services)
    await reaction.effects()[event.type](event)
    assert (after.erasure_cancelled, await end_of(services, after)) == (True, None)


async def test_what_an_erasure_leaves_outside_of_the_streams_is_removed_until_that_is_done(
    services: Services, anna: str, streams: NATS, secrets: Secrets
) -> None:
    for bucket in (DATA_EXPORTS, DATA_KEYS):
        await ensure_bucket(streams, bucket, replicas=1)
    await services.auth_replica.data_keys(streams).create([person_key(anna)])
    logged_in = await log_in(services)
    files = FileStore(KeyValue(streams, DATA_EXPORTS), secrets.mail_key, most_bytes=1024**2)
    file = files.new_file(anna)
    file.write(b"x" * 1_000)
    await file.flush_parts(last=True)
    export_id = new_id()
    made = DataExportMade(export_id=export_id, file_id=file.file_id, parts=file.parts, size=file.size)
    exports = services.auth_replica.aggregates.data_exports
    await exports.execute(anna, lambda _: (DataExportRequested(export_id=export_id), made), NO_ACTOR)
    operator = Client("auth", me="operator", settings=services.settings, secrets=services.secrets)
    try:
        request, erase = EraseAccountRequest(user_id=anna), operator.stub(AuthServiceStub).erase_account
        first, second = [await operator.call(erase, request, timeout=10.0, idempotent=True) for _ in range(2)]
    finally:
        operator.close()
    # The command itself ends the sessions.
    assert await end_of(services, logged_in) == "account_erased"
    assert (first.erased, second.erased) == (True, False)
    assert first.free_at is not None
    event = await last_event(services, anna)
    assert event.data == UserErased(reason="operator")
    drafts, written = Removals(failures=1), Removals()
    reaction = endings(services, streams, secrets, drafts, written)
    with pytest.raises(Unavailable):
        await reaction.erased(event)  # type: ignore[arg-type]  # it is one of an erasure
    # What failed has held up nothing else.
    assert (drafts.of, written.of) == ([], [anna])
    assert await files.read(anna, file.file_id, 0) is None
    [key] = await KeyStore(streams).versions(person_key(anna))
    assert key.record.destroyed_at is not None
    for _ in range(2):
        await reaction.erased(event)  # type: ignore[arg-type]  # as above
    assert drafts.of == [anna] * 2


class Noted(Removal):
    def __init__(self) -> None:
        self.of: list[str] = []

    async def remove(self, user_id: str, provenance: Provenance) -> None:
        self.of.append(user_id)


async def test_a_new_consumer_does_not_read_what_was_before_it(services: Services, anna: str, streams: NATS) -> None:
    users, noted = services.auth_replica.aggregates.users, Noted()
    reaction = asyncio.create_task(AccountEndings(users, services.sessions, noted).run(streams))
    try:
        async with asyncio.timeout(60):
            while not await is_made(streams):
                await asyncio.sleep(0.01)
            await users.execute(anna, lambda _: (UserErased(reason="operator"),), NO_ACTOR)
            while not noted.of:
                await asyncio.sleep(0.01)
        info = await streams.jetstream().consumer_info(ERASURES.stream, ERASURES.name)
        assert info.delivered is not None
        assert (noted.of, info.delivered.consumer_seq) == ([anna], 1)
    finally:
        reaction.cancel()
        await asyncio.wait({reaction})


async def is_made(streams: NATS) -> bool:
    try:
        await streams.jetstream().consumer_info(ERASURES.stream, ERASURES.name)
    except NotFoundError:
        return False
    return True


class NoTimers:
    async def due(self, now: datetime, complete: datetime, limit: int, *, after: DueErasure | None) -> list[DueErasure]:
        return []


async def test_a_login_that_has_not_cancelled_an_erasure_does_so_when_it_is_due(
    services: Services, anna: str, streams: NATS, secrets: Secrets
) -> None:
    auth = services.auth_replica
    before = await log_in(services)
    await delete(services, anna)
    assert await end_of(services, before) == "erasure_requested"

    def process(clock: Clock) -> ErasureProcess:
        erasures = Erasures(
            auth.aggregates, auth.passwords, auth.keys, services.sessions, services.auth_queries.own_address,
            auth.failures, ERASURE, clock=clock,
        )  # fmt: skip
        left = removal(services, streams, secrets, Removals(), Removals())
        return ErasureProcess(erasures, NoTimers(), KeyStore(streams), left, clock=clock)

    due = Clock()
    due.forward(ERASURE.grace + DAY)
    # As a release does that does not know of erasures.
    tokens = await services.sessions.create(
        user_id=anna, username="anna", device="phone", address="", credential=1, new_device=False, second_factor=False
    )
    await process(due).act(DueErasure(anna, due(), erased=False))
    assert isinstance((await last_event(services, anna)).data, UserErasureCancelled)
    last = await services.log.last(session(tokens.session_id))
    assert last is not None
    assert not isinstance(last.open().data, SessionRevoked)
    # Of the next request that login is older.
    await delete(services, anna)
    await process(due).act(DueErasure(anna, due(), erased=False))
    assert isinstance((await last_event(services, anna)).data, UserErased)


async def test_mails_that_were_written_for_the_user_are_removed_from_the_folder(tmp_path: Path) -> None:
    outbox, anna, boris = FolderTransport(tmp_path / "mail", "Vestnik <no-reply@localhost>"), new_id(), new_id()
    await outbox.remove_of(anna)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for number, users in enumerate(((anna,), (boris, anna), (boris,), ())):
        mail = Mail(
            event_id=f"{number}", asked_at=at, recipient="a@example.org", username="anna", kind="data_export_ready",
            user_ids=users,
        )  # fmt: skip
        await outbox.send(mail)
    drafts = [tmp_path / "mail" / f".{name}.eml.17" for name in ("crashed", "written")]
    for draft in drafts:
        draft.write_bytes(b"To: a@exa")
    os.utime(drafts[0], (0, 0))
    (tmp_path / "mail" / "broken.eml").write_bytes(b"Vestnik-Users: =?utf-8?q?=FF\xff\n\xff\n: <@\n\n")
    await outbox.remove_of(anna)
    assert [path.name[-5] for path in mails(tmp_path / "mail")] == ["2", "3", "n"]
    assert [draft.exists() for draft in drafts] == [False, True]


async def test_mails_of_earlier_releases_which_name_no_user_go_after_thirty_days(tmp_path: Path) -> None:
    folder, anna = tmp_path / "mail", new_id()
    folder.mkdir()
    for name, whose, days in (("old", None, 31), ("young", None, 29), ("named", anna, 31)):
        mail = folder / f"{name}.eml"
        mail.write_text(f"To: a@example.org\n{f'Vestnik-Users: {whose}' if whose else 'Subject: a'}\n\ntext\n")
        os.utime(mail, (time.time() - days * 86_400,) * 2)
    removing = asyncio.create_task(FolderTransport(folder, "Vestnik <no-reply@localhost>").remove_nameless())
    try:
        async with asyncio.timeout(60):
            while (folder / "old.eml").exists():
                await asyncio.sleep(0.01)
    finally:
        removing.cancel()
        await asyncio.wait({removing})
    assert [path.name for path in mails(folder)] == ["named.eml", "young.eml"]


async def test_all_drafts_of_a_user_are_removed_and_no_one_elses(streams: NATS) -> None:
    for bucket in (DRAFTS, DATA_KEYS):
        await ensure_bucket(streams, bucket, replicas=1)
    store = KeyStore(streams, patience=60)
    keys = DataKeys(store, RING)
    drafts = Drafts(streams, Sealer(keys, KeyCreation(store, RING, recorded_keys.Recorded()).create), Unsealer(keys))
    anna, boris = new_id(), new_id()
    conversations = [new_id() for _ in range(300)]
    for conversation in conversations:
        await drafts.save(anna, conversation, "unsent")
    await drafts.save(boris, conversations[0], "kept")
    for _ in range(2):
        await drafts.remove_of(anna)
    assert await drafts.of(anna, conversations) == {}
    assert await drafts.of(boris, conversations) == {conversations[0]: "kept"}
