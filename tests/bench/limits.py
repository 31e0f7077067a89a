"""What rate limits cost the path of a send, and what sharing the counts costs: batches beside a write for each key."""

import argparse
import asyncio
import base64
import resource
import time
from collections.abc import Awaitable, Callable

from contracts.values.ids import new_id
from services.gateway.limits import policies, rate_limiter
from services.gateway.limits.rate_limiter import RateLimiter
from services.gateway.limits.shared_counts import SharedLimits
from services.gateway.security.client_address import counted_as
from streams.jetstream.client import Client
from streams.topology import ensure_limits
from tests.bench import servers
from tests.bench.report import Row, main, percentile

_SECRET = b"0" * 32
# A send as the prototype of docs/reference/performance.md takes it: CPU of all processes together.
_SEND_MICROSECONDS = 222.0


async def measure(arguments: argparse.Namespace) -> list[Row]:
    path = _path(arguments.requests, arguments.people)
    async with servers.nats(sync_always=True) as (client, _):
        await ensure_limits(client, replicas=1)
        published, publish_cpu = await _cost(lambda: _publish_counts(client, arguments.people, arguments.seconds))
        kept, kept_cpu = await _cost(lambda: _key_value(client, arguments.people, arguments.seconds))
    return [
        Row("both limits of a send, with headers, p50", percentile(path, 0.5), "µs"),
        Row("both limits of a send, with headers, p99", percentile(path, 0.99), "µs"),
        Row("of a send's CPU", 100 * percentile(path, 0.5) / _SEND_MICROSECONDS, "%", "under 5"),
        Row(f"telling of {arguments.people} people: messages a second", published / arguments.seconds, ""),
        Row("… CPU of the gateway", 100 * publish_cpu, "%"),
        Row("a key-value bucket in memory: writes a second", kept / arguments.seconds, ""),
        Row("… CPU of the gateway", 100 * kept_cpu, "%"),
    ]


def _path(requests: int, people: int) -> list[float]:
    """Microseconds of each request: counted by address and by account, and the headers written."""
    limiter = RateLimiter(_SECRET)
    keys = [new_id() for _ in range(people)]
    taken = []
    for number in range(requests):
        began = time.perf_counter()
        limit_states = [
            limiter.consume(policies.SEND_ADDRESS, counted_as("192.0.2.1")),
            limiter.consume(policies.SEND, keys[number % people]),
        ]
        rate_limiter.headers(limit_states)
        taken.append((time.perf_counter() - began) * 1e6)
    return sorted(taken)


async def _publish_counts(client: Client, people: int, seconds: int) -> int:
    """Number of gateway messages if every user sends once a second and counts are shared four times a second."""
    limiter = RateLimiter(_SECRET)

    async def nothing() -> None: ...

    shared = SharedLimits(client, limiter, policies.ALL, make_stream=nothing)
    before = (await client.jetstream().stream_info("LIMITS")).state.last_seq
    keys = [new_id() for _ in range(people)]
    for _ in range(seconds):
        for quarter in range(4):
            for key in keys[quarter::4]:
                limiter.consume(policies.SEND, key)
            await shared.publish()
            await asyncio.sleep(0.25)
    return (await client.jetstream().stream_info("LIMITS")).state.last_seq - before


async def _key_value(client: Client, people: int, seconds: int) -> int:
    """The same as one write a key and second into a key-value bucket in memory."""
    context = client.jetstream()
    bucket = await context.create_key_value(bucket="limits", storage="memory", ttl=3600)
    keys = [base64.urlsafe_b64encode(new_id().encode()).decode().rstrip("=") for _ in range(people)]
    for _ in range(seconds):
        began = time.perf_counter()
        await asyncio.gather(*(bucket.put(key, b"1795480145.875") for key in keys))
        await asyncio.sleep(max(0.0, 1.0 - (time.perf_counter() - began)))
    return people * seconds


async def _cost(work: Callable[[], Awaitable[int]]) -> tuple[int, float]:
    """Runs the work; returns its result, and the share of one core that this process used."""
    began, cpu = time.perf_counter(), _cpu()
    done = await work()
    return done, (_cpu() - cpu) / (time.perf_counter() - began)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(measure, requests=100_000, people=1_000, seconds=4)
