"""A small export of several streams and blocks, and changes of its bytes."""

import io
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from contracts.envelope import Provenance, encode, seal
from contracts.events.message import MessageSent
from infra.archive.format.archive_writer import Writer
from infra.archive.format.layout import HEAD_SIZE, PREAMBLE_SIZE, Head, Header, StreamInFile
from streams.restore import ArchivedMessage

EVENTS = {"MESSAGING": 7, "CONTACT": 0, "AUTH": 5}
A_BLOCK = 2
AT = datetime(2026, 11, 23, tzinfo=UTC)


def event(stream: str, sequence: int) -> ArchivedMessage:
    event_id = f"{stream}-{sequence}"
    sent = MessageSent(
        message_id=event_id, sender_id="a", recipient_id="b", sequence=1, text="hello", client_message_id="c"
    )
    sealed = seal(sent, aggregate_id=str(sequence), version=1, provenance=Provenance(), at=AT)
    payload = encode(msgspec.structs.replace(sealed, id=event_id))
    return ArchivedMessage(f"vestnik.{stream.lower()}.x.{sequence}", payload, {"Nats-Msg-Id": event_id})


def header(export_id: str = "one", events: dict[str, int] = EVENTS) -> Header:
    return Header(
        product="vestnik",
        version="0.1.0",
        id=export_id,
        created_at=AT,
        streams=[StreamInFile(name, count, count) for name, count in events.items()],
        compression="zlib",
        claims_key=b"k" * 32,
        fingerprints={},
    )


def export(export_id: str = "one") -> bytes:
    file = io.BytesIO()
    writer = Writer(file, header(export_id))
    for index, (stream, count) in enumerate(EVENTS.items()):
        for first in range(1, count + 1, A_BLOCK):
            last = min(first + A_BLOCK - 1, count)
            writer.events(index, first, [event(stream, sequence) for sequence in range(first, last + 1)])
    writer.end()
    return file.getvalue()


def pieces(data: bytes) -> list[bytes]:
    """The preamble, and then each block by itself."""
    cuts = [0, PREAMBLE_SIZE]
    while cuts[-1] < len(data):
        head = Head.unpack(data[cuts[-1] : cuts[-1] + HEAD_SIZE])
        assert head is not None
        cuts.append(cuts[-1] + HEAD_SIZE + head.stored)
    return [data[begin:end] for begin, end in pairwise(cuts)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export.vestnik"
