"""The API of the simulated server: settings and ends of streams, gets from the leader and from any replica."""

import base64
import json
from collections.abc import Callable
from typing import Any

from tests.simulation.nats.consumers import Consumers
from tests.simulation.nats.leadership import Leadership
from tests.simulation.nats.outlet import Outlet
from tests.simulation.nats.store import Headers, Stored, Stream, error
from tests.simulation.network import Network

# Seconds for which a deposed leader answers after it was deposed, at most.
_DEPOSED = 5.0


class Api:
    def __init__(
        self,
        network: Network,
        outlet: Outlet,
        leadership: Leadership,
        streams: dict[str, Stream],
        consumers: Consumers,
    ) -> None:
        self._rng = network.rng
        self._outlet = outlet
        self._leadership = leadership
        self._streams = streams
        self._consumers = consumers

    def call(self, call: str, reply: str, data: bytes) -> None:
        request: dict[str, Any] = json.loads(data) if data else {}
        match call.split("."):
            case ["STREAM", "INFO", name]:
                self._of_leader(reply, name, self._info)
            case ["STREAM", "MSG", "GET", name]:
                self._of_leader(reply, name, lambda stream: self._message(stream, request))
            case ["DIRECT", "GET", name]:
                self._direct(self._streams[name], request, reply)
            case ["CONSUMER", "CREATE", name, *_]:
                self._of_leader(reply, name, lambda stream: self._consumers.create(stream, request["config"]))
            case ["CONSUMER", "DELETE", _, name]:
                self._consumers.delete(name)
            case ["CONSUMER", "MSG", "NEXT", _, name]:
                self._consumers.pull(name, request, reply)
            case _:
                raise AssertionError(f"not simulated: {call}")

    def _of_leader(self, reply: str, name: str, act: Callable[[Stream], dict[str, Any]]) -> None:
        stream = self._streams.get(name)
        if self._leadership.is_vacant():
            if self._rng.random() < 0.5:
                self._outlet.answer(reply, error(503, 10008, "JetStream system temporarily unavailable"))
        elif stream is None:
            self._outlet.answer(reply, error(404, 10059, "stream not found"))
        else:
            self._outlet.answer(reply, act(stream))

    def _info(self, stream: Stream) -> dict[str, Any]:
        end = stream.end
        if self._leadership.replicas > 1 and self._leadership.since() < _DEPOSED and self._rng.random() < 0.3:
            # A deposed leader answers with the end of its copy.
            end = max(0, end - self._rng.randint(1, 5))
        state = {"messages": end, "bytes": end, "first_seq": min(1, end), "last_seq": end}
        return {"config": {"name": stream.name, "num_replicas": self._leadership.replicas}, "state": state}

    def _message(self, stream: Stream, request: dict[str, Any]) -> dict[str, Any]:
        stored = stream.find(request, stream.end)
        if stored is None:
            return error(404, 10037, "no message found")
        message = {"subject": stored.subject, "seq": stored.sequence, "time": stored.time}
        encoded = {"data": base64.b64encode(stored.data).decode(), "hdrs": base64.b64encode(stored.block).decode()}
        return {"message": message | encoded}

    def _direct(self, stream: Stream, request: dict[str, Any], reply: str) -> None:
        """Answered by a replica that may lag."""
        end = stream.end
        if self._leadership.replicas > 1:
            end = max(0, end - self._rng.choice((0, 0, 1, 5)))
        if "batch" not in request:
            stored = stream.find(request, end)
            if stored is None:
                self._outlet.status(reply, "404 Message Not Found")
            else:
                self._send(stream, stored, {}, reply)
            return
        matching = [
            message
            for message in stream.matching(request["next_by_subj"], request["seq"] - 1)
            if message.sequence <= end
        ]
        page, previous = matching[: request["batch"]], 0
        if not page:
            self._outlet.status(reply, "404 No Results")
            return
        for number, stored in enumerate(page, 1):
            pending_headers = {"Nats-Num-Pending": str(len(matching) - number), "Nats-Last-Sequence": str(previous)}
            previous = stored.sequence
            self._send(stream, stored, pending_headers, reply)
        pending_headers = {"Nats-Num-Pending": str(len(matching) - len(page)), "Nats-Last-Sequence": str(previous)}
        self._outlet.status(reply, "204 EOB", pending_headers)

    def _send(self, stream: Stream, stored: Stored, extra: Headers, reply: str) -> None:
        message_headers = {
            "Nats-Stream": stream.name,
            "Nats-Subject": stored.subject,
            "Nats-Sequence": str(stored.sequence),
            "Nats-Time-Stamp": stored.time,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in (stored.headers | message_headers | extra).items())
        self._outlet.send(reply, reply, "", f"NATS/1.0\r\n{lines}\r\n".encode(), stored.data)
