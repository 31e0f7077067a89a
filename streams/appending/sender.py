"""Makes one attempt at an append: a message with its condition, or an atomic batch of messages."""

import time
from collections.abc import Callable, Sequence

from contracts import envelope
from streams.appending.append import Append
from streams.jetstream import publish_ack
from streams.jetstream.atomic_batch import publish_batch
from streams.jetstream.publish_ack import Ack, is_incomplete
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
        """Sends one batch; if a message of it was refused or lost, sends it again to get the reason.

        `timeout`: for both attempts together.
        """
        deadline = time.monotonic() + timeout
        ack = await self.batch(appends, timeout)
        if is_incomplete(ack) and (left := deadline - time.monotonic()) > 0:
            return await self.batch(appends, left, answered=True)
        return ack

    async def batch(self, appends: Sequence[Append], timeout: float, *, answered: bool = False) -> Ack:
        """Sends one batch; `answered`: as of `publish_batch`."""
        seen: set[str] = set()
        messages = []
        for append in appends:
            headers = self.headers(append, conditional=append.subject not in seen)
            seen.add(append.subject)
            messages.append((append.subject, envelope.encode(append.envelope), headers))
        return await publish_batch(self._inbox, messages, timeout, answered=answered)

    def headers(self, append: Append, *, conditional: bool = True) -> dict[str, str]:
        headers = {"Nats-Msg-Id": append.envelope.id, "Nats-Expected-Stream": self._stream_of(append.subject)}
        if conditional:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(append.expected)
        return headers
