"""What sealed personal data costs: sealing a message, reading it, a rebuild of conversations, each against plain form.

The history has more keys than a process caches, so that a rebuild looks keys up as a real one does.
"""

import argparse
import time
from datetime import UTC, datetime
from itertools import islice

from contracts.envelope import Envelope, encode, seal
from contracts.subjects import DATA_KEYS
from projections.conversations import Conversations
from projections.engine.rebuild.rebuild import rebuild
from streams.jetstream.client import Client
from streams.message import Message
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.reading import readable, unseal_with
from streams.personal_data.sealer import Sealer
from streams.personal_data.unsealer import Unsealer
from streams.topology import ensure_bucket
from tests.bench import history, servers
from tests.bench.events import provenance
from tests.bench.report import Row, main
from tests.integration.recorded_keys import RING, Recorded

_PAGE = 500
_AT = datetime(2026, 1, 15, tzinfo=UTC)


async def measure(arguments: argparse.Namespace) -> list[Row]:
    people = history.people()
    talk = [
        (subject, seal(event, aggregate_id=aggregate, version=1, provenance=provenance(aggregate), at=_AT))
        for subject, aggregate, event in islice(history.talk(people), arguments.events)
    ]
    rates = {}
    for form in ("plain", "sealed"):
        async with servers.nats(sync_always=False) as (client, _), servers.postgres() as url:
            await ensure_bucket(client, DATA_KEYS, replicas=1)
            store = KeyStore(client, patience=60)
            keys = DataKeys(store, RING)
            unseal_with(client, Unsealer(keys))
            sealer = Sealer(keys, KeyCreation(store, RING, Recorded()).create)
            stored = talk
            if form == "sealed":
                stored = [
                    (subject, envelope)
                    for first in range(0, len(talk), _PAGE)
                    for subject, envelope in await _sealed(sealer, talk[first : first + _PAGE])
                ]
                micro = await _single(client, sealer, talk, stored)
            await _write(client, stored)
            rates[form] = max([await _rebuilt(client, url) for _ in range(arguments.rounds)])
    return [
        *micro,
        Row(f"rebuild of conversations, {arguments.events:,} events, plain", rates["plain"], "events/s"),
        Row("rebuild of conversations, sealed", rates["sealed"], "events/s"),
        Row("more time for a rebuild", (rates["plain"] / rates["sealed"] - 1) * 100, "%", "under 8"),
    ]


async def _sealed(sealer: Sealer, talk: list[tuple[str, Envelope]]) -> list[tuple[str, Envelope]]:
    envelopes = await sealer.seal_envelopes([envelope for _, envelope in talk])
    return [(subject, envelope) for (subject, _), envelope in zip(talk, envelopes, strict=True)]


async def _single(
    client: Client, sealer: Sealer, talk: list[tuple[str, Envelope]], stored: list[tuple[str, Envelope]]
) -> list[Row]:
    """CPU per message with cached keys, sealing and reading."""
    known = [number for number, (_, envelope) in enumerate(talk[:20_000]) if envelope.type == "message.sent"][:_PAGE]
    plain = [_message(*talk[number], number) for number in known]
    sealed = [_message(*stored[number], number) for number in known]
    await readable(client, sealed)
    rounds = range(20)
    begun = time.process_time()
    for _ in rounds:
        for number in known:
            await sealer.seal_envelopes([talk[number][1]])
    sealing = time.process_time() - begun
    read = []
    for messages in (plain, sealed):
        begun = time.process_time()
        for _ in rounds:
            for message in await readable(client, messages):
                message.open()
        read.append(time.process_time() - begun)
    per = 1e6 / (len(known) * len(rounds))
    return [
        Row("seal a message with a cached key", sealing * per, "µs"),
        Row("open a plain message", read[0] * per, "µs"),
        Row("open a sealed message", read[1] * per, "µs"),
    ]


def _message(subject: str, envelope: Envelope, number: int) -> Message:
    return Message("MESSAGING", number + 1, subject, encode(envelope))


async def _write(client: Client, stored: list[tuple[str, Envelope]]) -> None:
    for number, (subject, envelope) in enumerate(stored, start=1):
        if number % 2_000:
            await client.publish(subject, encode(envelope), headers={"Nats-Msg-Id": envelope.id})
        else:
            await client.jetstream().publish(
                subject, encode(envelope), headers={"Nats-Msg-Id": envelope.id}, timeout=60
            )
    await client.flush(60)


async def _rebuilt(client: Client, url: str) -> float:
    rebuilt = await rebuild(Conversations, client, url)
    return rebuilt.events / rebuilt.seconds


if __name__ == "__main__":
    main(measure, events=200_000, rounds=3)
