"""Reads the events of one subject, in order: all that were acknowledged before the call.

Each event names its predecessor: its headers contain the sequence on whose condition it was appended. So an aggregate
is read from its last event backwards, each event by its sequence. A forward search makes the server scan every message
between two of them. For ten events among a thousand active aggregates that costs three times as much, and the server
loads and keeps every stream block between events that are far apart. The forward search is used for events that are
close together, if only the first ones are wanted, and if an event does not name its predecessor.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from contracts.errors import Unavailable
from streams.jetstream.api import JetStream, Link, Refused
from streams.jetstream.requests import Denied, RequestFailed
from streams.message import Message

# Scanning this many messages in between costs about as much as one more request.
_NEAR = 300
# How far back a search begins, in messages: at most a block or two, however far away the next event is.
_REACH = 16 * _NEAR
# This few requests cost less than a search, wherever the events are.
_FEW = 2

A = TypeVar("A")


class AggregateEvents:
    def __init__(self, jetstream: JetStream) -> None:
        self._jetstream = jetstream

    async def read(self, stream: str, subject: str, *, after: int, limit: int | None) -> list[Message]:
        """The events after a sequence, up to `limit`; for a pattern those of all its subjects.

        Raises:
            Unavailable: the event store cannot be reached.
            PermissionError: this service may not read that.
        """
        if limit is None and "*" not in subject and ">" not in subject:
            return await self._read_all(stream, subject, after)
        last, events = await asyncio.gather(
            reachable(self._jetstream.last(stream, subject)), self._search(stream, subject, after, limit)
        )
        return await self._completed(events, stream, subject, after, last.sequence if last else 0, limit)

    async def _read_all(self, stream: str, subject: str, after: int) -> list[Message]:
        # The leader's last event is the end of what was acknowledged. Earlier events cannot change, so any replica may
        # serve them.
        link = await reachable(self._jetstream.last_link(stream, subject))
        if link is None or link.message.sequence <= after:
            return []
        backwards = [link.message]
        while link.previous is None or link.previous > after:
            known = link.message.sequence
            # An event that does not name its predecessor is usually the second of its batch.
            if link.previous is None or (len(backwards) >= _FEW and known - link.previous < _NEAR):
                begin = max(after, known - _REACH)
                near = await self._between(stream, subject, begin, known)
                if begin == after:
                    return near + backwards[::-1]
                if not near:
                    break
                backwards += near[::-1]
                before = await self._link(stream, near[0].sequence)
            else:
                before = await self._link(stream, link.previous)
                if before is not None and before.message.subject == subject:
                    backwards.append(before.message)
            if before is None or before.message.subject != subject:
                break
            link = before
        backwards.reverse()
        if link.previous is not None and link.previous <= after:
            return backwards
        return await self._between(stream, subject, after, backwards[0].sequence) + backwards

    async def _between(self, stream: str, subject: str, after: int, known: int) -> list[Message]:
        """The events after one sequence and before `known`, at which there is an event."""
        events = await self._search(stream, subject, after, None, until=known)
        events = await self._completed(events, stream, subject, after, known, None)
        return [message for message in events if message.sequence < known]

    async def _link(self, stream: str, sequence: int) -> Link | None:
        try:
            if (link := await self._jetstream.link_at(stream, sequence)) is not None:
                return link
        except RequestFailed:
            pass
        # That replica lags behind, or is gone.
        return await reachable(self._jetstream.link_of_leader(stream, sequence))

    async def _search(
        self, stream: str, subject: str, after: int, limit: int | None, until: int | None = None
    ) -> list[Message]:
        """The events that some replica has; the last ones may be missing. `until`: stops when this is reached."""
        messages: list[Message] = []
        more = True
        while more and (left := None if limit is None else limit - len(messages)) != 0:
            behind = messages[-1].sequence if messages else after
            if until is not None and behind >= until:
                break
            try:
                page, more = await self._jetstream.many(stream, subject, behind, limit=left)
            except RequestFailed:
                return messages
            messages += page
            more = more and bool(page)
        return messages

    async def _completed(
        self, events: list[Message], stream: str, subject: str, after: int, last: int, limit: int | None
    ) -> list[Message]:
        """Adds the events up to `last` that the replica does not have yet, from the leader."""
        while (behind := events[-1].sequence if events else after) < last and (limit is None or len(events) < limit):
            message = await reachable(self._jetstream.next(stream, subject, behind))
            if message is None:
                raise Unavailable
            events.append(message)
        return events


async def reachable(reading: Awaitable[A]) -> A:
    """Translates a failed read of the event store.

    Raises:
        PermissionError: this service may not read the stream.
        Unavailable: the event store did not answer, or refused for the moment.
        Refused: it refused permanently.
    """
    try:
        return await reading
    except Denied as denied:
        raise PermissionError("no right to read this stream") from denied
    except RequestFailed as failure:
        raise Unavailable from failure
    except Refused as refused:
        if refused.may_pass:
            raise Unavailable from refused
        raise
