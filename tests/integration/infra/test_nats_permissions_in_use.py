"""Every operation that an account needs is possible with its rights."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from nats.errors import NoRespondersError

from contracts.durable_consumers import PROFILE_CREATION
from contracts.envelope import Provenance, Recorded, seal
from contracts.events.event import Event
from contracts.events.user import UserCreated
from contracts.positions import Position
from contracts.services import GATEWAY, NOTARY, OPERATOR
from contracts.subjects import AUTH, DEAD_LETTERS_FILTER, PUBLIC_FILTERS, STREAMS, user
from contracts.subjects import OPERATOR as STREAM_OF_OPERATORS
from contracts.values.ids import new_id
from infra.security.nats_permissions import NOTICES
from infra.security.secrets import TOPOLOGY
from projections.engine import Projection
from projections.engine.reading import begin
from services.gateway.limits import policies
from services.gateway.limits.rate_limiter import RateLimiter
from services.gateway.limits.shared_counts import SharedLimits
from streams.log import Append, Log
from streams.reactions.reactor import EventReactor
from streams.topology import ensure_limits
from tests.integration.infra.nats_parties import EVENTS, PRIVATE, Parties, append_everything, parties, seen


@pytest_asyncio.fixture
async def nats_parties(tmp_path: Path) -> AsyncIterator[Parties]:
    async with parties(tmp_path) as opened:
        yield opened


def created(user_id: str) -> Append:
    event = UserCreated(username="anna", display_name="Anna")
    envelope = seal(event, aggregate_id=user_id, version=1, provenance=Provenance())
    return Append(subject=user(user_id), expected=0, envelope=envelope)


async def test_an_owner_appends_singly_at_once_and_together_and_reads_it_back(nats_parties: Parties) -> None:
    log = Log((await nats_parties.party("auth")).nats)
    users = [new_id() for _ in range(20)]
    assert sorted(await asyncio.gather(*(log.append(created(user_id)) for user_id in users))) == list(range(1, 21))
    assert await log.append_together([created(new_id()) for _ in range(3)]) == [21, 22, 23]
    assert [len(await log.read(user(user_id))) for user_id in users] == [1] * 20


async def test_a_service_reacts_to_anothers_events_and_acknowledges_them(nats_parties: Parties) -> None:
    owner, reacting = await nats_parties.party("auth"), await nats_parties.party("profile")
    expected, done = {new_id() for _ in range(10)}, set[str]()
    everything = asyncio.Event()

    async def react(event: Recorded[Event]) -> None:
        done.add(event.aggregate_id)
        if done == expected:
            everything.set()

    durable = PROFILE_CREATION
    reaction = EventReactor(reacting.nats, durable, react)
    working = asyncio.create_task(reaction.run())
    try:
        for user_id in expected:
            await Log(owner.nats).append(created(user_id))
        async with asyncio.timeout(60):
            await everything.wait()
            operator = await nats_parties.party(OPERATOR)
            while (await operator.ask(f"$JS.API.CONSUMER.INFO.{AUTH}.{durable.name}"))["num_ack_pending"] != 0:
                await asyncio.sleep(0.01)
    finally:
        working.cancel()
        await asyncio.wait({working})


async def test_each_reads_all_of_its_own_and_what_is_public_of_others(nats_parties: Parties) -> None:
    await append_everything(nats_parties)
    for name in [*STREAMS.values(), GATEWAY]:
        party = await nats_parties.party(name)
        for stream in STREAMS:
            everything = name in (STREAMS[stream], OPERATOR, NOTARY)
            if not everything and stream not in PUBLIC_FILTERS:
                if name != GATEWAY and stream == STREAM_OF_OPERATORS:
                    assert await seen(party, stream, DEAD_LETTERS_FILTER) == EVENTS[stream][:1]
                continue
            received = await seen(party, stream, None if everything else PUBLIC_FILTERS[stream])
            assert received == [
                subject for subject in EVENTS[stream] if everything or subject not in PRIVATE.get(stream, ())
            ]


async def test_a_service_records_where_its_projection_begins_by_a_time_in_anothers_stream(
    nats_parties: Parties,
) -> None:
    class Users(Projection):
        begin = "2026-01-31T12:00:00Z"
        streams = (AUTH,)
        service = "contact"

    await Log((await nats_parties.party("auth")).nats).append(created(new_id()))
    contact = (await nats_parties.party("contact")).nats
    after = await begin.determine(contact, Users)
    assert after == Position.at(AUTH, 0)
    await begin.record(contact, Users, after)
    profile = (await nats_parties.party("profile")).nats
    assert [await begin.recorded(nc, Users) for nc in (contact, profile)] == [after, after]


async def test_what_is_said_of_read_models_stays_within_a_service_but_for_the_operators_word(
    nats_parties: Parties,
) -> None:
    notice = NOTICES.replace(">", "friends.v1")
    listeners = {name: await nats_parties.party(name) for name in ("contact", "profile")}
    subscriptions = {name: await party.nats.subscribe(notice) for name, party in listeners.items()}
    for party in listeners.values():
        await party.settled()
    for name in ("contact", OPERATOR):
        teller = await nats_parties.party(name)
        await teller.nats.publish(notice, name.encode())
        await teller.settled()
    heard = {name: [(await subscription.next_msg(60)).data] for name, subscription in subscriptions.items()}
    heard["contact"].append((await subscriptions["contact"].next_msg(60)).data)
    assert heard == {"contact": [b"contact", b"operator"], "profile": [b"operator"]}
    assert (await nats_parties.party("gateway")).name not in heard
    with pytest.raises(NoRespondersError):
        await listeners["contact"].nats.request(notice.replace("friends", "nobody"), timeout=60)


async def test_gateways_share_what_they_have_counted(nats_parties: Parties) -> None:
    await ensure_limits((await nats_parties.party(TOPOLOGY)).nats, replicas=1)
    nats = (await nats_parties.party(GATEWAY)).nats
    # Nothing comes back of what was used, however slow the machine is.
    first, second = (RateLimiter(b"k" * 32, clock=lambda: 1_000.0) for _ in range(2))

    async def make_stream() -> None:
        await ensure_limits(nats, replicas=1)

    sharing = [SharedLimits(nats, limiter, policies.ALL, make_stream=make_stream) for limiter in (first, second)]
    async with sharing[0].run(), sharing[1].run():
        first.consume(policies.FRIENDS, "anna")
        async with asyncio.timeout(60):
            while second.held == 0:
                await asyncio.sleep(0.02)
        assert second.consume(policies.FRIENDS, "anna").remaining == policies.FRIENDS.capacity - 2
