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
from streams.merkle.hashing import root_of_subtrees
from streams.merkle.signatures import Signed, has_valid_state, signed
from streams.message import Message
from streams.reader import Reader

_BATCH = 1_000


class RecordInvalid(Exception):
    """A record in NOTARY is not one that the notary wrote; nothing can be signed after it."""


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
            RecordInvalid: the notary did not write it.
            Unavailable: NATS does not answer, or the leader may have been replaced.
        """
        message = await self._log.last(tree_head(stream))
        if message is None:
            return LastRecord()
        return LastRecord(self._record(message, stream), message.sequence, message.envelope().version)

    async def records(self, stream: str, until: int) -> AsyncIterator[Signed]:
        """The stream's records up to a sequence of NOTARY, oldest first.

        Raises:
            RecordInvalid: the notary did not write one of them.
        """
        reader = Reader(self._nc, NOTARY, subject_filter=tree_head(stream), name="notary-records")
        position = 0
        async with reader:
            while position < until:
                batch = await reader.next(_BATCH)
                for message in batch.messages:
                    if message.sequence <= until:
                        yield self._record(message, stream)
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

    def _record(self, message: Message, stream: str) -> Signed:
        """The record of the stream. Its signatures hold, and the subtrees of a head lead to its root."""
        what = f"the record of {stream} at {message.sequence} in {NOTARY}"
        try:
            record = message.open().data
        except (LookupError, msgspec.MsgspecError) as error:
            raise RecordInvalid(f"{what} cannot be read: {error}") from error
        if not isinstance(record, TreeHeadSigned | TreeClosed) or record.stream != stream:
            raise RecordInvalid(f"{what} is none of this stream's trees")
        key = self._keys.public(record.key_id)
        if key is None:
            raise RecordInvalid(f"{what} is signed by {record.key_id}, which is not among the published keys")
        if not has_valid_state(record, key):
            raise RecordInvalid(f"{what} has a signature that does not hold")
        if isinstance(record, TreeHeadSigned) and not _has_its_subtrees(record):
            raise RecordInvalid(f"{what} has subtrees that do not lead to its root")
        return record


def _has_its_subtrees(head: TreeHeadSigned) -> bool:
    subtrees = list(map(bytes.fromhex, head.frontier))
    return len(subtrees) == head.size.bit_count() and root_of_subtrees(subtrees).hex() == head.root
