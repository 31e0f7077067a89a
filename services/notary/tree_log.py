"""The signed records in NOTARY: the last of a stream, earlier ones, and appending the next."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec
from nats.aio.client import Client

from contracts.envelope import Provenance, seal
from contracts.events.notary import TreeClosed, TreeHeadSigned
from contracts.subjects import NOTARY, tree_head
from infra.security.notary.keys import NotaryKeys
from streams.log import Append, Log
from streams.merkle.signatures import Signed, signed
from streams.message import Message
from streams.reader import Reader

_BATCH = 1_000


class LastRecord(NamedTuple):
    """A stream's last record, its sequence in NOTARY and its version; None and zeros before the first."""

    record: Signed | None = None
    sequence: int = 0
    version: int = 0


class TreeLog:
    def __init__(self, nc: Client, log: Log, keys: NotaryKeys) -> None:
        """`log`: with the right to append to NOTARY."""
        self._nc = nc
        self._log = log
        self._keys = keys

    @property
    def key_id(self) -> str:
        """The key that signs now."""
        return self._keys.current()[0]

    async def last(self, stream: str) -> LastRecord:
        """The stream's last record, from the leader of NOTARY.

        Raises:
            Unavailable: NATS does not answer, or the leader may have been replaced.
        """
        message = await self._log.last(tree_head(stream))
        if message is None:
            return LastRecord()
        return LastRecord(_record(message), message.sequence, message.envelope().version)

    async def records(self, stream: str, until: int) -> AsyncIterator[Signed]:
        """The stream's records up to a sequence of NOTARY, oldest first."""
        reader = Reader(self._nc, NOTARY, subject_filter=tree_head(stream), name="notary-records")
        position = 0
        async with reader:
            while position < until:
                batch = await reader.next(_BATCH)
                for message in batch.messages:
                    if message.sequence <= until:
                        yield _record(message)
                position = batch.position

    async def append(self, unsigned: Signed, previous: LastRecord) -> LastRecord:
        """Signs the record and appends it after the previous one.

        Raises:
            Conflict: another notary has appended a record of this stream.
            Unavailable, OutOfSpace, HistoryLost, DeadlineExceeded: as `Log.append`.
        """
        key_id, key = self._keys.current()
        unsigned = msgspec.structs.replace(unsigned, key_id=key_id)
        record = signed(unsigned, key)
        version = previous.version + 1
        envelope = seal(record, aggregate_id=record.stream, version=version, provenance=Provenance())
        subject = tree_head(record.stream)
        sequence = await self._log.append(Append(subject=subject, expected=previous.sequence, envelope=envelope))
        return LastRecord(record, sequence, version)


def _record(message: Message) -> Signed:
    record = message.open().data
    assert isinstance(record, TreeHeadSigned | TreeClosed)
    return record
