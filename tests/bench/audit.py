"""Measures the comparison of a stream with its signed heads, the CPU time of reading alone, and the time of a proof."""

import argparse
import time

from contracts.subjects import MESSAGING
from infra.audit.event_lookup import find_event
from infra.audit.inclusion import prove
from infra.audit.notary_log import read_chain
from infra.audit.published_keys import public_keys
from streams.jetstream.client import Client
from streams.log import Log
from streams.merkle.leaf import MESSAGE_ID, leaf_hasher
from streams.reader import Reader
from tests.bench import servers
from tests.bench.events import seed
from tests.bench.report import Row, main
from tests.integration.audit.signed_history import SignedHistory

_PROOFS = 20


async def measure(arguments: argparse.Namespace) -> list[Row]:
    async with servers.nats(sync_always=False) as (client, _):
        history = SignedHistory(client)
        await seed(Log(client), arguments.events)
        ids = await _sign(client, history, arguments.events, arguments.head_every)
        reading = await _read(client, arguments.events)
        rates, cpu = list[float](), list[float]()
        for _ in range(arguments.rounds):
            busy = time.process_time()
            audit = await history.audit()
            assert audit.sound, audit
            rates.append(audit.events_per_second)
            cpu.append((time.process_time() - busy) / audit.events)
        heads = audit.heads
        begin = time.perf_counter()
        for event_id in ids:
            message = await find_event(client, event_id, (MESSAGING,))
            chain = await read_chain(client, MESSAGING, public_keys(history.key.jwks))
            await prove(client, chain, message)
        proving = (time.perf_counter() - begin) / len(ids)
    return [
        Row(f"audit of {arguments.events:,} events with {heads:,} heads, best", max(rates), "events/s", "100,000"),
        Row("slowest", min(rates), "events/s"),
        Row("CPU of this process for it, least", min(cpu) * 1e6, "µs/event"),
        Row("of these, reading with headers", reading * 1e6, "µs/event"),
        Row("one proof, the event found by its id", proving * 1e3, "ms"),
    ]


async def _sign(client: Client, history: SignedHistory, events: int, every: int) -> list[str]:
    """Stores a head for every so many events; returns the ids of some events."""
    hashed = leaf_hasher(MESSAGING)
    leaves: list[bytes] = []
    ids: list[str] = []
    async with Reader(client, MESSAGING, name="bench", headers=True) as reader:
        while len(leaves) < events:
            for message in (await reader.next(5_000)).messages:
                message_id = (message.headers or {})[MESSAGE_ID]
                leaves.append(hashed(message.sequence, message.subject, message_id, message.payload))
                if message.sequence % (events // _PROOFS) == 0:
                    ids.append(message_id)
    await history.sign_leaves(leaves, [*range(every, events, every), events])
    return ids


async def _read(client: Client, events: int) -> float:
    """Reads the stream; returns the CPU time of this process, in seconds per event."""
    busy, position = time.process_time(), 0
    async with Reader(client, MESSAGING, name="bench", headers=True, report_gaps=True) as reader:
        while position < events:
            position = (await reader.next(5_000)).position
    return (time.process_time() - busy) / events


if __name__ == "__main__":
    main(measure, events=1_000_000, head_every=1_000, rounds=3)
