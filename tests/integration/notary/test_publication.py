"""Signed records are written to a folder, each at least once, whatever interrupts it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client

from contracts.events.notary import TreeHeadSigned
from contracts.subjects import AUTH, MESSAGING, tree_head
from infra.security.notary.keys import NotaryKeys
from infra.security.secrets import Secrets
from services.notary.metrics import PUBLICATION_UP
from services.notary.publication import Publication
from services.notary.tree_log import TreeLog
from streams.log import Log
from streams.merkle.frontier import Frontier
from streams.merkle.signatures import has_valid_signature
from tests.leaf_data import leaf_hash

PATIENCE = 60
LEAF = leaf_hash(b"")


@pytest.fixture
def keys(tmp_path: Path) -> NotaryKeys:
    Secrets.create(tmp_path / "secrets")
    return NotaryKeys(tmp_path / "secrets")


async def sign(nc: Client, keys: NotaryKeys, count: int) -> None:
    """Signs heads of a stream that nobody reads here."""
    trees = TreeLog(nc, Log(nc), keys)
    last = await trees.last(MESSAGING)
    frontier = Frontier()
    frontier.extend([LEAF] * (last.record.size if last.record else 0))
    for _ in range(count):
        frontier.extend([LEAF])
        size = frontier.size
        head = TreeHeadSigned(
            stream=MESSAGING,
            tree=1,
            size=size,
            last_sequence=size,
            root=frontier.root.hex(),
            at="2026-01-31T12:00:00.000Z",
            key_id="",
            frontier=tuple(root.hex() for root in frontier.subtrees),
        )
        last = await trees.append(head, last)


@asynccontextmanager
async def published(nc: Client, folder: Path, keys: NotaryKeys) -> AsyncIterator[None]:
    running = asyncio.create_task(Publication(nc, folder, keys).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


def lines(folder: Path) -> list[dict[str, object]]:
    items: list[dict[str, object]] = []
    for path in sorted(folder.glob("heads-*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                items.append(msgspec.json.decode(line))
            except msgspec.DecodeError:
                continue
    return items


async def written(folder: Path, size: int) -> list[dict[str, object]]:
    async with asyncio.timeout(PATIENCE):
        while not (records := lines(folder)) or records[-1]["size"] != size:
            await asyncio.sleep(0.02)
    return records


async def test_every_record_is_written_once_with_the_keys_to_verify_it(
    streams: Client, keys: NotaryKeys, tmp_path: Path
) -> None:
    folder = tmp_path / "heads"
    await sign(streams, keys, 3)
    async with published(streams, folder, keys):
        await written(folder, 3)
        await sign(streams, keys, 1)
        await written(folder, 4)
    await sign(streams, keys, 2)
    async with published(streams, folder, keys):
        files = await written(folder, 6)
    assert [line["size"] for line in files] == [1, 2, 3, 4, 5, 6]
    assert (folder / "keys.json").read_bytes() == keys.jwks
    fields = {name: value for name, value in files[0].items() if name in TreeHeadSigned.__struct_fields__}
    head = msgspec.convert(fields, TreeHeadSigned)
    assert has_valid_signature(head, keys.current()[1].public_key())


async def test_a_line_that_was_cut_off_is_written_again(streams: Client, keys: NotaryKeys, tmp_path: Path) -> None:
    folder = tmp_path / "heads"
    await sign(streams, keys, 3)
    async with published(streams, folder, keys):
        await written(folder, 3)
    [path] = folder.glob("heads-*.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    async with published(streams, folder, keys):
        files = await written(folder, 3)
    assert [line["size"] for line in files] == [1, 2, 3]


async def test_a_folder_that_has_records_of_another_history_gets_all_of_this_one(
    streams: Client, keys: NotaryKeys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "heads"
    folder.mkdir()
    (folder / "heads-2026-01-01.jsonl").write_bytes(b'{"sequence":7,"id":"another","size":7}\n')
    await sign(streams, keys, 2)
    async with published(streams, folder, keys):
        files = await written(folder, 2)
    assert [line["size"] for line in files] == [7, 1, 2]
    assert "does not have the record another at 7" in caplog.text


async def test_a_record_that_cannot_be_read_keeps_no_other_out_of_the_folder(
    streams: Client, keys: NotaryKeys, tmp_path: Path
) -> None:
    folder = tmp_path / "heads"
    await sign(streams, keys, 1)
    await streams.jetstream().publish(tree_head(AUTH), b"no envelope")
    await sign(streams, keys, 1)
    PUBLICATION_UP.set(1)
    async with published(streams, folder, keys):
        files = await written(folder, 2)
        async with asyncio.timeout(PATIENCE):
            while PUBLICATION_UP._value.get() != 0:
                await asyncio.sleep(0.02)
    assert [line["size"] for line in files] == [1, 2]


async def test_a_folder_that_cannot_be_written_to_is_tried_again(
    streams: Client, keys: NotaryKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.notary.publication._PAUSE", 0.05)
    folder = tmp_path / "heads"
    folder.write_text("a file is in its place")
    await sign(streams, keys, 1)
    PUBLICATION_UP.set(1)
    async with published(streams, folder, keys):
        async with asyncio.timeout(PATIENCE):
            while PUBLICATION_UP._value.get() != 0:
                await asyncio.sleep(0.02)
        folder.unlink()
        await written(folder, 1)


async def test_whether_the_folder_can_be_written_to_shows_before_there_is_a_record(
    streams: Client, keys: NotaryKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.notary.publication._PAUSE", 0.05)
    folder = tmp_path / "heads"
    folder.write_text("a file is in its place")
    PUBLICATION_UP.set(1)
    async with published(streams, folder, keys), asyncio.timeout(PATIENCE):
        while PUBLICATION_UP._value.get() != 0:
            await asyncio.sleep(0.02)
        folder.unlink()
        while PUBLICATION_UP._value.get() != 1:
            await asyncio.sleep(0.02)
