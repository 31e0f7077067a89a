"""Sends requests to the gateway, with retries: every request of a load is idempotent."""

import asyncio
import random
import time
from collections import Counter

import msgspec

from contracts.errors import error_text
from infra.load.errors import GaveUp, LoadError, Refused
from infra.load.http_connections import ConnectionLost, Connections, Response

# Transient statuses: the gateway or a service behind it is away, busy, or limits the rate.
_PASSING = frozenset({429, 502, 503, 504})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_LONGEST_RETRY_AFTER = 60.0
_TIMEOUT = 30.0


class Problem(msgspec.Struct):
    """The parts of a problem document that the load uses."""

    code: str = "unknown"
    detail: str = ""


_PROBLEMS = msgspec.json.Decoder(Problem)
_ENCODER = msgspec.json.Encoder()


class Gateway:
    """A client of one gateway; retries transient failures with backoff and counts retries by reason."""

    def __init__(self, url: str, *, patience: float = 60.0) -> None:
        self.url = url
        # Seconds for which a request is retried before it fails; waiting for a rate limit does not count.
        self._patience = patience
        self._connections = Connections(url)
        self.repeated: Counter[str] = Counter()

    async def check(self) -> None:
        """Sends one request without retries.

        Raises:
            LoadError: the gateway does not answer.
        """
        try:
            await self._connections.request("GET", "/healthz", timeout=5.0)
        except (OSError, ConnectionLost) as error:
            raise LoadError(f"Cannot reach the gateway at {self.url} ({error_text(error)}). Is it running?") from error

    async def ask(self, method: str, path: str, body: object | None = None, *, token: str | None = None) -> Response:
        """Returns the first response without a transient status; its status may still be an error.

        Raises:
            GaveUp: there was none before the deadline.
        """
        content = None if body is None else _ENCODER.encode(body)
        deadline = time.monotonic() + self._patience
        pause = _FIRST_PAUSE
        while True:
            wait = pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads repeats, guards nothing
            try:
                response = await self._connections.request(method, path, token=token, body=content, timeout=_TIMEOUT)
            except TimeoutError:
                reason = "no answer in time"
            except (OSError, ConnectionLost) as error:
                reason = "connection lost"
                if isinstance(error, ConnectionRefusedError):
                    reason = "connection refused"
            else:
                if response.status not in _PASSING:
                    return response
                reason = f"{response.status} {problem(response).code}"
                wait = max(wait, _retry_after(response))
                if response.status == 429:
                    deadline += wait
            self.repeated[reason] += 1
            if time.monotonic() + wait > deadline:
                raise GaveUp(reason)
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def close(self) -> None:
        self._connections.close()


def problem(response: Response) -> Problem:
    """Decodes the problem document of an error response; unknown if the response has none."""
    try:
        return _PROBLEMS.decode(response.body)
    except msgspec.DecodeError:
        return Problem()


def refusal(response: Response) -> Refused:
    problem_body = problem(response)
    return Refused(response.status, problem_body.code, problem_body.detail)


def _retry_after(response: Response) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text), _LONGEST_RETRY_AFTER) if text.isdigit() else 0.0
