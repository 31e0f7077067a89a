"""A simulated NATS server with JetStream: the part of both protocols that `streams` uses, with faults on request.

It stores like one server with `sync_interval: always`, or like the leader of a replicated stream (`replicated`): an
append is applied some time after it arrives, in order, and acknowledged after that. What a crash or a change of leader
finds not yet applied is applied late or never.
"""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from tests.simulation.network import Network, Transport

HOST, PORT = "nats", 4222
_MAX_PAYLOAD = 1024 * 1024
_DUPLICATE_WINDOW = 120.0
# Seconds until an append is applied, and until its acknowledgement leaves, at most.
_SYNC, _ANSWER = 0.004, 0.002
_ABANDONED = 10.0
# Seconds between two appends that are applied one after the other: timers of the same moment would have no order.
_STEP = 1e-6
_CONDITION = "Nats-Expected-Last-Subject-Sequence"

Headers = dict[str, str]


class Stored:
    def __init__(self, sequence: int, subject: str, data: bytes, headers: Headers, at_ns: int) -> None:
        self.sequence = sequence
        self.subject = subject
        self.data = data
        self.headers = headers
        self.at_ns = at_ns

    @property
    def time(self) -> str:
        seconds, rest = divmod(self.at_ns, 1_000_000_000)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"

    @property
    def block(self) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return f"NATS/1.0\r\n{lines}\r\n".encode()


class Stream:
    def __init__(self, name: str, prefix: str) -> None:
        self.name = name
        self.prefix = prefix
        self.messages: list[Stored] = []
        self.last_of: dict[str, int] = {}
        self.known_ids: dict[str, tuple[int, float]] = {}

    def matching(self, subject: str, after: int) -> Iterator[Stored]:
        return (message for message in self.messages[after:] if _matches(subject, message.subject))


class Consumer:
    def __init__(self, name: str, stream: Stream, subject: str | None, begin: int) -> None:
        self.name = name
        self.stream = stream
        self.subject = subject or ">"
        self.scanned = begin - 1
        self.delivered = 0
        self.pulls: deque[Pull] = deque()

    def pending(self) -> int:
        return sum(1 for _ in self.stream.matching(self.subject, self.scanned))


class Pull:
    def __init__(self, reply: str, batch: int, expires: float, heartbeat: float) -> None:
        self.reply = reply
        self.left = batch
        self.expires = expires
        self.heartbeat = heartbeat


class NatsServer:
    def __init__(self, network: Network, streams: dict[str, str], *, replicated: bool) -> None:
        """`streams`: the prefix of the subjects of each stream."""
        self._network = network
        self._loop = network.loop
        self._rng = network.rng
        self._replicated = replicated
        self.streams = {name: Stream(name, prefix) for name, prefix in streams.items()}
        # In the order in which they came: with a set, runs would differ.
        self._connections: dict[Connection, None] = {}
        self._consumers: dict[str, Consumer] = {}
        self._batches: dict[str, tuple[float, list[tuple[str, bytes, Headers]]]] = {}
        # Appends that have arrived and are not applied yet, in order.
        self._accepted: deque[asyncio.TimerHandle] = deque()
        self._apply_at = 0.0
        # Until this time the streams have no leader.
        self._leaderless_until = 0.0
        self._ticking: asyncio.Task[None] | None = None
        # Appends acknowledged by a plain reply; figures of a run.
        self.batches_stored = 0
        self.running = False
        self.start()

    def start(self) -> None:
        self.running = True
        self._network.listen(HOST, PORT, lambda: Connection(self))
        self._ticking = self._loop.create_task(self._tick())

    def crash(self) -> None:
        """Stops at once; of the appends that were not applied yet, the first few are applied all the same."""
        self.running = False
        self._network.close(HOST, PORT)
        if self._ticking is not None:
            self._ticking.cancel()
        self._interrupt(late=0.0)
        self._consumers.clear()
        self._batches.clear()
        self._network.cut(HOST)

    def step_down(self, seconds: float) -> None:
        """The streams have no leader for some time; the new one may apply what the old one had accepted, or not."""
        self._leaderless_until = self._loop.now + seconds
        self._interrupt(late=seconds)
        self._batches.clear()

    def delay(self, seconds: float) -> None:
        """Appends that arrive from now on are applied only later, in order: a disk that is stuck."""
        self._apply_at = max(self._apply_at, self._loop.now + seconds)

    def _interrupt(self, late: float) -> None:
        waiting = [timer for timer in self._accepted if timer.when() >= self._loop.now and not timer.cancelled()]
        self._accepted.clear()
        applied = self._rng.choice((0, self._rng.randint(0, len(waiting)), len(waiting)))
        at = self._loop.now
        for number, timer in enumerate(waiting):
            callback, arguments = timer._callback, timer._args  # type: ignore[attr-defined]
            timer.cancel()
            if number < applied:
                # In order, and without an answer: whoever asked is gone, or asks somebody else.
                at += _STEP + late * self._rng.random() / applied
                self._loop.call_at(at, callback, *arguments[:-1], "")
        self._apply_at = max(self._apply_at, at)

    def connected(self, connection: "Connection") -> None:
        self._connections[connection] = None

    def disconnected(self, connection: "Connection") -> None:
        self._connections.pop(connection, None)

    def publish(self, subject: str, reply: str, headers: Headers, data: bytes) -> None:
        if subject.startswith("$JS.API."):
            self._api(subject.removeprefix("$JS.API."), reply, data)
            return
        for stream in self.streams.values():
            if subject.startswith(stream.prefix):
                self._accept(stream, subject, reply, headers, data)
                return
        self.deliver(subject, reply, b"", data)

    def deliver(self, subject: str, reply: str, block: bytes, data: bytes) -> None:
        for connection in self._connections:
            connection.deliver(subject, reply, block, data)

    # Appends

    def _accept(self, stream: Stream, subject: str, reply: str, headers: Headers, data: bytes) -> None:
        if self._loop.now < self._leaderless_until:
            if self._rng.random() < 0.5:
                self._status(reply, "503", "")
            return
        if "Nats-Batch-Id" in headers:
            self._stage(stream, subject, reply, headers, data)
        else:
            self._schedule(self._apply_one, stream, (subject, data, headers), reply)

    def _stage(self, stream: Stream, subject: str, reply: str, headers: Headers, data: bytes) -> None:
        batch, number = headers["Nats-Batch-Id"], int(headers["Nats-Batch-Sequence"])
        began, staged = self._batches.setdefault(batch, (self._loop.now, []))
        if len(staged) != number - 1 or self._loop.now - began > _ABANDONED:
            self._batches.pop(batch, None)
            self._answer(reply, _error(400, 10176, "batch publish is incomplete and was abandoned"))
            return
        staged.append((subject, data, headers))
        if headers.get("Nats-Batch-Commit") != "1":
            if reply:
                self.deliver(reply, "", b"", b"")
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
        known = self._known(stream, headers)
        if self._replicated and known is not None:
            self._answer(reply, {"stream": stream.name, "seq": known, "duplicate": True})
        elif not _holds(stream, subject, headers):
            code = self._rng.choice((10071, 10164)) if self._replicated else 10071
            self._answer(reply, _error(400, code, "wrong last sequence"))
        elif known is not None:
            self._answer(reply, {"stream": stream.name, "seq": known, "duplicate": True})
        else:
            self._answer(reply, {"stream": stream.name, "seq": self._store(stream, *message)})

    def _apply_batch(self, stream: Stream, batch: list[tuple[str, bytes, Headers]], reply: str) -> None:
        if any(self._known(stream, headers) is not None for _, _, headers in batch):
            self._answer(reply, _error(400, 10201, "batch publish contains duplicate message id"))
        elif not all(_holds(stream, subject, headers) for subject, _, headers in batch):
            self._answer(reply, _error(400, 10071, "wrong last sequence"))
        else:
            sequences = [self._store(stream, *message) for message in batch]
            self.batches_stored += 1
            self._answer(reply, {"stream": stream.name, "seq": sequences[-1], "count": len(batch)})

    def _known(self, stream: Stream, headers: Headers) -> int | None:
        sequence, at = stream.known_ids.get(headers.get("Nats-Msg-Id", ""), (None, 0.0))
        return sequence if self._loop.now - at < _DUPLICATE_WINDOW else None

    def _store(self, stream: Stream, subject: str, data: bytes, headers: Headers) -> int:
        sequence = len(stream.messages) + 1
        kept = {name: value for name, value in headers.items() if not name.startswith("Nats-Batch")}
        stream.messages.append(Stored(sequence, subject, data, kept, int(self._loop.now * 1e9)))
        stream.last_of[subject] = sequence
        if (event_id := headers.get("Nats-Msg-Id")) is not None:
            stream.known_ids[event_id] = sequence, self._loop.now
        for consumer in self._consumers.values():
            if consumer.stream is stream:
                self._serve(consumer)
        return sequence

    # The API

    def _api(self, call: str, reply: str, data: bytes) -> None:
        parts = call.split(".")
        request: dict[str, Any] = json.loads(data) if data else {}
        match parts:
            case ["STREAM", "INFO", name]:
                self._of_leader(reply, name, self._info)
            case ["STREAM", "MSG", "GET", name]:
                self._of_leader(reply, name, lambda stream: self._message(stream, request))
            case ["DIRECT", "GET", name]:
                self._direct(self.streams[name], request, reply)
            case ["CONSUMER", "CREATE", name, *_]:
                self._of_leader(reply, name, lambda stream: self._create(stream, request["config"]))
            case ["CONSUMER", "DELETE", _, name]:
                self._consumers.pop(name, None)
            case ["CONSUMER", "MSG", "NEXT", _, name]:
                self._pull(name, request, reply)
            case _:
                raise AssertionError(f"not simulated: {call}")

    def _of_leader(self, reply: str, name: str, act: Callable[[Stream], dict[str, Any]]) -> None:
        stream = self.streams.get(name)
        if self._loop.now < self._leaderless_until:
            if self._rng.random() < 0.5:
                self._answer(reply, _error(503, 10008, "JetStream system temporarily unavailable"))
        elif stream is None:
            self._answer(reply, _error(404, 10059, "stream not found"))
        else:
            self._answer(reply, act(stream))

    def _info(self, stream: Stream) -> dict[str, Any]:
        count = len(stream.messages)
        state = {"messages": count, "bytes": count, "first_seq": min(1, count), "last_seq": count}
        return {"config": {"name": stream.name}, "state": state}

    def _message(self, stream: Stream, request: dict[str, Any]) -> dict[str, Any]:
        found = _find(stream, request, len(stream.messages))
        if found is None:
            return _error(404, 10037, "no message found")
        message = {"subject": found.subject, "seq": found.sequence, "time": found.time}
        encoded = {"data": base64.b64encode(found.data).decode(), "hdrs": base64.b64encode(found.block).decode()}
        return {"message": message | encoded}

    def _direct(self, stream: Stream, request: dict[str, Any], reply: str) -> None:
        """Answered by a replica that may lag behind."""
        end = len(stream.messages)
        if self._replicated:
            end = max(0, end - self._rng.choice((0, 0, 1, 5)))
        if "batch" not in request:
            found = _find(stream, request, end)
            if found is None:
                self._status(reply, "404", "Message Not Found")
            else:
                self._later(reply, _direct_headers(stream, found, {}), found.data)
            return
        matches = [
            each for each in stream.matching(request["next_by_subj"], request["seq"] - 1) if each.sequence <= end
        ]
        page, previous = matches[: request["batch"]], 0
        if not page:
            self._status(reply, "404", "No Results")
            return
        for number, found in enumerate(page, 1):
            extra = {"Nats-Num-Pending": str(len(matches) - number), "Nats-Last-Sequence": str(previous)}
            previous = found.sequence
            self._later(reply, _direct_headers(stream, found, extra), found.data)
        lines = f"Nats-Num-Pending: {len(matches) - len(page)}\r\nNats-Last-Sequence: {previous}\r\n"
        self._later(reply, f"NATS/1.0 204 EOB\r\n{lines}\r\n".encode(), b"")

    # Consumers

    def _create(self, stream: Stream, config: dict[str, Any]) -> dict[str, Any]:
        name = config["name"]
        consumer = Consumer(name, stream, config.get("filter_subject"), config["opt_start_seq"])
        self._consumers[name] = consumer
        return {"name": name, "num_pending": consumer.pending()}

    def _pull(self, name: str, request: dict[str, Any], reply: str) -> None:
        consumer = self._consumers.get(name)
        if consumer is None:
            self._status(reply, "503", "")
            return
        now = self._loop.now
        beat = request["idle_heartbeat"] / 1e9
        consumer.pulls.append(Pull(reply, request["batch"], now + request["expires"] / 1e9, beat))
        self._serve(consumer)

    def _serve(self, consumer: Consumer) -> None:
        if self._loop.now < self._leaderless_until:
            return
        for message in list(consumer.stream.matching(consumer.subject, consumer.scanned)):
            if not consumer.pulls:
                return
            pull = consumer.pulls[0]
            consumer.scanned = message.sequence
            consumer.delivered += 1
            own, pending = consumer.delivered, consumer.pending()
            reply = (
                f"$JS.ACK.{consumer.stream.name}.{consumer.name}.1.{message.sequence}.{own}.{message.at_ns}.{pending}"
            )
            self._deliver_later(pull.reply, message.subject, reply, message.block, message.data)
            pull.left -= 1
            if pull.left == 0:
                consumer.pulls.popleft()
        consumer.scanned = len(consumer.stream.messages)

    async def _tick(self) -> None:
        """Heartbeats of idle pull requests, and their ends."""
        while True:
            await asyncio.sleep(0.2)
            for consumer in list(self._consumers.values()):
                self._serve(consumer)
                while consumer.pulls and consumer.pulls[0].expires <= self._loop.now:
                    pull = consumer.pulls.popleft()
                    left = f"Nats-Pending-Messages: {pull.left}\r\nNats-Pending-Bytes: 0\r\n"
                    self._later(pull.reply, f"NATS/1.0 408 Request Timeout\r\n{left}\r\n".encode(), b"")
                if consumer.pulls:
                    seen = f"Nats-Last-Consumer: {consumer.delivered}\r\nNats-Last-Stream: {consumer.scanned}\r\n"
                    block = f"NATS/1.0 100 Idle Heartbeat\r\n{seen}\r\n".encode()
                    self._later(consumer.pulls[0].reply, block, b"")

    # Answers

    def _answer(self, reply: str, answer: dict[str, Any]) -> None:
        if reply:
            data = json.dumps(answer).encode()
            self._loop.call_later(self._rng.random() * _ANSWER, self.deliver, reply, "", b"", data)

    def _status(self, reply: str, status: str, description: str) -> None:
        if reply:
            self._later(reply, f"NATS/1.0 {status} {description}".rstrip().encode() + b"\r\n\r\n", b"")

    def _later(self, subject: str, block: bytes, data: bytes) -> None:
        self._deliver_later(subject, subject, "", block, data)

    def _deliver_later(self, inbox: str, subject: str, reply: str, block: bytes, data: bytes) -> None:
        for connection in self._connections:
            connection.deliver(inbox, reply, block, data, shown=subject)


class Connection(asyncio.Protocol):
    """One client's connection, in NATS's text protocol."""

    def __init__(self, server: NatsServer) -> None:
        self._server = server
        self._subscriptions: dict[str, str] = {}
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Transport)
        self._transport = transport
        info = {"server_id": "S", "version": "2.15.1", "proto": 1, "headers": True, "max_payload": _MAX_PAYLOAD}
        transport.write(b"INFO " + json.dumps(info).encode() + b"\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.disconnected(self)

    def data_received(self, data: bytes) -> None:
        self._left += data
        while (end := self._left.find(b"\r\n")) >= 0:
            words = self._left[:end].decode().split(" ")
            size = int(words[-1]) if words[0] in ("PUB", "HPUB") else 0
            after = end + 2 + (size + 2 if words[0] in ("PUB", "HPUB") else 0)
            if len(self._left) < after:
                return
            body, self._left = self._left[end + 2 : end + 2 + size], self._left[after:]
            self._command([word for word in words if word], body)

    def deliver(self, subject: str, reply: str, block: bytes, data: bytes, *, shown: str = "") -> None:
        """Sends a message to the connection's subscriptions on the subject; `shown`: the subject that it names."""
        for sid, pattern in self._subscriptions.items():
            if _matches(pattern, subject):
                head = f"{shown or subject} {sid} {reply}".rstrip()
                if block:
                    line = f"HMSG {head} {len(block)} {len(block) + len(data)}\r\n"
                else:
                    line = f"MSG {head} {len(data)}\r\n"
                self._transport.write(line.encode() + block + data + b"\r\n")

    def _command(self, words: list[str], body: bytes) -> None:
        match words:
            case ["CONNECT", *_]:
                self._server.connected(self)
            case ["PING"]:
                self._transport.write(b"PONG\r\n")
            case ["SUB", subject, sid]:
                self._subscriptions[sid] = subject
            case ["UNSUB", sid, *_]:
                self._subscriptions.pop(sid, None)
            case ["PUB", subject, *reply, _]:
                self._server.publish(subject, "".join(reply), {}, body)
            case ["HPUB", subject, *reply, length, _]:
                block, data = body[: int(length)], body[int(length) :]
                lines = block.decode().split("\r\n")[1:-2]
                headers = dict(line.split(": ", 1) for line in lines)
                self._server.publish(subject, "".join(reply), headers, data)


def _find(stream: Stream, request: dict[str, Any], end: int) -> Stored | None:
    if "last_by_subj" in request:
        sequence = stream.last_of.get(request["last_by_subj"], 0)
    elif "next_by_subj" in request:
        found = next(stream.matching(request["next_by_subj"], request["seq"] - 1), None)
        sequence = found.sequence if found else 0
    else:
        sequence = request["seq"]
    return stream.messages[sequence - 1] if 0 < sequence <= end else None


def _holds(stream: Stream, subject: str, headers: Headers) -> bool:
    expected = headers.get(_CONDITION)
    return expected is None or int(expected) == stream.last_of.get(subject, 0)


def _direct_headers(stream: Stream, found: Stored, extra: Headers) -> bytes:
    own = {
        "Nats-Stream": stream.name,
        "Nats-Subject": found.subject,
        "Nats-Sequence": str(found.sequence),
        "Nats-Time-Stamp": found.time,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in (found.headers | own | extra).items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


def _error(code: int, err_code: int, description: str) -> dict[str, Any]:
    return {"error": {"code": code, "err_code": err_code, "description": description}}


def _matches(pattern: str, subject: str) -> bool:
    if pattern in (subject, ">"):
        return True
    wanted, words = pattern.split("."), subject.split(".")
    for number, token in enumerate(wanted):
        if token == ">":
            return len(words) > number
        if number >= len(words) or token not in ("*", words[number]):
            return False
    return len(wanted) == len(words)
