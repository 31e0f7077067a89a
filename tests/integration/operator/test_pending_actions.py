"""Acts that wait in the secrets folder: appended later, once, and never to an empty or half imported system."""

import errno
import os
import stat
from datetime import timedelta
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import msgspec
import pytest
from nats.aio.client import Client
from rich.console import Console

from contracts.envelope import Provenance, now, seal
from contracts.errors import Unavailable, VestnikError
from contracts.events.operator import OperatorActed, OperatorActionEnded
from contracts.events.user import UserCreated
from contracts.subjects import MESSAGING, operator_action, user
from contracts.values.ids import new_id
from infra.cli.actions import recording
from infra.cli.actions.recording import NotRecorded, is_recorded, recorder
from infra.cli.projections import drop_builds
from infra.cli.system import accept_loss
from infra.history.operator_audit import Query, audit_rows
from infra.runtime.import_marker import set_import_marker
from infra.security.service_schemas import ServiceSchemas
from infra.settings import BadSetting, Settings
from services.operator.actions.domain import Actor
from services.operator.actions.pending import DAMAGED, FILE, PendingActions, can_append
from services.operator.actions.recorder import Recorder
from streams.jetstream.api import ApiError, JetStream, Refused
from streams.log import Append, Log
from tests.integration.operator.recorded_actions import recorded

ROOT = Actor(name="root", user_id=None, channel="command_line", address="host-1")
ANNA = Actor(name="anna", user_id=new_id(), channel="page", address="192.0.2.7")


async def register(log: Log) -> None:
    """A first account: the system is no longer empty."""
    user_id = new_id()
    event = UserCreated(username="anna")
    envelope = seal(event, aggregate_id=user_id, version=1, provenance=Provenance())
    await log.append(Append(subject=user(user_id), expected=0, envelope=envelope))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(secrets_dir=str(tmp_path / "secrets"))


async def test_an_act_without_nats_waits_in_a_file_for_its_owner_alone(settings: Settings, streams: Client) -> None:
    journal = await recorder(settings, None)
    async with journal.acting(ROOT, "keys.rotate", reason="a backup was public"):
        pass
    path = settings.secrets_path / FILE
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    log = Log(streams)
    await register(log)
    await recorder(settings, streams)
    acted, end = await recorded(log)
    assert isinstance(acted, OperatorActed)
    assert (acted.action, acted.operator, acted.reason) == ("keys.rotate", "root", "a backup was public")
    assert end == OperatorActionEnded(outcome="done")
    assert path.read_bytes() == b""


async def test_a_file_that_is_appended_again_changes_nothing(settings: Settings, streams: Client) -> None:
    journal = await recorder(settings, None)
    for _ in range(3):
        async with journal.acting(ROOT, "keys.rotate"):
            pass
    path, log = settings.secrets_path / FILE, Log(streams)
    content = path.read_bytes()
    pending = PendingActions(settings.secrets_path)
    assert await pending.flush(log) == 6
    # As after a run that was killed before it emptied the file, wholly or in part.
    for left in (content, b"".join(content.splitlines(keepends=True)[3:])):
        path.write_bytes(left)
        await pending.flush(Log(streams))
    versions = [message.envelope().version for message in await log.read(operator_action("*"))]
    assert versions == [1, 2, 1, 2, 1, 2]


async def test_a_damaged_line_is_kept_apart_and_the_others_are_appended(settings: Settings, streams: Client) -> None:
    journal = await recorder(settings, None)
    async with journal.acting(ROOT, "keys.rotate"):
        pass
    path = settings.secrets_path / FILE
    content = path.read_bytes()
    path.write_bytes(b'\xff\x00garbage\n{"subject": 7}\n' + path.read_bytes() + b'{"subject": "vestnik.oper')
    other = b'{"subject": "vestnik.user.1"' + content[content.index(b",") :].splitlines()[0]
    path.write_bytes(other + b"\n" + path.read_bytes())
    await PendingActions(settings.secrets_path).flush(Log(streams))
    assert len(await recorded(Log(streams))) == 2
    damaged = (settings.secrets_path / DAMAGED).read_bytes().splitlines()
    assert damaged == [other, b"\xff\x00garbage", b'{"subject": 7}', b'{"subject": "vestnik.oper']


async def test_behind_a_line_that_was_cut_off_the_next_act_is_stored(settings: Settings, streams: Client) -> None:
    journal = await recorder(settings, None)
    path = settings.secrets_path / FILE
    path.parent.mkdir()
    path.write_bytes(b'{"subject": "vestnik.oper')
    async with journal.acting(ROOT, "keys.rotate"):
        pass
    await PendingActions(settings.secrets_path).flush(Log(streams))
    assert [type(event).__name__ for event in await recorded(Log(streams))] == ["OperatorActed", "OperatorActionEnded"]


async def test_a_line_is_stored_wholly_or_the_act_is_not_done(
    settings: Settings, streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await recorder(settings, None)
    async with journal.acting(ROOT, "keys.rotate"):
        pass
    path, write = settings.secrets_path / FILE, os.write
    content = path.read_bytes()

    def full(descriptor: int, data: bytes | memoryview) -> int:
        if len(data) <= 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:100])

    # A disk that becomes full: of each write a part is stored, and then nothing.
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(NotRecorded, match="No space"):
        async with journal.acting(ROOT, "keys.rotate"):
            raise AssertionError("it was done")
    assert path.read_bytes() == content
    # A write may be short without any failure.
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:100]))
    async with journal.acting(ROOT, "keys.rotate"):
        pass
    monkeypatch.undo()
    assert await PendingActions(settings.secrets_path).flush(Log(streams)) == 4


async def test_an_act_that_began_in_the_file_also_ends_there(
    settings: Settings, streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(streams)
    await register(log)
    journal = await recorder(settings, streams, may_wait=True)
    append = Log.append
    monkeypatch.setattr(Log, "append", AsyncMock(side_effect=Unavailable))
    async with journal.acting(ROOT, "keys.rotate"):
        # NATS comes back.
        monkeypatch.setattr(Log, "append", append)
    await recorder(settings, streams)
    acted, end = await log.read(operator_action("*"))
    assert (acted.envelope().version, end.envelope().version) == (1, 2)


async def test_the_beginning_of_an_act_is_never_dropped(settings: Settings, streams: Client) -> None:
    log = Log(streams)
    journal = await recorder(settings, None)
    async with journal.acting(ROOT, "keys.rotate"):
        pass
    path = settings.secrets_path / FILE
    begin, end = path.read_bytes().splitlines(keepends=True)
    for line in (end, begin, begin + end):
        path.write_bytes(line)
        await PendingActions(settings.secrets_path).flush(log)
    assert [message.envelope().version for message in await log.read(operator_action("*"))] == [2, 1]


async def test_an_empty_file_of_another_user_stops_nobody(
    settings: Settings, streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.secrets_path.mkdir()
    (settings.secrets_path / FILE).touch()
    monkeypatch.setattr(os, "open", Mock(side_effect=PermissionError))
    assert await PendingActions(settings.secrets_path).flush(Log(streams)) == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
async def test_a_file_that_root_creates_belongs_to_the_owner_of_the_folder(settings: Settings) -> None:
    settings.secrets_path.mkdir()
    os.chown(settings.secrets_path, 65534, 65534)
    journal = await recorder(settings, None)
    async with journal.acting(ROOT, "keys.rotate"):
        pass
    status = (settings.secrets_path / FILE).stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (65534, 0o600)


async def test_the_file_is_not_written_through_a_link(settings: Settings, tmp_path: Path) -> None:
    settings.secrets_path.mkdir()
    victim = tmp_path / "victim"
    victim.touch()
    (settings.secrets_path / FILE).symlink_to(victim)
    journal = await recorder(settings, None)
    with pytest.raises(NotRecorded):
        await journal.look(ROOT, "events")
    assert victim.read_bytes() == b""


@pytest.mark.parametrize(
    ("schemas", "in_stream"),
    [
        # Services have schemas, and the operator's has none: it has no read model.
        (ServiceSchemas("postgresql://", {"chat": True}), True),
        # This login may not ask it what it has applied.
        (ServiceSchemas("postgresql://", {"operator": False}), False),
        (BadSetting("VESTNIK_DATABASE_URL is not the address of a PostgreSQL database"), False),
    ],
)
async def test_a_look_is_recorded_whatever_the_database_has_of_the_operator(
    settings: Settings,
    streams: Client,
    monkeypatch: pytest.MonkeyPatch,
    schemas: ServiceSchemas | BadSetting,
    in_stream: bool,
) -> None:
    log = Log(streams)
    await register(log)
    monkeypatch.setattr(ServiceSchemas, "discover", AsyncMock(side_effect=[schemas]))
    settings = msgspec.structs.replace(settings, database_url="postgresql://")
    await (await recorder(settings, streams)).look(ROOT, "events")
    assert len(await recorded(log)) == in_stream
    assert (settings.secrets_path / FILE).exists() != in_stream


@pytest.mark.parametrize("error", [ValueError("too large"), Refused(ApiError(code=503, err_code=0, description="no"))])
async def test_what_the_stream_refuses_for_any_reason_is_not_done(
    settings: Settings, streams: Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await register(Log(streams))
    journal = await recorder(settings, streams)
    monkeypatch.setattr(Log, "append", AsyncMock(side_effect=error))
    with pytest.raises(NotRecorded):
        async with journal.acting(ROOT, "dead_letter.discard"):
            raise AssertionError("it was done")


async def test_an_empty_system_and_one_that_is_imported_get_no_events(settings: Settings, streams: Client) -> None:
    log = Log(streams)
    # An import needs empty streams.
    assert not await can_append(streams)
    await (await recorder(settings, streams)).look(ROOT, "events")
    assert await recorded(log) == []
    await register(log)
    await set_import_marker(JetStream(streams), "an import")
    async with (await recorder(settings, streams)).acting(ROOT, "keys.rotate"):
        pass
    assert await recorded(log) == []
    await set_import_marker(JetStream(streams), None)
    await recorder(settings, streams)
    assert [type(event).__name__ for event in await recorded(log)] == [
        "OperatorLooked",
        "OperatorActed",
        "OperatorActionEnded",
    ]


async def test_a_stream_that_may_lack_events_gets_no_other(
    settings: Settings, streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(streams)
    await register(log)
    # As many as a read model has applied, of which the stream has none.
    highest = AsyncMock(return_value=7)
    monkeypatch.setattr(recording, "_highest", highest)
    await (await recorder(settings, streams)).look(ROOT, "events")
    highest.side_effect = Unavailable("The database does not answer.")
    await (await recorder(settings, streams)).look(ROOT, "rows")
    assert await recorded(log) == []
    highest.side_effect, highest.return_value = None, 0
    await recorder(settings, streams)
    assert [type(event).__name__ for event in await recorded(log)] == ["OperatorLooked", "OperatorLooked"]


async def test_without_nats_what_needs_the_stream_is_not_done(settings: Settings, streams: Client) -> None:
    await register(Log(streams))
    journal = await recorder(settings, streams)
    await streams.close()
    with pytest.raises((NotRecorded, VestnikError)):
        async with journal.acting(ROOT, "dead_letter.discard"):
            raise AssertionError("it was done")
    assert not (settings.secrets_path / FILE).exists()


async def test_the_end_of_an_act_waits_if_nats_went_away_meanwhile(settings: Settings, streams: Client) -> None:
    await register(Log(streams))
    journal = await recorder(settings, streams)
    async with journal.acting(ROOT, "dead_letter.discard"):
        await streams.close()
    lines = (settings.secrets_path / FILE).read_bytes().splitlines()
    assert [msgspec.json.decode(line)["envelope"]["type"] for line in lines] == ["operator.action_ended"]


async def test_a_secrets_folder_that_cannot_be_written_stops_the_act(settings: Settings) -> None:
    settings.secrets_path.write_text("a file where a folder should be")
    journal = await recorder(settings, None)
    with pytest.raises(NotRecorded, match="nothing was done"):
        async with journal.acting(ROOT, "keys.rotate"):
            raise AssertionError("it was done")


async def test_only_an_act_that_the_page_has_begun_just_now_spares_a_command_its_own_record(
    streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(streams)
    recorder = Recorder(log)
    at_the_machine = await recorder.begin(ROOT, "read_model.rebuild", target="friends")
    assert not await is_recorded(streams, at_the_machine.id, "read_model.rebuild", "friends")
    act = await recorder.begin(ANNA, "read_model.rebuild", target="friends")
    assert await is_recorded(streams, act.id, "read_model.rebuild", "friends")
    assert not await is_recorded(streams, act.id, "read_model.rebuild", "profiles")
    assert not await is_recorded(streams, act.id, "read_model.verify", "friends")
    assert not await is_recorded(streams, new_id(), "read_model.rebuild", "friends")
    assert not await is_recorded(streams, "*", "read_model.rebuild", "friends")
    later = now() + timedelta(minutes=11)
    monkeypatch.setattr(recording, "now", lambda: later)
    assert not await is_recorded(streams, act.id, "read_model.rebuild", "friends")
    monkeypatch.undo()
    await recorder.end(act)
    assert not await is_recorded(streams, act.id, "read_model.rebuild", "friends")


def test_old_builds_are_dropped_without_nats(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServiceSchemas, "discover", AsyncMock(return_value=ServiceSchemas("postgresql://", {})))
    settings = msgspec.structs.replace(settings, data_dir=tmp_path / "nothing-runs")
    drops = drop_builds.run(settings, [], False, Console(quiet=True), "friends", "disk space")
    assert drops.complete
    lines = (settings.secrets_path / FILE).read_bytes().splitlines()
    types = [msgspec.json.decode(line)["envelope"]["type"] for line in lines]
    assert types == ["operator.acted", "operator.action_ended"]


async def test_no_rows_of_lost_events_are_written_before_the_act_is_recorded(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = accept_loss.Loss(end=1, within=[], behind=None, filled=[])
    write_rows = AsyncMock()
    for name, value in (
        ("ServiceSchemas", AsyncMock()),
        ("connect_reader", AsyncMock()),
        ("find", AsyncMock(return_value=loss)),
        ("write_rows", write_rows),
        ("recorder", AsyncMock(side_effect=NotRecorded(Unavailable()))),
    ):
        monkeypatch.setattr(accept_loss, name, value)
    monkeypatch.setattr(accept_loss, "choose", lambda names, services: [])
    with pytest.raises(NotRecorded):
        await accept_loss._run(settings, MESSAGING, tmp_path / "rows", "a test", Console(quiet=True), ask=False)
    write_rows.assert_not_awaited()


async def test_the_audit_is_in_order_of_time_though_an_act_waited(settings: Settings, streams: Client) -> None:
    waiting = await recorder(settings, None)
    await waiting.look(ROOT, "events")
    await Recorder(Log(streams)).look(ANNA, "rows")
    await PendingActions(settings.secrets_path).flush(Log(streams))
    assert [row.what for row in (await audit_rows(streams, Query())).rows] == ["events", "rows"]
