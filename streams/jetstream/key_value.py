"""Client of a JetStream key-value bucket: the last value of each key, without history.

A value is a message on `$KV.<bucket>.<key>`; a deletion is an empty message with the header `KV-Operation`, as every
client of such buckets writes it.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.subjects import key_of, stream_of_bucket
from streams.jetstream import publish_ack
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.atomic_batch import publish_batch
from streams.jetstream.direct_get import get_directly
from streams.jetstream.publish_ack import Ack
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import Inbox, RequestFailed

_CONDITION = "Nats-Expected-Last-Subject-Sequence"
_TTL = "Nats-TTL"
_OPERATION = "KV-Operation"
_DELETED = {_OPERATION: "DEL"}
# Statuses that end the values: no more of them, none at all. Any other one is a refusal.
_END = {"204", "404"}
# Most keys of one request for several; the server accepts 1,024.
MOST_KEYS = 500


class Put(NamedTuple):
    """A value to be stored in place of the one with the revision, 0 for none."""

    key: str
    value: bytes
    revision: int


class Changed(Exception):
    """The key's value is not the one that was read: another client has changed it."""


class KeyValue:
    """One bucket. Reads may be served by any replica, so they may miss a value that was written moments ago."""

    def __init__(self, nc: Client, bucket: str, *, patience: float = 2.0) -> None:
        """`patience`: seconds until a request without an answer fails."""
        self._bucket = bucket
        self._patience = patience
        self._inbox = Inbox.of(nc)
        self._jetstream = JetStream(nc, patience=patience)

    async def put(self, key: str, value: bytes) -> None:
        """Replaces the key's value.

        Raises:
            Unavailable: it is unknown whether the value was stored.
        """
        await self._write(key, value, None)

    async def put_if(self, key: str, value: bytes, *, revision: int, days: int | None = None) -> int:
        """Replaces the value with this revision, 0 for none; returns the new revision.

        `days`: after which the value expires, in a bucket with `has_lifetimes`; None: never.

        Raises:
            Changed: the value has another revision, perhaps by an earlier attempt of this call without an answer.
            OutOfSpace: not stored; the event store has no space, or the bucket is full.
            Unavailable: it is unknown whether the value was stored.
        """
        headers = {_CONDITION: str(revision)} | ({} if days is None else {_TTL: f"{days * 24}h"})
        try:
            answer = await self._inbox.request(
                key_of(self._bucket, key), value, timeout=self._patience, headers=headers
            )
            ack = publish_ack.decode(answer.data)
        except RequestFailed as failure:
            raise Unavailable from failure
        return _stored(ack)

    async def put_all_if(self, values: Sequence[Put]) -> int:
        """Replaces the values of different keys, all or none, in a bucket that allows it; returns the new revision of
        the last one, and those before it have the revisions before it.

        Raises: as `put_if`.
        """
        parts = [(key_of(self._bucket, key), value, {_CONDITION: str(revision)}) for key, value, revision in values]
        try:
            return _stored(await publish_batch(self._inbox, parts, self._patience))
        except RequestFailed as failure:
            raise Unavailable from failure

    async def delete(self, key: str, *, seconds: int | None = None) -> None:
        """Removes the key's value.

        `seconds`: after which the marker of the deletion expires, in a bucket with `has_lifetimes`; None: with the
        bucket's values. Until then it counts as a key.

        Raises:
            Unavailable: it is unknown whether the value was removed.
        """
        await self._write(key, b"", _DELETED | ({} if seconds is None else {_TTL: f"{seconds}s"}))

    async def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The values of those keys that have one, in one request for each 500 keys.

        Raises:
            Unavailable: the bucket does not answer, does not exist, or refuses the request.
        """
        revisions = await self.revisions(keys)
        return {key: value for key, (_, value) in revisions.items() if value is not None}

    async def revisions(self, keys: Iterable[str]) -> dict[str, tuple[int, bytes | None]]:
        """The last revision of those keys that have one, with the value; None: it was removed. As `get_many`.

        Later revisions of a bucket are greater, whatever their keys.
        """
        revisions: dict[str, tuple[int, bytes | None]] = {}
        subjects = [key_of(self._bucket, key) for key in keys]
        prefix = len(key_of(self._bucket, ""))
        for first in range(0, len(subjects), MOST_KEYS):
            for message in await self._last_of(subjects[first : first + MOST_KEYS]):
                headers = message.headers or {}
                value = None if _OPERATION in headers else message.data
                try:
                    revisions[headers["Nats-Subject"][prefix:]] = int(headers["Nats-Sequence"]), value
                except (KeyError, ValueError) as error:
                    raise Unavailable from error
        return revisions

    async def keys(self, pattern: str) -> list[str]:
        """The keys that match the pattern and have a value, up to some hundreds in a request.

        Raises:
            Unavailable: as `get_many`.
        """
        keys: list[str] = []
        after, more, prefix = 0, True, len(key_of(self._bucket, ""))
        while more:
            try:
                messages, more = await self._jetstream.many(
                    stream_of_bucket(self._bucket), key_of(self._bucket, pattern), after
                )
            except (Refused, RequestFailed) as failure:
                raise Unavailable from failure
            # A deletion is empty.
            keys += [message.subject[prefix:] for message in messages if message.payload]
            after = messages[-1].sequence if messages else after
        return keys

    async def _last_of(self, subjects: list[str]) -> list[Delivered]:
        request = msgspec.json.encode({"multi_last": subjects})
        try:
            answers = await get_directly(
                self._inbox,
                stream_of_bucket(self._bucket),
                request,
                timeout=self._patience,
                last=lambda message: message.status is not None,
            )
        except RequestFailed as failure:
            raise Unavailable from failure
        if answers[-1].status not in _END:
            raise Unavailable
        return answers[:-1]

    async def _write(self, key: str, value: bytes, headers: dict[str, str] | None) -> None:
        subject = key_of(self._bucket, key)
        try:
            answer = await self._inbox.request(subject, value, timeout=self._patience, headers=headers)
            refused = publish_ack.decode(answer.data).error
        except RequestFailed as failure:
            raise Unavailable from failure
        if refused is not None:
            raise Unavailable


def _stored(ack: Ack) -> int:
    """The revision of what was stored.

    Raises:
        Changed, OutOfSpace, Unavailable: it was not.
    """
    if publish_ack.is_conflict(ack):
        raise Changed
    if ack.error is not None:
        raise publish_ack.failure_of(Refused(ack.error))
    return ack.seq
