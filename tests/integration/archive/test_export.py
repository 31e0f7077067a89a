"""Where an export of a system at work ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, seal
from contracts.events.profile import ProfileCreated
from contracts.events.session import SessionRevoked
from contracts.events.user import UserCreated
from contracts.services import OPERATOR
from contracts.subjects import AUTH, MESSAGING, PROFILE, SESSION, STREAMS, session
from contracts.values.ids import new_id
from infra.archive import exporter
from infra.archive.exporter import StreamNotWhole, export, fixed_ends
from infra.archive.format.archive_reader import Block, check
from infra.security.secrets import TOPOLOGY, Secrets
from streams.jetstream.api import JetStream
from streams.log import Append
from streams.loss.missing_events import Gap, accept
from streams.topology import ensure_streams, settings_of
from tests.damage import flip_a_byte
from tests.integration.archive.conftest import Deployment, sent, silent

_ROUNDS = 40


@asynccontextmanager
async def going_on(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """The work is done again and again, for as long as the context lasts."""

    async def forever() -> None:
        while True:
            await work()

    await work()
    task = asyncio.create_task(forever())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_stream_of_operators_that_is_not_there_yet_is_empty(nats: Client) -> None:
    await ensure_streams(nats, replicas=1, names=STREAMS.keys() - {subjects.OPERATOR})
    assert set((await fixed_ends(nats)).values()) == {0}


async def test_no_effect_is_exported_without_its_cause(source: Deployment) -> None:
    async def register() -> None:
        user = new_id()
        await source.append(subjects.user(user), UserCreated(username="anna"))
        await source.append(subjects.profile(user), ProfileCreated(username="anna", display_name="Anna"))

    operator = (await source.nats_parties.party(OPERATOR)).nats
    async with going_on(register):
        ends_by_round = [await fixed_ends(operator) for _ in range(_ROUNDS)]
    assert all(ends[PROFILE] <= ends[AUTH] for ends in ends_by_round)
    assert ends_by_round[0][AUTH] < ends_by_round[-1][AUTH]


async def test_an_export_never_ends_within_what_was_appended_as_one(source: Deployment) -> None:
    log = await source.log_of(MESSAGING)

    async def together() -> None:
        page = []
        for _ in range(20):
            conversation = subjects.conversation(new_id())
            envelope = seal(sent(1), aggregate_id=conversation, version=1, provenance=Provenance())
            page.append(Append(subject=conversation, expected=0, envelope=envelope))
        await log.append_together(page)

    operator = (await source.nats_parties.party(OPERATOR)).nats
    async with going_on(together):
        ends_by_round = [await fixed_ends(operator) for _ in range(_ROUNDS)]
    assert [ends[MESSAGING] % 20 for ends in ends_by_round] == [0] * _ROUNDS
    assert ends_by_round[0][MESSAGING] < ends_by_round[-1][MESSAGING]


async def test_what_is_appended_during_an_export_is_not_in_it(filled: Deployment, path: Path) -> None:
    async def write() -> None:
        await filled.append(subjects.conversation(new_id()), sent(1))

    async with going_on(write):
        exported = await filled.export(path)
    blocks: list[Block] = []
    assert check(path, silent, blocks.append).damages == []
    events = {stream.name: stream.events for stream in exported.streams}
    counted = {name: sum(len(block.events) for block in blocks if block.stream == name) for name in events}
    assert counted == events
    assert (await filled.ends())[MESSAGING] > events[MESSAGING]


async def deletable(streams: Client) -> None:
    """Recreates SESSION with five events and without `deny_delete`, so that a test can delete some."""
    await streams.request(f"$JS.API.STREAM.DELETE.{SESSION}", b"")
    settings = settings_of(SESSION, replicas=1) | {"deny_delete": False}
    await streams.request(f"$JS.API.STREAM.CREATE.{SESSION}", msgspec.json.encode(settings))
    for number in range(5):
        await streams.jetstream().publish(session(str(number)), b"{}")


async def test_a_stream_that_lacks_an_event_is_named_and_not_exported(streams: Client, tmp_path: Path) -> None:
    await deletable(streams)
    await streams.jetstream().delete_msg(SESSION, 3)
    with (tmp_path / "export").open("wb") as file, pytest.raises(StreamNotWhole, match="SESSION has no event 3"):
        await export(streams, Secrets.create(tmp_path / "secrets"), file, "export", silent)


@pytest.mark.parametrize("behind", [0, 1])
async def test_a_last_event_that_goes_while_it_is_exported_is_not_waited_for(
    behind: int, streams: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deletable(streams)

    async def fixed(nc: Client) -> dict[str, int]:
        ends = await fixed_ends(nc)
        await nc.jetstream().delete_msg(SESSION, ends[SESSION])
        for _ in range(behind):
            await nc.jetstream().publish(session("behind"), b"{}")
        return ends

    monkeypatch.setattr(exporter, "fixed_ends", fixed)
    with (tmp_path / "export").open("wb") as file, pytest.raises(StreamNotWhole, match="SESSION has no event 5"):
        async with asyncio.timeout(20):
            await export(streams, Secrets.create(tmp_path / "secrets"), file, "export", silent)


async def test_a_lost_event_that_was_given_up_is_exported_as_a_placeholder(
    filled: Deployment, target: Deployment, path: Path
) -> None:
    topology = (await filled.nats_parties.party(TOPOLOGY)).nats
    before = await filled.everything()
    for _ in range(3):
        await filled.append(subjects.session(new_id()), SessionRevoked(user_id=new_id(), reason="logout"))
    events = (await filled.everything())[SESSION]
    await filled.nats_parties.server.stop()
    # One in the middle, and the last one.
    for _, _, payload, _ in (events[-3], events[-1]):
        flip_a_byte(filled.folder / "nats", SESSION, payload[:60])
    await filled.nats_parties.server.start()
    end = len(events)
    with pytest.raises(StreamNotWhole, match=f"SESSION has no event {end}"):
        await filled.export(path)
    await accept(JetStream(topology), [Gap(SESSION, end - 2, end - 2), Gap(SESSION, end, end)], "an operator")
    await filled.export(path)
    await target.import_(path)
    imported = await target.everything()
    assert {**imported, SESSION: imported[SESSION][: len(before[SESSION])]} == before
    lost = imported[SESSION][-3:]
    assert [subject for _, subject, _, _ in lost] == ["vestnik.session.lost", events[-2][1], "vestnik.session.lost"]
