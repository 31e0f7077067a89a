"""Acts that wait in the secrets folder: appended later, once, and never to an empty or half imported system."""

import os
import stat
from pathlib import Path
from unittest.mock import AsyncMock

import msgspec
import pytest
from nats.aio.client import Client

from contracts.envelope import Provenance, seal
from contracts.errors import Unavailable, VestnikError
from contracts.events.event import Event
from contracts.events.operator import OperatorActed, OperatorActionEnded
from contracts.events.user import UserCreated
from contracts.subjects import operator_action, user
from contracts.values.ids import new_id
from infra.cli.actions import recording
from infra.cli.actions.recording import NotRecorded, is_recorded, recorder
from infra.runtime.import_marker import set_import_marker
from infra.settings import Settings
from services.operator.actions.domain import Actor
from services.operator.actions.pending import FILE, PendingActions, can_append
from services.operator.actions.recorder import Recorder
from streams.jetstream.api import JetStream
from streams.log import Append, Log

ROOT = Actor(name="root", user_id=None, channel="command_line", address="host-1")


async def register(log: Log) -> None:
    """A first account: the system is no longer empty."""
    user_id = new_id()
    event = UserCreated(username="anna")
    envelope = seal(event, aggregate_id=user_id, version=1, provenance=Provenance())
    await log.append(Append(subject=user(user_id), expected=0, envelope=envelope))


async def recorded(log: Log) -> list[Event]:
    return [message.open().data for message in await log.read(operator_action("*"))]


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


async def test_a_damaged_line_is_dropped_and_the_others_are_appended(settings: Settings, streams: Client) -> None:
    journal = await recorder(settings, None)
    async with journal.acting(ROOT, "keys.rotate"):
        pass
    path = settings.secrets_path / FILE
    path.write_bytes(b'\xff\x00garbage\n{"subject": 7}\n' + path.read_bytes() + b'{"subject": "vestnik.oper')
    await PendingActions(settings.secrets_path).flush(Log(streams))
    assert len(await recorded(Log(streams))) == 2


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


async def test_only_a_recorded_act_that_is_under_way_spares_a_command_its_own_record(streams: Client) -> None:
    log = Log(streams)
    recorder = Recorder(log)
    act = await recorder.begin(ROOT, "read_model.rebuild", target="friends")
    assert await is_recorded(streams, act.id, "read_model.rebuild", "friends")
    assert not await is_recorded(streams, act.id, "read_model.rebuild", "profiles")
    assert not await is_recorded(streams, act.id, "read_model.verify", "friends")
    assert not await is_recorded(streams, new_id(), "read_model.rebuild", "friends")
    assert not await is_recorded(streams, "*", "read_model.rebuild", "friends")
    await recorder.end(act)
    assert not await is_recorded(streams, act.id, "read_model.rebuild", "friends")
