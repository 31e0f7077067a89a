"""The store of data keys: a JetStream key-value bucket, apart from the streams whose events the keys seal."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from nats.aio.client import Client

from contracts.errors import OutOfSpace, Unavailable
from contracts.personal_data.key_ids import wrapped_by
from contracts.subjects import DATA_KEYS, key_of, stream_of_bucket
from streams.batching.group_commit import Attempt, GroupCommit
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.key_value import Changed, KeyValue, Put
from streams.jetstream.requests import RequestFailed
from streams.personal_data.metrics import LOST, UNREACHABLE, UNREADABLE, unavailable

_VERSION = 1
# How long a replica may lag behind the leader while all records are read, and the pause between two looks, in seconds.
_LAG_SECONDS, _PAUSE = 30.0, 0.1
_STREAM = stream_of_bucket(DATA_KEYS)
# The server has no message with this sequence.
_NOT_THERE = {10037, 10043, 10057}
_ANYTHING: msgspec.json.Decoder[object] = msgspec.json.Decoder()


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The record of one key: the key, encrypted with another one; after its destruction only the time of that."""

    v: int
    # The key that wraps it: the id of a person's key, or the tag of a master key in hex.
    kek: str = ""
    # Base64.
    wrapped: str = ""
    # A key was destroyed only if this is set. A key without a record is lost.
    destroyed_at: datetime | None = None
    # Whether there is no key yet: it is being created (keys/creation.py).
    is_mark: bool = False
    # Whether it was recorded before it was put here. The release before created keys without a record.
    is_recorded: bool = False

    @classmethod
    def mark(cls) -> "KeyRecord":
        return cls(v=_VERSION, is_mark=True)

    @classmethod
    def of(cls, *, kek: str, wrapped: str, is_recorded: bool = False) -> "KeyRecord":
        return cls(v=_VERSION, kek=kek, wrapped=wrapped, is_recorded=is_recorded)

    @classmethod
    def tombstone(cls, destroyed_at: datetime) -> "KeyRecord":
        return cls(v=_VERSION, destroyed_at=destroyed_at)

    def encode(self) -> bytes:
        return _ENCODER.encode(self)


UNREADABLE_RECORD = KeyRecord(v=0)


class StoredKey(msgspec.Struct, frozen=True):
    record: KeyRecord
    # Sequence in the bucket's stream.
    revision: int


class KeyRecords(Protocol):
    """A source of key records."""

    async def find(self, key_ids: Collection[str], *, required: bool) -> dict[str, KeyRecord]:
        """The records by key id; keys that wrap others come before them.

        `required`: a missing record is an error. The exception is a key whose wrapping key was destroyed: then the
        tombstone of that one is in the result, even if it was not among the ids.

        Raises:
            KeysUnavailable: the store does not answer, or a required record is missing.
        """


class KeyStore:
    """The bucket of data keys."""

    def __init__(self, nc: Client, *, patience: float = 5.0) -> None:
        """`patience`: seconds until a request without an answer fails."""
        self._values = KeyValue(nc, DATA_KEYS, patience=patience)
        self._jetstream = JetStream(nc, patience=patience)
        self._patience = patience
        # Keys that are created at the same time are stored together.
        self._puts: GroupCommit[Put] | None = None

    async def find(self, key_ids: Collection[str], *, required: bool = False) -> dict[str, KeyRecord]:
        """The records by key id, without marks, from any replica. A malformed record is `UNREADABLE_RECORD`.

        With `required` those that the replica does not have are from the leader, unless the key that wraps them was
        destroyed, whose tombstone is then among the records. The first one that the leader does not have either ends
        it: an emptied store gets a request or two of its own, not one for each key. Keys that wrap others come before
        them.

        Raises:
            KeysUnavailable: the store does not answer, or a required record is missing.
        """
        try:
            values = await self._values.get_many(key_ids)
        except Unavailable as error:
            raise unavailable(UNREACHABLE, "the store of data keys does not answer") from error
        records = {
            key_id: record for key_id, value in values.items() if not (record := _readable(key_id, value)).is_mark
        }
        for key_id in key_ids if required else ():
            if key_id in records or _is_destroyed(records, wrapper := wrapped_by(key_id)):
                continue
            stored = await self.latest(key_id)
            if stored is not None and not stored.record.is_mark:
                records[key_id] = stored.record
                continue
            # The caller may have the key that wraps it from an earlier call, and not know of its end.
            if wrapper is not None and (person := await self.latest(wrapper)) is not None:
                records[wrapper] = person.record
            if not _is_destroyed(records, wrapper):
                raise unavailable(LOST, f"the store of data keys has no key {key_id}, and no sign of its destruction")
        return records

    async def latest(self, key_id: str) -> StoredKey | None:
        """The record from the leader.

        Raises:
            KeysUnavailable: the store does not answer.
        """
        try:
            message = await self._jetstream.last(_STREAM, key_of(DATA_KEYS, key_id))
        except (Refused, RequestFailed) as error:
            raise unavailable(UNREACHABLE, "the store of data keys does not answer") from error
        return None if message is None else StoredKey(_decoded(key_id, message.payload), message.sequence)

    async def pages(self) -> AsyncIterator[list[tuple[str, KeyRecord]]]:
        """Yields all records that were stored when the call began, in the order of their writing, without marks.

        Of a key that is being replaced or destroyed both records are among them.

        Raises:
            KeysUnavailable: the store does not answer.
        """
        try:
            last = await self._jetstream.last(_STREAM, key_of(DATA_KEYS, ">"))
            after, prefix = 0, len(key_of(DATA_KEYS, ""))
            deadline = asyncio.get_running_loop().time() + _LAG_SECONDS
            while last is not None and after < last.sequence:
                messages, _ = await self._jetstream.many(_STREAM, key_of(DATA_KEYS, ">"), after)
                if not messages:
                    following = await self._jetstream.next(_STREAM, key_of(DATA_KEYS, ">"), after)
                    if following is None or following.sequence > last.sequence:
                        # What was stored after this when the call began was replaced or destroyed meanwhile.
                        return
                    if asyncio.get_running_loop().time() >= deadline:
                        raise unavailable(UNREACHABLE, "a replica of the store of data keys is far behind its leader")
                    await asyncio.sleep(_PAUSE)
                    continue
                deadline = asyncio.get_running_loop().time() + _LAG_SECONDS
                after = messages[-1].sequence
                yield [
                    (key_id, record)
                    for message in messages
                    if not (record := _decoded(key_id := message.subject[prefix:], message.payload)).is_mark
                ]
        except (Refused, RequestFailed) as error:
            raise unavailable(UNREACHABLE, "the store of data keys does not answer") from error

    async def versions(self, key_id: str) -> list[StoredKey]:
        """Reads all stored records of the key, oldest first, from the leader; two while one replaces the other.

        A malformed one is `UNREADABLE_RECORD`.

        Raises:
            KeysUnavailable: the store does not answer.
        """
        versions: list[StoredKey] = []
        after = 0
        while True:
            try:
                message = await self._jetstream.next(_STREAM, key_of(DATA_KEYS, key_id), after)
            except (Refused, RequestFailed) as error:
                raise unavailable(UNREACHABLE, "the store of data keys does not answer") from error
            if message is None:
                return versions
            after = message.sequence
            try:
                record = _DECODER.decode(message.payload)
            except msgspec.DecodeError:
                record = UNREADABLE_RECORD
            versions.append(StoredKey(record, after))

    async def erase(self, revision: int) -> None:
        """Removes the record with this revision and overwrites its bytes on disk; repeatable. For auth alone.

        Raises:
            KeysUnavailable: it is unknown whether it was removed.
        """
        await self._delete({"seq": revision})

    async def remove(self, revision: int) -> None:
        """As `erase`, without overwriting, which takes longer: for a mark."""
        await self._delete({"seq": revision, "no_erase": True})

    async def _delete(self, request: dict[str, object]) -> None:
        try:
            await self._jetstream.ask(f"STREAM.MSG.DELETE.{_STREAM}", request, _ANYTHING)
        except Refused as refused:
            if refused.error.err_code not in _NOT_THERE:
                raise unavailable(UNREACHABLE, f"a data key cannot be erased: {refused}") from refused
        except RequestFailed as error:
            raise unavailable(UNREACHABLE, "the store of data keys does not answer") from error

    async def put(self, key_id: str, record: KeyRecord, *, revision: int) -> int:
        """Stores the record in place of the one with this revision, 0 for none; returns its own. For auth alone.

        Raises:
            Changed: the record has another revision, perhaps by an earlier attempt without an answer.
            OutOfSpace: it was not stored; the event store has no space.
            KeysUnavailable: it is unknown whether the record was stored.
        """
        if self._puts is None:
            self._puts = GroupCommit(self._put_together, _key)
        put = Put(key_id, record.encode(), revision)
        try:
            attempt = await self._puts.acquire([put], time.monotonic() + self._patience)
        except TimeoutError as error:
            raise unavailable(UNREACHABLE, "the store of data keys does not answer") from error
        if attempt.sequence is not None:
            return attempt.sequence
        begun, took = time.monotonic(), None
        try:
            stored = await self._values.put_if(key_id, put.value, revision=revision)
            took = time.monotonic() - begun
            return stored
        except Unavailable as error:
            raise unavailable(UNREACHABLE, "the store of data keys does not answer") from error
        finally:
            self._puts.release(took)

    async def _put_together(self, puts: list[Sequence[Put]]) -> list[Attempt]:
        """Makes one attempt to put all of them in one batch; if it fails, each is put singly afterwards.

        If the batch was stored but its answer was lost, the single put finds the value changed.
        """
        try:
            last = await self._values.put_all_if([put for (put,) in puts])
        except (Changed, Unavailable, OutOfSpace):
            return [Attempt()] * len(puts)
        return [Attempt(last - len(puts) + number) for number in range(1, len(puts) + 1)]


def _key(put: Put) -> str:
    return put.key


def _is_destroyed(records: dict[str, KeyRecord], key_id: str | None) -> bool:
    record = None if key_id is None else records.get(key_id)
    return record is not None and record.destroyed_at is not None


def _readable(key_id: str, value: bytes) -> KeyRecord:
    """The record; `UNREADABLE_RECORD` if it is malformed, which no retry changes."""
    try:
        record = _DECODER.decode(value)
    except msgspec.DecodeError:
        return UNREADABLE_RECORD
    return _of_this_release(key_id, record)


def _decoded(key_id: str, value: bytes) -> KeyRecord:
    try:
        record = _DECODER.decode(value)
    except msgspec.DecodeError as error:
        raise unavailable(UNREADABLE, f"the record of the key {key_id} is malformed") from error
    return _of_this_release(key_id, record)


def _of_this_release(key_id: str, record: KeyRecord) -> KeyRecord:
    if record.v > _VERSION:
        raise unavailable(UNREADABLE, f"the record of the key {key_id} is of a later release")
    return record


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(KeyRecord)
