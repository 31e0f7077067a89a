"""Proofs of stored events, checked by the one file that an auditor has."""

import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from contracts.events.notary import EndReason, TreeHeadSigned
from contracts.subjects import MESSAGING, NOTARIZED
from contracts.values.ids import new_id
from infra.audit.event_lookup import NoSuchEvent, find_event
from infra.audit.inclusion import NotProved, prove
from infra.audit.notary_log import read_chain
from infra.audit.published_keys import public_keys
from infra.audit.saved_heads import SavedHead, SavedHeads
from infra.operator_errors import OperatorError
from streams.jetstream.client import Client
from streams.merkle.frontier import TILE
from streams.message import Message
from tests.integration.audit.signed_history import SignedHistory, replaced
from tests.integration.streams.conftest import fill

FILE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "verify_proof.py"
Json = dict[str, Any]


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_proof", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verifier = loaded()


def answer(history: SignedHistory, *heads: TreeHeadSigned) -> SavedHeads:
    return SavedHeads(items=[SavedHead.of(head) for head in heads], keys=history.key.jwks)


async def proof_of(
    history: SignedHistory, message: Message, heads: SavedHeads | None = None, *, at: datetime | None = None
) -> Json:
    chain = await read_chain(history.nc, message.stream, public_keys(history.key.jwks))
    proof = await prove(history.nc, chain, message, None if heads is None else heads.of_stream(message.stream), at=at)
    decoded: Json = json.loads(msgspec.json.encode(proof))
    return decoded


def verified(proof: Json, heads: SavedHeads) -> str:
    result: str = verifier.verify(proof, json.loads(msgspec.json.encode(heads)))
    return result


async def test_every_event_is_proved_by_a_head_that_the_auditor_has(streams: Client) -> None:
    history = SignedHistory(streams)
    await fill(history.log, 13, "a")
    newest = await history.sign(3, 7, 12)
    middle = await history.head(7)
    messages = await history.messages()
    for message in messages[:12]:
        proof = await proof_of(history, message)
        assert proof["size"] == 12
        assert "The proof holds." in verified(proof, answer(history, newest))
    for message in messages[:7]:
        proof = await proof_of(history, message, answer(history, middle))
        assert (proof["size"], "head" in proof) == (7, False)
        assert "The proof holds." in verified(proof, answer(history, middle))
    for message in messages[7:12]:
        proof = await proof_of(history, message, answer(history, middle))
        assert proof["size"] == 12
        assert "That head continues the one of 7 events in HEADS" in verified(proof, answer(history, middle))
    with pytest.raises(NotProved, match="the notary has not signed it yet"):
        await proof_of(history, messages[12])


async def test_a_proof_in_a_large_tree_reads_tiles_and_not_the_stream(
    streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = SignedHistory(streams)
    size = 3 * TILE + 100
    for name in ("a", "b", "c", "d"):
        await fill(history.log, size // 4 + 1, name)
    newest = await history.sign(50, 2 * TILE, size)
    messages = await history.messages()
    # What no proof of these events has to read.
    first_tile = messages[TILE : TILE + 1][0].sequence
    hashed: list[int] = []
    original = prove.__globals__["leaf_hasher"]

    def counting(stream: str) -> object:
        hasher = original(stream)

        def counted(sequence: int, subject: str, message_id: str, payload: bytes) -> object:
            hashed.append(sequence)
            return hasher(sequence, subject, message_id, payload)

        return counted

    monkeypatch.setitem(prove.__globals__, "leaf_hasher", counting)
    for number in (0, 49, 50, TILE - 1, 2 * TILE, 3 * TILE - 1, 3 * TILE, size - 1):
        hashed.clear()
        message = await find_by_id(streams, messages[number])
        assert "The proof holds." in verified(await proof_of(history, message), answer(history, newest))
        assert first_tile not in hashed
        assert len(hashed) < 4 * TILE
    # Another consistency path than that of a whole tile.
    old = await history.head(50)
    proof = await proof_of(history, messages[2 * TILE + 5], answer(history, old))
    assert "That head continues the one of 50 events in HEADS" in verified(proof, answer(history, old))


async def find_by_id(nc: Client, message: Message) -> Message:
    """Finds the event by its id."""
    same = await find_event(nc, message.event_id(), NOTARIZED)
    assert (same.stream, same.sequence, same.headers) == (message.stream, message.sequence, message.headers)
    return same


async def test_an_event_is_found_among_events_of_other_times_and_an_unknown_id_is_not(streams: Client) -> None:
    history = SignedHistory(streams)
    # Ids of ten years, in the order of the stream; what is no event has none.
    moments = [round(index * 3.15e10) for index in range(1, 11)]
    ids = [f"{ms:012x}"[:8] + "-" + f"{ms:012x}"[8:] + new_id()[13:] for ms in moments]
    await fill(history.log, 10, "a")

    def with_ids(events: list[Any]) -> list[Any]:
        changed = []
        for event, event_id in zip(events, ids, strict=True):
            own = event.headers["Nats-Msg-Id"].encode()
            changed += [replaced(event, payload=event.payload.replace(own, event_id.encode()), headers={})]
            changed += [replaced(event, payload=b"\xff not an event", headers={})]
        return changed

    await history.rewrite(with_ids)
    for number, event_id in enumerate(ids):
        message = await find_event(streams, event_id, (MESSAGING,))
        assert message.sequence == 2 * number + 1
    for unknown in (new_id(), ids[3][:-1] + ("0" if ids[3][-1] != "0" else "1")):
        with pytest.raises(NoSuchEvent, match=f"no event of MESSAGING has the id {unknown}"):
            await find_event(streams, unknown, (MESSAGING,))
    for wrong in ("", "x", "00000000-0000-4000-8000-000000000000"):
        with pytest.raises(OperatorError, match="is not the id of an event"):
            await find_event(streams, wrong, (MESSAGING,))


async def test_a_changed_stream_is_not_proved(streams: Client) -> None:
    history = SignedHistory(streams)
    await fill(history.log, 9, "a")
    await history.sign(9)
    await history.rewrite(
        lambda events: [*events[:4], replaced(events[4], payload=events[4].payload + b" "), *events[5:]]
    )
    messages = await history.messages()
    for message in messages[:8]:
        with pytest.raises(NotProved, match="`vestnik audit verify --stream MESSAGING` says where"):
            await proof_of(history, message)


async def test_a_stream_that_was_cut_is_not_proved(streams: Client) -> None:
    history = SignedHistory(streams)
    await fill(history.log, 9, "a")
    await history.sign(9)
    await history.rewrite(lambda events: events[:5])
    for message in await history.messages():
        with pytest.raises(NotProved, match="is not as it was signed"):
            await proof_of(history, message)


async def test_a_proof_leads_to_the_newest_head_of_the_time_at_which_the_auditor_fetched_the_heads(
    streams: Client,
) -> None:
    history = SignedHistory(streams)
    await fill(history.log, 12, "a")
    heads = [
        await history.head(size, since=since, at=f"2026-12-01T12:0{size}:00.000Z")
        for since, size in ((0, 4), (4, 6), (6, 9))
    ]
    for head in heads:
        await history.store(head)
    messages = await history.messages()
    fetched = datetime(2026, 12, 1, 12, 7, tzinfo=UTC)
    proof = await proof_of(history, messages[2], at=fetched)
    assert (proof["size"], proof["signed_at"]) == (6, heads[1].at)
    assert "The proof holds." in verified(proof, answer(history, heads[1]))
    assert (await proof_of(history, messages[2]))["signed_at"] == heads[2].at
    with pytest.raises(NotProved, match="after the last head that was signed by 2026-12-01T12:07"):
        await proof_of(history, messages[7], at=fetched)


async def test_an_event_of_a_closed_tree_is_proved_by_a_head_of_that_time(streams: Client) -> None:
    history = SignedHistory(streams)
    await fill(history.log, 12, "a")
    first = await history.sign(4)
    await history.close(await history.head(6), EndReason.LOSS_ACCEPTED)
    second = await history.sign(5, tree=2, after=6)
    messages = await history.messages()
    assert "tree 1" in verified(await proof_of(history, messages[2]), answer(history, first, second))
    assert "leaf 4 of tree 2" in verified(await proof_of(history, messages[10]), answer(history, first, second))
    with pytest.raises(NotProved, match="not signed"):
        await proof_of(history, messages[5])
    # The auditor's head is of another tree.
    with pytest.raises(NotProved, match="has no head of tree 2 of MESSAGING"):
        await proof_of(history, messages[10], answer(history, first))
