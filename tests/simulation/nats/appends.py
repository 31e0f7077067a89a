"""The appends of the simulated server: applied in order some time after they arrive, alone or in batches."""

import asyncio
from collections import deque
from collections.abc import Callable

from tests.simulation.nats.consumers import Consumers
from tests.simulation.nats.leadership import Leadership
from tests.simulation.nats.outlet import Outlet
from tests.simulation.nats.store import Headers, Stored, Stream, error
from tests.simulation.network import Network

_DUPLICATE_WINDOW = 120.0
# Seconds until an append is applied, at most.
_SYNC = 0.004
_ABANDONED = 10.0
# Seconds between two appends that are applied one after the other: timers of the same moment would have no order.
_STEP = 1e-6


class Appends:
    def __init__(self, network: Network, outlet: Outlet, leadership: Leadership, consumers: Consumers) -> None:
        self._loop = network.loop
        self._rng = network.rng
        self._outlet = outlet
        self._leadership = leadership
        self._consumers = consumers
        self._replicated = leadership.replicas > 1
        self._batches: dict[str, tuple[float, list[tuple[str, bytes, Headers]]]] = {}
        # Appends that have arrived and are not applied yet, in order.
        self._accepted: deque[asyncio.TimerHandle] = deque()
        self._apply_at = 0.0

    def delay(self, seconds: float) -> None:
        """Appends that arrive from now on are applied only later, in order."""
        self._apply_at = max(self._apply_at, self._loop.now + seconds)

    def interrupt(self, longest_delay: float) -> None:
        """Crashes: applies the first few of the pending appends; the batches under way are lost."""
        self._batches.clear()
        waiting = [timer for timer in self._accepted if timer.when() >= self._loop.now and not timer.cancelled()]
        self._accepted.clear()
        applied = self._rng.choice((0, self._rng.randint(0, len(waiting)), len(waiting)))
        at = self._loop.now
        for number, timer in enumerate(waiting):
            callback, arguments = timer._callback, timer._args  # type: ignore[attr-defined]
            timer.cancel()
            if number < applied:
                # In order, and without an answer: the client is gone, or connected to another server.
                at += _STEP + longest_delay * self._rng.random() / applied
                self._loop.call_at(at, callback, *arguments[:-1], "")
        self._apply_at = max(self._apply_at, at)

    def accept(self, stream: Stream, subject: str, reply: str, headers: Headers, data: bytes) -> None:
        if self._leadership.is_vacant():
            if self._rng.random() < 0.5:
                self._outlet.status(reply, "503")
            return
        if "Nats-Batch-Id" in headers:
            self._stage(stream, subject, reply, headers, data)
        else:
            self._schedule(self._apply_one, stream, (subject, data, headers), reply)

    def _stage(self, stream: Stream, subject: str, reply: str, headers: Headers, data: bytes) -> None:
        batch, number = headers["Nats-Batch-Id"], int(headers["Nats-Batch-Sequence"])
        started, staged = self._batches.setdefault(batch, (self._loop.now, []))
        if len(staged) != number - 1 or self._loop.now - started > _ABANDONED:
            self._batches.pop(batch, None)
            self._outlet.answer(reply, error(400, 10176, "batch publish is incomplete and was abandoned"))
            return
        staged.append((subject, data, headers))
        if headers.get("Nats-Batch-Commit") != "1":
            if reply:
                self._outlet.send(reply, reply, "", b"", b"")
            return
        del self._batches[batch]
        self._schedule(self._apply_batch, stream, staged, reply)

    def _schedule(self, apply: Callable[..., None], *arguments: object) -> None:
        self._apply_at = max(self._apply_at + _STEP, self._loop.now + self._rng.random() * _SYNC)
        while self._accepted and self._accepted[0].when() < self._loop.now:
            self._accepted.popleft()
        self._accepted.append(self._loop.call_at(self._apply_at, apply, *arguments))

    def _apply_one(self, stream: Stream, message: tuple[str, bytes, Headers], reply: str) -> None:
        subject, _, headers = message
        known_sequence = self._known(stream, headers)
        if self._replicated and known_sequence is not None:
            self._outlet.answer(reply, {"stream": stream.name, "seq": known_sequence, "duplicate": True})
        elif not stream.holds(subject, headers):
            code = self._rng.choice((10071, 10164)) if self._replicated else 10071
            self._outlet.answer(reply, error(400, code, "wrong last sequence"))
        elif known_sequence is not None:
            self._outlet.answer(reply, {"stream": stream.name, "seq": known_sequence, "duplicate": True})
        else:
            self._outlet.answer(reply, {"stream": stream.name, "seq": self.store(stream, *message)})

    def _apply_batch(self, stream: Stream, batch: list[tuple[str, bytes, Headers]], reply: str) -> None:
        if any(self._known(stream, headers) is not None for _, _, headers in batch):
            self._outlet.answer(reply, error(400, 10201, "batch publish contains duplicate message id"))
        elif not all(stream.holds(subject, headers) for subject, _, headers in batch):
            self._outlet.answer(reply, error(400, 10071, "wrong last sequence"))
        else:
            sequences = [self.store(stream, *message) for message in batch]
            self._outlet.answer(reply, {"stream": stream.name, "seq": sequences[-1], "count": len(batch)})

    def _known(self, stream: Stream, headers: Headers) -> int | None:
        sequence, at = stream.known_ids.get(headers.get("Nats-Msg-Id", ""), (None, 0.0))
        return sequence if self._loop.now - at < _DUPLICATE_WINDOW else None

    def store(self, stream: Stream, subject: str, data: bytes, headers: Headers) -> int:
        """Stores a message synchronously, whatever its condition."""
        sequence = len(stream.messages) + 1
        stored_headers = {name: value for name, value in headers.items() if not name.startswith("Nats-Batch")}
        stream.messages.append(Stored(sequence, subject, data, stored_headers, int(self._loop.now * 1e9)))
        stream.last_of[subject] = sequence
        if (event_id := headers.get("Nats-Msg-Id")) is not None:
            stream.known_ids[event_id] = sequence, self._loop.now
        self._consumers.stored(stream)
        return sequence
