"""The events of one subject, in order: all that were acknowledged before the call.

Each event names its predecessor: the sequence on whose condition it was appended stands in its headers. So an
aggregate is read from its last event backwards, each by its own place. A search forwards makes the server look at
every message that lies between two of them, which costs ten events among a thousand aggregates at work three times as
much, and makes it load and keep every block of the stream between two that lie far apart. It serves where events lie
close together, as far as they do; where only the first ones are wanted, and where an event does not say.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from contracts.errors import Unavailable
from streams.jetstream.api import JetStream, Link, Refused
from streams.jetstream.requests import Denied, RequestFailed
from streams.message import Message

# A look at so many messages in between costs about as much as one more request.
_NEAR = 300
# How far back one search begins, in messages: no more than a block or two, however far away the next event is.
_REACH = 16 * _NEAR
# So few requests cost less than a search does, wherever the events lie.
_FEW = 2

A = TypeVar("A")


class AggregateEvents:
    def __init__(self, jetstream: JetStream) -> None:
        self._jetstream = jetstream

    async def read(self, stream: str, subject: str, *, after: int, limit: int | None) -> list[Message]:
        """Those behind a sequence, no more than `limit`; of a pattern those of all its subjects.

        Raises:
            Unavailable: the event store cannot be reached.
            PermissionError: this service may not read that.
        """
        if limit is None and "*" not in subject and ">" not in subject:
            return await self._read_all(stream, subject, after)
        last, found = await asyncio.gather(
            reachable(self._jetstream.last(stream, subject)), self._search(stream, subject, after, limit)
        )
        return await self._completed(found, stream, subject, after, last.sequence if last else 0, limit)

    async def _read_all(self, stream: str, subject: str, after: int) -> list[Message]:
        # The leader's last event is the end of what was acknowledged; whatever comes before it cannot change any more,
        # so that any replica's word is good for that.
        link = await reachable(self._jetstream.last_link(stream, subject))
        if link is None or link.message.sequence <= after:
            return []
        backwards = [link.message]
        while link.previous is None or link.previous > after:
            known = link.message.sequence
            # One that does not say is the second of its batch as a rule.
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
        """Those behind one sequence and before another, at which there is one."""
        found = await self._search(stream, subject, after, None, until=known)
        found = await self._completed(found, stream, subject, after, known, None)
        return [message for message in found if message.sequence < known]

    async def _link(self, stream: str, sequence: int) -> Link | None:
        try:
            if (found := await self._jetstream.link_at(stream, sequence)) is not None:
                return found
        except RequestFailed:
            pass
        # The replica that was asked lags behind, or is gone.
        return await reachable(self._jetstream.link_of_leader(stream, sequence))

    async def _search(
        self, stream: str, subject: str, after: int, limit: int | None, until: int | None = None
    ) -> list[Message]:
        """What some replica has; the end may be missing. `until`: no further than to where this has been reached."""
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
        self, found: list[Message], stream: str, subject: str, after: int, last: int, limit: int | None
    ) -> list[Message]:
        """With what the replica that answered does not have as yet, up to `last`, from the leader."""
        while (behind := found[-1].sequence if found else after) < last and (limit is None or len(found) < limit):
            message = await reachable(self._jetstream.next(stream, subject, behind))
            if message is None:
                raise Unavailable
            found.append(message)
        return found


async def reachable(reading: Awaitable[A]) -> A:
    """Says in the house's words that the event store did not answer."""
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
