"""Reads what the notary has signed: all records of the stream NOTARY, by stream."""

from collections.abc import Collection, Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nats.aio.client import Client

from contracts.events.notary import TreeClosed, TreeHeadSigned
from contracts.subjects import NOTARIZED, NOTARY, lost_in, tree_head
from infra.archive.event_check import EventCheck
from infra.audit.head_chain import HeadChain, SignedRecord
from infra.operator_errors import OperatorError
from streams.jetstream.api import STREAM_NOT_FOUND, JetStream, Refused, StreamInfo
from streams.loss.missing_events import Gap, accepted, unaccepted
from streams.message import Message
from streams.reader import Reader

_BATCH = 5_000


class NoNotary(OperatorError):
    """There is nothing to verify the streams with."""

    def __init__(self) -> None:
        super().__init__("there is no stream NOTARY: no head was ever signed, and nothing can be proved")


class NotaryLog:
    """The chains of heads of all streams, and what is wrong with the stream NOTARY itself."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey], streams: Collection[str] = NOTARIZED) -> None:
        self.chains = {stream: HeadChain(stream, keys) for stream in streams}
        self._by_subject = {tree_head(stream): self.chains.get(stream) for stream in NOTARIZED}
        self.faults: list[str] = []
        self.records = 0
        # By stream, as their subjects say.
        self.records_of = dict.fromkeys(NOTARIZED, 0)
        self._stream_of = {tree_head(stream): stream for stream in NOTARIZED}
        self.lost_accepted = 0

    @classmethod
    async def read(
        cls, nc: Client, keys: Mapping[str, Ed25519PublicKey], streams: Collection[str] = NOTARIZED
    ) -> "NotaryLog":
        """Reads NOTARY up to its current end, and keeps the heads of these streams.

        Raises:
            NoNotary: there is no such stream.
            Unavailable: NATS does not answer.
        """
        log = cls(keys, streams)
        info = await _info(nc)
        end, decided = info.state.last_seq, accepted(info.config)
        check = EventCheck(NOTARY, set())
        async with Reader(nc, NOTARY, name="audit-heads", headers=True, report_gaps=True) as reader:
            position = 0
            while position < end:
                batch = await reader.next(_BATCH)
                gaps = [gap for gap in batch.gaps if gap.first <= end]
                left = unaccepted(gaps, {NOTARY: decided})
                for gap in left:
                    check.fault(gap.first, "", f"is missing{_up_to(gap)}")
                lost = sum(map(len, gaps)) - sum(map(len, left))
                check.lost(lost)
                log.lost_accepted += lost
                for message in batch.messages:
                    if message.sequence <= end:
                        log._add(message, check)
                position = batch.position
        log.faults += map(str, check.named)
        if check.faults > len(check.named):
            log.faults.append(f"{check.faults - len(check.named):,} more")
        return log

    def _add(self, message: Message, check: EventCheck) -> None:
        check.check(message.sequence, message.subject, message.payload, message.headers or {})
        if message.subject == lost_in(NOTARY):
            self.lost_accepted += 1
            return
        self.records += 1
        data = _record_of(message)
        if message.subject not in self._by_subject or data is None:
            check.fault(message.sequence, message.subject, "is not a record of a stream")
            return
        self.records_of[self._stream_of[message.subject]] += 1
        if (chain := self._by_subject[message.subject]) is not None:
            chain.extend([SignedRecord(message.sequence, data)])


async def read_chain(nc: Client, stream: str, keys: Mapping[str, Ed25519PublicKey]) -> HeadChain:
    """The chain of heads of one stream, read by its subject alone.

    Raises:
        NoNotary: there is no stream NOTARY.
        Unavailable: NATS does not answer.
    """
    chain, end = HeadChain(stream, keys), (await _info(nc)).state.last_seq
    async with Reader(nc, NOTARY, subject_filter=tree_head(stream), name="audit-heads") as reader:
        position = 0
        while position < end:
            batch = await reader.next(_BATCH)
            for message in batch.messages:
                if (data := _record_of(message)) is not None:
                    chain.extend([SignedRecord(message.sequence, data)])
            position = batch.position
    return chain


async def record_at(nc: Client, sequence: int) -> TreeHeadSigned | TreeClosed | None:
    """The record at a sequence of NOTARY; None if there is none that can be read.

    Raises:
        RequestFailed, Refused: NATS does not answer.
    """
    message = await JetStream(nc).at(NOTARY, sequence)
    return None if message is None else _record_of(message)


async def _info(nc: Client) -> StreamInfo:
    try:
        return await JetStream(nc).info(NOTARY)
    except Refused as refused:
        if refused.error.err_code == STREAM_NOT_FOUND:
            raise NoNotary from refused
        raise


def _record_of(message: Message) -> TreeHeadSigned | TreeClosed | None:
    try:
        data = message.open().data
    except (LookupError, msgspec.DecodeError):
        return None
    return data if isinstance(data, TreeHeadSigned | TreeClosed) else None


def _up_to(gap: Gap) -> str:
    return "" if len(gap) == 1 else f", with all up to {gap.last}"
