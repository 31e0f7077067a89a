"""A verification of a stream finds what a damaged store lacks, and what another program wrote into it."""

from pathlib import Path

from nats.aio.client import Client

from contracts.envelope import encode
from contracts.subjects import MESSAGING
from infra.archive.stream_verification import StreamVerdict, verify_stream
from infra.embedded.nats_server import NatsServer
from streams.jetstream.api import JetStream
from streams.log import Log
from streams.loss.missing_events import Gap, accept
from tests.damage import blocks, cut_the_end, flip_a_byte
from tests.integration.streams.conftest import append_to, fill


async def verdict(nc: Client, *, known: int = 0) -> StreamVerdict:
    return await verify_stream(
        nc, MESSAGING, lambda done, total: None, ids=set(), known=known, discarded=lambda stream, sequence: False
    )


def faults(result: StreamVerdict) -> list[str]:
    return [str(fault) for fault in result.named]


async def test_a_whole_stream_is_sound_with_any_writer(streams: Client) -> None:
    log = Log(streams)
    await fill(log, 500, "a")
    await log.append(append_to("b"))
    reported: list[tuple[int, int]] = []
    result = await verify_stream(
        streams,
        MESSAGING,
        lambda done, total: reported.append((done, total)),
        ids=set(),
        discarded=lambda stream, sequence: False,
    )
    assert (result.sound, result.end, result.events, result.aggregates, faults(result)) == (True, 501, 501, 2, [])
    assert reported[-1] == (501, 501)


async def test_a_flipped_byte_is_named_until_its_loss_is_accepted(
    streams: Client, nats_server: NatsServer, tmp_path: Path
) -> None:
    log = Log(streams)
    await fill(log, 2, "a")
    await log.append(append_to("a", expected=2, version=3, text="to be damaged"))
    await log.append(append_to("a", expected=3, version=4))
    await nats_server.stop()
    flip_a_byte(tmp_path / "nats", MESSAGING, b"to be damaged")
    await nats_server.start()
    result = await verdict(streams)
    assert not result.sound
    # The next event of the aggregate shows that it is one of its versions.
    assert faults(result)[0] == "MESSAGING:3: is missing"
    assert any("has version 4, after version 2" in fault for fault in faults(result))

    await accept(JetStream(streams), [Gap(MESSAGING, 3, 3)], "a test")
    result = await verdict(streams)
    assert (result.sound, result.lost_accepted, result.events) == (True, 1, 3)


async def test_a_truncated_block_is_noticed_by_what_read_models_have_applied(
    streams: Client, nats_server: NatsServer, tmp_path: Path
) -> None:
    await fill(Log(streams), 3, "a")
    await nats_server.stop()
    cut_the_end(tmp_path / "nats", MESSAGING, 100)
    (blocks(tmp_path / "nats", MESSAGING)[0].parent / "index.db").unlink()
    await nats_server.start()
    assert (await verdict(streams)).sound
    result = await verdict(streams, known=3)
    assert faults(result) == ["MESSAGING:3: is missing, with all up to 3: read models have applied them"]


async def test_a_deleted_index_loses_nothing(streams: Client, nats_server: NatsServer, tmp_path: Path) -> None:
    await fill(Log(streams), 100, "a")
    await nats_server.stop()
    (blocks(tmp_path / "nats", MESSAGING)[0].parent / "index.db").unlink()
    await nats_server.start()
    result = await verdict(streams, known=100)
    assert (result.sound, result.events) == (True, 100)


async def test_what_another_program_wrote_is_named(streams: Client) -> None:
    await fill(Log(streams), 1, "a")
    foreign = append_to("a", version=7)
    await streams.jetstream().publish(foreign.subject, encode(foreign.envelope), stream=MESSAGING)
    result = await verdict(streams)
    assert faults(result) == [
        f"MESSAGING:2 ({foreign.subject}): has version 7, after version 1",
        f"MESSAGING:2 ({foreign.subject}): has the header Nats-Msg-Id (none), and the id {foreign.envelope.id}",
    ]
