"""Request and reply over one shared subscription.

The client library's `request` has one reply per request and one way to fail: a time-out. An event store must
distinguish *no responders* (nothing happened) from *no answer* (anything may have happened), notice a lost connection
before the time-out, and accept several replies to one request (a batched get).
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import ClassVar, Self

from nats.aio.client import Client
from nats.errors import ConnectionClosedError, ConnectionDrainingError, OutboundBufferLimitError

from streams.jetstream.client import subscribe_direct
from streams.jetstream.raw_message import Delivered

# Seconds between checks whether a pending request can still be answered.
_CHECK_SECONDS = 0.2
_RECONNECT_CHECK_SECONDS = 0.02
NO_RESPONDERS = "503"


class RequestFailed(Exception):
    """A request was not answered. The docstring of a subclass is its message."""

    # Whether it may have taken effect, or may still do so.
    uncertain: ClassVar[bool] = False
    # Whether a retry is useless.
    final: ClassVar[bool] = False

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or (type(self).__doc__ or "").strip())


class NotSent(RequestFailed):
    """There is no connection to the event store."""


class Closed(NotSent):
    """The connection to the event store was closed."""

    final = True


class NoResponders(RequestFailed):
    """No server answers for the event store at the moment."""


class NoAnswer(RequestFailed):
    """The event store did not answer."""

    uncertain = True


class Denied(RequestFailed):
    """This service has no right to the request."""

    final = True


class Answer:
    """Collects the replies to one request; done when `last` is true of one of them."""

    __slots__ = ("_last", "deadline", "done", "messages", "reconnects", "subject")

    def __init__(self, done: asyncio.Future[None], last: Callable[[Delivered], bool]) -> None:
        self.messages: list[Delivered] = []
        self.done = done
        self._last = last
        # While a caller waits: the request's subject, its deadline (loop time) and its connection.
        self.subject = ""
        self.deadline = 0.0
        self.reconnects = 0

    def take(self, message: Delivered) -> None:
        if self.done.done():
            return
        self.messages.append(message)
        if message.status == NO_RESPONDERS:
            self.done.set_exception(NoResponders())
        elif self._last(message):
            self.done.set_result(None)


class Inbox:
    """The reply subjects of one connection; `Inbox.of(nc)` returns it."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._prefix = ""
        self._tokens = count(1)
        self._open: dict[str, Answer] = {}
        self._starting = asyncio.Lock()
        # The next check of the deadlines, and its loop time: uvloop's handle of one due at once does not tell it.
        self._next_check: asyncio.Handle | None = None
        self._next_check_at = float("inf")

    @classmethod
    def of(cls, nc: Client) -> Self:
        """The connection's inbox; it lives, and its subscription lasts, as long as the connection."""
        shared: dict[str, Self] = vars(nc)
        return shared.setdefault("_vestnik_inbox", cls(nc))

    async def request(
        self, subject: str, payload: bytes, *, timeout: float, headers: dict[str, str] | None = None
    ) -> Delivered:
        """Sends a request and waits for its single reply.

        Raises:
            RequestFailed: its subclasses tell what is known of the request's effect.
        """
        return (await self.request_many(subject, payload, timeout=timeout, headers=headers))[0]

    async def request_many(
        self,
        subject: str,
        payload: bytes,
        *,
        timeout: float,
        headers: dict[str, str] | None = None,
        last: Callable[[Delivered], bool] = lambda message: True,
    ) -> list[Delivered]:
        """Sends a request and waits for its replies, up to the one that `last` is true of."""
        reply, answer = await self.open(last)
        deadline = answer.done.get_loop().time() + timeout
        try:
            await self.publish(subject, payload, reply=reply, headers=headers, timeout=timeout)
            # The publish may have waited for a connection.
            await self.wait(answer, subject, max(deadline - answer.done.get_loop().time(), 0.0))
            return answer.messages
        finally:
            self.close(reply)

    def open_reply(self, last: Callable[[Delivered], bool]) -> "_Conversation":
        """Opens a reply subject for the duration of the context."""
        return _Conversation(self, last)

    async def publish(
        self, subject: str, payload: bytes, *, reply: str, headers: dict[str, str] | None, timeout: float
    ) -> None:
        """Publishes a message; waits up to `timeout` seconds for a connection if there is none.

        Raises:
            NotSent: there was no connection.
            ValueError: the message is larger than the server accepts.
        """
        if not self._nc.is_connected:
            await self._connected(timeout)
        if len(payload) > self._nc.max_payload:
            raise ValueError(f"{len(payload)} bytes are more than the server's limit of {self._nc.max_payload}")
        try:
            await self._nc.publish(subject, payload, reply=reply, headers=headers)
        except (ConnectionClosedError, ConnectionDrainingError) as error:
            raise Closed from error
        except OutboundBufferLimitError as error:
            raise NotSent from error

    async def wait(self, answer: Answer, subject: str, timeout: float) -> None:
        """Waits until the answer is complete.

        Raises:
            RequestFailed: it can no longer arrive.
        """
        loop = answer.done.get_loop()
        answer.subject = subject
        answer.deadline = loop.time() + timeout
        answer.reconnects = self._nc.stats["reconnects"]
        # Nearly all replies arrive before the first check: one timer serves all waiters.
        if self._next_check_at > answer.deadline:
            self._schedule_check(min(_CHECK_SECONDS, timeout), loop)
        await answer.done

    def _schedule_check(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._next_check is not None:
            self._next_check.cancel()
        self._next_check = loop.call_later(seconds, self._check_deadlines, loop)
        self._next_check_at = loop.time() + seconds

    def _check_deadlines(self, loop: asyncio.AbstractEventLoop) -> None:
        """Fails the requests that can no longer be answered."""
        self._next_check, self._next_check_at = None, float("inf")
        now, soonest = loop.time(), float("inf")
        for answer in self._open.values():
            if not answer.subject or answer.done.done():
                continue
            if self._denied(answer.subject):
                answer.done.set_exception(Denied())
            elif answer.deadline <= now or self._nc.is_closed or self._nc.stats["reconnects"] != answer.reconnects:
                answer.done.set_exception(NoAnswer())
            else:
                soonest = min(soonest, answer.deadline)
        if soonest < float("inf"):
            self._schedule_check(min(_CHECK_SECONDS, soonest - now), loop)

    def _denied(self, subject: str) -> bool:
        # The server reports a refused publish asynchronously, on the connection and not to the inbox.
        error = self._nc.last_error
        text = str(error).lower() if error else ""
        return "permissions violation" in text and f'"{subject.lower()}"' in text

    async def _connected(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while not self._nc.is_connected:
            if self._nc.is_closed or self._nc.is_draining:
                raise Closed
            if loop.time() >= deadline:
                raise NotSent
            await asyncio.sleep(_RECONNECT_CHECK_SECONDS)

    async def open(self, last: Callable[[Delivered], bool]) -> tuple[str, Answer]:
        if not self._prefix:
            await self._start()
        token = str(next(self._tokens))
        answer = Answer(asyncio.get_running_loop().create_future(), last)
        self._open[token] = answer
        return self._prefix + token, answer

    def close(self, reply: str) -> None:
        done = self._open.pop(reply.rsplit(".", 1)[1]).done
        if not done.cancel() and not done.cancelled():
            done.exception()  # marks it as retrieved: the waiter may be gone

    async def _start(self) -> None:
        async with self._starting:
            if self._prefix:
                return
            prefix = self._nc.new_inbox() + "."
            try:
                await subscribe_direct(self._nc, prefix + "*", self._dispatch, headers=True)
            except (ConnectionClosedError, ConnectionDrainingError) as error:
                raise Closed from error
            self._prefix = prefix

    def _dispatch(self, message: Delivered) -> None:
        # Replies to batched gets come under the requested subject, too: the token is always the last part.
        answer = self._open.get(message.subject.rsplit(".", 1)[1])
        if answer is not None:
            answer.take(message)


class _Conversation:
    def __init__(self, inbox: Inbox, last: Callable[[Delivered], bool]) -> None:
        self._inbox = inbox
        self._last = last

    async def __aenter__(self) -> tuple[str, Answer]:
        self._reply, answer = await self._inbox.open(self._last)
        return self._reply, answer

    async def __aexit__(self, *exception: object) -> None:
        self._inbox.close(self._reply)
