"""Makes one attempt at an append: a message with its condition, or an atomic batch of messages."""

import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from contracts import envelope
from streams.appending.append import Append
from streams.jetstream import publish_ack
from streams.jetstream.publish_ack import Ack, is_incomplete
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import Inbox


class Sender:
    def __init__(self, inbox: Inbox, stream_of: Callable[[str], str]) -> None:
        self._inbox = inbox
        self._stream_of = stream_of

    async def one(self, appends: Sequence[Append], timeout: float) -> Ack:
        (append,) = appends
        answer = await self._inbox.request(
            append.subject, envelope.encode(append.envelope), headers=self.headers(append), timeout=timeout
        )
        return publish_ack.decode(answer.data)

    async def together(self, appends: Sequence[Append], timeout: float) -> Ack:
        """Sends one batch; if a message of it was refused or lost, sends it again to get the reason. Bounded in all."""
        deadline = time.monotonic() + timeout
        ack = await self.batch(appends, timeout)
        if is_incomplete(ack) and (left := deadline - time.monotonic()) > 0:
            return await self.batch(appends, left, answered=True)
        return ack

    async def batch(self, appends: Sequence[Append], timeout: float, *, answered: bool = False) -> Ack:
        """Requests a reply to the last message only: a reply to each costs a sixth of the server's work, for nothing.

        `answered`: requests a reply to each message, to get the reason of a refusal.
        """
        batch_id, deadline = uuid4().hex, time.monotonic() + timeout
        seen: set[str] = set()
        async with self._inbox.open_reply(_speaks) as (reply, answer):
            for number, append in enumerate(appends, 1):
                headers = self.headers(append, conditional=append.subject not in seen)
                headers |= {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}
                is_last = number == len(appends)
                if is_last:
                    headers["Nats-Batch-Commit"] = "1"
                seen.add(append.subject)
                payload, to = envelope.encode(append.envelope), reply if is_last or answered else ""
                # Each publish may wait for a connection.
                left = max(deadline - time.monotonic(), 0.0)
                await self._inbox.publish(append.subject, payload, reply=to, headers=headers, timeout=left)
            await self._inbox.wait(answer, appends[-1].subject, max(deadline - time.monotonic(), 0.0))
        return publish_ack.decode(answer.messages[-1].data)

    def headers(self, append: Append, *, conditional: bool = True) -> dict[str, str]:
        headers = {"Nats-Msg-Id": append.envelope.id, "Nats-Expected-Stream": self._stream_of(append.subject)}
        if conditional:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(append.expected)
        return headers


def _speaks(message: Delivered) -> bool:
    # Messages of a batch before the commit get an empty reply, unless they are refused.
    return bool(message.data)
