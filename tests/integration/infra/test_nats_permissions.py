"""The rights of each NATS account, and that it has no others: every forbidden operation is tried."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from contracts import subjects
from contracts.durable_consumers import DURABLES, retries_of
from contracts.services import GATEWAY, OPERATOR, SERVICES
from contracts.subjects import (
    AUTH,
    BUCKETS,
    CONTACT,
    DEAD_LETTERS_FILTER,
    LIMITS,
    LIMITS_FILTER,
    LIVE_TYPING,
    OPERATOR_FILTERS,
    PUBLIC_FILTERS,
    QUORUM,
    QUORUM_FILTER,
    REACTING_SERVICES,
    STREAMS,
    key_of,
    limit_uses,
    operator_action,
    parked_by,
    projection_begin,
    quorum_of,
    stream_of_bucket,
)
from contracts.subjects import OPERATOR as STREAM_OF_OPERATORS
from infra.security.nats_permissions import inbox_of
from infra.security.secrets import NATS_PARTIES, TOPOLOGY
from streams.jetstream.api import JetStream
from streams.jetstream.key_value import KeyValue
from streams.log import Log
from streams.quorum import Quorum
from streams.topology import ensure_bucket, ensure_limits, ensure_stream, settings_of_quorum
from tests.integration.infra.nats_parties import (
    EVENTS,
    OPERATORS_ACT,
    OTHERS_THAN_TOPOLOGY,
    PRIVATE,
    Parties,
    append_everything,
    ends,
    parties,
    seen,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Those without an operator's rights.
WITHOUT_OPERATOR = tuple(service for service in (*SERVICES, GATEWAY) if service != OPERATOR)
API = "$JS.API"
# Nobody may do these to a stream, whoever owns it.
TO_A_STREAM = [
    "STREAM.PURGE",
    "STREAM.MSG.DELETE",
    "STREAM.DELETE",
    "STREAM.SNAPSHOT",
    "STREAM.RESTORE",
    "STREAM.LEADER.STEPDOWN",
    "STREAM.PEER.REMOVE",
    "CONSUMER.CREATE",
]
TO_A_CONSUMER = [
    "CONSUMER.DURABLE.CREATE",
    "CONSUMER.PAUSE",
    "CONSUMER.RESET",
    "CONSUMER.UNPIN",
    "CONSUMER.LEADER.STEPDOWN",
]
TO_THE_SERVER = [
    f"{API}.ACCOUNT.PURGE.STORE",
    f"{API}.META.LEADER.STEPDOWN",
    f"{API}.SERVER.REMOVE",
    "$SYS.REQ.SERVER.PING",
    "$JS.FC.AUTH.x.y",
    "$KV.x.y",
    "_R_.abc.def",
    "vestnik.anything",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nats_parties(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Parties]:
    async with parties(tmp_path_factory.mktemp("nats_parties")) as opened:
        yield opened


def foreign(party: str) -> list[str]:
    return [stream for stream, owner in STREAMS.items() if owner != party]


def owned(party: str) -> list[str]:
    return [stream for stream, owner in STREAMS.items() if owner == party]


def consumer(stream: str, name: str, **more: object) -> dict[str, object]:
    return {"stream_name": stream, "config": {"name": name, "ack_policy": "none", "mem_storage": True, **more}}


@pytest.mark.parametrize("name", NATS_PARTIES)
async def test_only_the_owner_appends_to_a_stream(nats_parties: Parties, name: str) -> None:
    party = await nats_parties.party(name)
    every = list(itertools.chain.from_iterable(EVENTS.values()))
    own = {subject for stream in owned(name) for subject in EVENTS[stream]}
    assert await party.permitted_to_publish(every) == own


@pytest.mark.parametrize("name", NATS_PARTIES)
async def test_nobody_deletes_or_purges_or_takes_a_stream_away(nats_parties: Parties, name: str) -> None:
    party = await nats_parties.party(name)
    forbidden = [f"{API}.{call}.{stream}" for call in TO_A_STREAM for stream in STREAMS]
    forbidden += [f"{API}.{call}.{stream}.x" for call in TO_A_CONSUMER for stream in STREAMS]
    assert await party.permitted_to_publish([*forbidden, *TO_THE_SERVER]) == set()


@pytest.mark.parametrize("name", OTHERS_THAN_TOPOLOGY)
async def test_nobody_else_makes_or_changes_a_stream_such_as_a_mirror_a_copy_or_a_republishing_one(
    nats_parties: Parties, name: str
) -> None:
    party = await nats_parties.party(name)
    forbidden = [f"{API}.STREAM.{call}.{stream}" for call in ("CREATE", "UPDATE") for stream in [*STREAMS, "COPY"]]
    assert await party.permitted_to_publish(forbidden) == set()


async def test_who_makes_the_streams_does_nothing_else(nats_parties: Parties) -> None:
    party = await nats_parties.party(TOPOLOGY)
    asked = ["STREAM.MSG.GET.AUTH", "DIRECT.GET.AUTH", "CONSUMER.CREATE.AUTH.x", "CONSUMER.MSG.NEXT.AUTH.x"]
    asked += ["STREAM.CREATE.COPY", "STREAM.UPDATE.COPY", "STREAM.NAMES", "CONSUMER.CREATE.AUTH.x.vestnik.auth.user.*"]
    assert await party.permitted_to_publish([f"{API}.{call}" for call in asked]) == set()


@pytest.mark.parametrize("name", WITHOUT_OPERATOR)
async def test_a_foreign_stream_is_read_through_a_consumer_with_its_public_filter_alone(
    nats_parties: Parties, name: str
) -> None:
    party = await nats_parties.party(name)
    forbidden: list[str] = []
    for stream in foreign(name):
        create = f"{API}.CONSUMER.CREATE.{stream}"
        forbidden += [create, f"{create}.x", f"{create}.x.>", f"{API}.CONSUMER.DURABLE.CREATE.{stream}.x"]
        forbidden += [f"{API}.STREAM.MSG.GET.{stream}", f"{API}.DIRECT.GET.{stream}"]
        forbidden += [f"{API}.DIRECT.GET.{stream}.{subject}" for subject in EVENTS[stream]]
        forbidden += [f"{API}.CONSUMER.{call}.{stream}" for call in ("NAMES", "LIST")]
        forbidden += [f"{API}.CONSUMER.INFO.{stream}.x"]
        if PUBLIC_FILTERS.get(stream) != subjects.all_of(stream):
            forbidden += [f"{create}.x.{subjects.all_of(stream)}", f"{create}.x.vestnik.*.*.*"]
        forbidden += [f"{create}.x.{subject}" for subject in PRIVATE.get(stream, ())]
        if stream == AUTH:
            forbidden += [f"{create}.x.{subject}" for subject in ("vestnik.auth.*.u", "vestnik.auth.email.>")]
    assert await party.permitted_to_publish(forbidden) == set()


@pytest.mark.parametrize("name", WITHOUT_OPERATOR)
async def test_what_the_body_of_a_request_says_cannot_widen_what_its_subject_says(
    nats_parties: Parties, name: str
) -> None:
    party = await nats_parties.party(name)
    for stream in foreign(name):
        public, everything = PUBLIC_FILTERS.get(stream, DEAD_LETTERS_FILTER), "vestnik.*.>"
        if stream not in PUBLIC_FILTERS and (name == GATEWAY or stream != STREAM_OF_OPERATORS):
            continue
        create = f"{API}.CONSUMER.CREATE.{stream}.x.{public}"
        assert await party.error_of(create, consumer(stream, "x", filter_subject=everything)) == 10131
        assert await party.error_of(create, consumer(stream, "x")) == 10131
        assert await party.error_of(create, consumer(stream, "x", filter_subjects=[everything])) == 10137
        both = consumer(stream, "x", filter_subject=public, filter_subjects=[everything, public])
        assert await party.error_of(create, both) == 10137
        other = consumer(stream, "x", filter_subject=public, durable_name="y")
        assert await party.error_of(create, other) == 10017
        elsewhere = next(other_stream for other_stream in STREAMS if other_stream != stream)
        assert await party.error_of(create, consumer(elsewhere, "x", filter_subject=public)) == 10056


@pytest.mark.parametrize("name", OTHERS_THAN_TOPOLOGY)
async def test_a_durable_consumer_is_touched_by_its_service_alone_and_deleted_by_nobody(
    nats_parties: Parties, name: str
) -> None:
    party = await nats_parties.party(name)
    for durable in (*DURABLES, *map(retries_of, DURABLES)):
        consumer = f"{durable.stream}.{durable.name}"
        using = {
            f"{API}.CONSUMER.CREATE.{consumer}.{durable.subject_filter}",
            f"{API}.CONSUMER.MSG.NEXT.{consumer}",
            f"$JS.ACK.{consumer}.1.1.1.1795480145875662147.0",
        }
        rest = {f"{API}.CONSUMER.CREATE.{consumer}", f"{API}.CONSUMER.CREATE.{consumer}.vestnik.auth.user.*"} - using
        mine = durable.service == name
        info = f"{API}.CONSUMER.INFO.{consumer}"
        permitted = await party.permitted_to_publish([*using, *rest, info, f"{API}.CONSUMER.DELETE.{consumer}"])
        assert (info in permitted) == (mine or name == OPERATOR)
        assert permitted - rest - {info} == (using if mine else set())
        assert mine or not permitted & rest


@pytest.mark.parametrize("name", NATS_PARTIES)
async def test_nobody_listens_to_events_in_passing_or_at_anothers_inbox(nats_parties: Parties, name: str) -> None:
    party = await nats_parties.party(name)
    others = [f"{inbox_of(other)}.>" for other in NATS_PARTIES if other != name]
    events = ["vestnik.>", *map(subjects.all_of, STREAMS), *itertools.chain.from_iterable(EVENTS.values())]
    server = [">", "*.>", "_INBOX.>", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$JS.EVENT.>", "$SYS.>", "_R_.>"]
    assert await party.permitted_to_subscribe([*others, *events, *server]) == set()


@pytest.mark.parametrize("name", ["contact", "messaging"])
async def test_no_answer_of_the_server_can_be_sent_where_its_asker_may_not_publish(
    nats_parties: Parties, name: str
) -> None:
    """The server's replies are not subject to permissions, so none may reach a subject where it has an effect."""
    await append_everything(nats_parties)
    party, stream = await nats_parties.party(name), owned(name)[0]
    empty = await party.nats.request(EVENTS[stream][0], b"", timeout=60)
    assert empty.data
    before = await ends(nats_parties)
    victims = [subjects.user("forged"), subjects.credential("forged"), EVENTS[stream][0]]
    victims += [f"{API}.STREAM.{call}.{target}" for call in ("DELETE", "PURGE") for target in STREAMS]
    victims += [f"{API}.CONSUMER.DELETE.{durable.stream}.{durable.name}" for durable in DURABLES]
    last = {"seq": before[stream]}
    requests: Sequence[tuple[str, object]] = [
        (f"{API}.STREAM.INFO.{stream}", {}),
        (f"{API}.STREAM.MSG.GET.{stream}", last),
        (f"{API}.DIRECT.GET.{stream}", last),
    ]
    for victim in victims:
        for subject, request in requests:
            await party.nats.publish(subject, str(request).replace("'", '"').encode(), reply=victim)
    for subject, request in requests:
        await party.nats.request(subject, str(request).replace("'", '"').encode(), timeout=60)
    assert await ends(nats_parties) == before


async def test_a_pushing_consumer_can_put_nothing_into_a_stream_and_command_nothing(nats_parties: Parties) -> None:
    party = await nats_parties.party("contact")
    await party.nats.request(subjects.friendship("p"), b"", timeout=60)
    before = await ends(nats_parties)
    listener = await nats_parties.party("auth")
    inbox = await listener.nats.subscribe(f"{inbox_of('auth')}.x")
    await listener.settled()
    targets = [subjects.user("forged"), f"{API}.STREAM.DELETE.{AUTH}", f"{API}.STREAM.PURGE.{AUTH}", f"{inbox.subject}"]
    for number, target in enumerate(targets):
        create = f"{API}.CONSUMER.CREATE.{CONTACT}.push-{number}"
        await party.ask(create, consumer(CONTACT, f"push-{number}", deliver_subject=target, headers_only=True))
    # A consumer of the same kind, made later, that has delivered: the others would have by now.
    assert await seen(party, CONTACT, None)
    assert await ends(nats_parties) == before
    assert inbox.pending_msgs == 0


@pytest.mark.parametrize("name", NATS_PARTIES)
async def test_the_counts_of_rate_limits_are_written_and_read_by_gateways_alone(
    nats_parties: Parties, name: str
) -> None:
    party = await nats_parties.party(name)
    counting = {limit_uses("login"), f"{API}.CONSUMER.CREATE.{LIMITS}.x.{LIMITS_FILTER}"}
    making = {f"{API}.STREAM.CREATE.{LIMITS}", f"{API}.STREAM.UPDATE.{LIMITS}"}
    never = {f"{API}.{call}.{LIMITS}" for call in TO_A_STREAM}
    never |= {f"{API}.STREAM.MSG.GET.{LIMITS}", f"{API}.CONSUMER.CREATE.{LIMITS}.x", "vestnik.limits.login.x"}
    permitted = await party.permitted_to_publish([*counting, *making, *never])
    assert permitted == {GATEWAY: counting, TOPOLOGY: making}.get(name, set())


@pytest.mark.parametrize("name", NATS_PARTIES)
async def test_gateways_alone_send_to_each_other_and_nothing_stores_it(nats_parties: Parties, name: str) -> None:
    party = await nats_parties.party(name)
    before = await ends(nats_parties)
    permitted = await party.permitted_to_publish([LIVE_TYPING])
    assert permitted == await party.permitted_to_subscribe([LIVE_TYPING])
    assert permitted == ({LIVE_TYPING} if name == GATEWAY else set())
    assert await ends(nats_parties) == before


@pytest.mark.parametrize("name", NATS_PARTIES)
async def test_a_bucket_is_its_owners_alone_and_that_of_parked_events_the_operators_too(
    nats_parties: Parties, name: str
) -> None:
    party = await nats_parties.party(name)
    parked = {parked_by(service) for service in REACTING_SERVICES}
    using, making, never = set[str](), set[str](), set[str]()
    for bucket, settings in BUCKETS.items():
        stream = stream_of_bucket(bucket)
        making |= {f"{API}.STREAM.CREATE.{stream}", f"{API}.STREAM.UPDATE.{stream}"}
        deleting, leader = f"{API}.STREAM.MSG.DELETE.{stream}", f"{API}.STREAM.MSG.GET.{stream}"
        never |= {f"{API}.{call}.{stream}" for call in TO_A_STREAM} - {deleting}
        reading, writing = {f"{API}.DIRECT.GET.{stream}"}, {key_of(bucket, "x.y")}
        (reading if settings.is_kept else never).add(leader)
        (writing if settings.holds_keys else never).add(deleting)
        writes = settings.owner == name or (bucket in parked and name == OPERATOR)
        (using if writes else never).update(writing)
        (using if writes or name in settings.readers else never).update(reading)
    permitted = await party.permitted_to_publish([*using, *making, *never])
    assert permitted == (making if name == TOPOLOGY else using)


async def test_a_bucket_s_owner_and_its_readers_use_it_with_the_rights_that_they_have(nats_parties: Parties) -> None:
    for bucket, settings in BUCKETS.items():
        await ensure_bucket((await nats_parties.party(TOPOLOGY)).nats, bucket, replicas=1)
        owner = (await nats_parties.party(settings.owner)).nats
        await ensure_bucket(owner, bucket, replicas=1)
        values = KeyValue(owner, bucket, patience=60.0)
        await values.put("u", b"1")
        for name in (settings.owner, *settings.readers):
            party = (await nats_parties.party(name)).nats
            assert await KeyValue(party, bucket, patience=60.0).get_many(["u", "v"]) == {"u": b"1"}
            if settings.is_kept:
                assert await JetStream(party).last(stream_of_bucket(bucket), key_of(bucket, "u")) is not None
        await values.delete("u")
        assert await values.get_many(["u", "v"]) == {}


@pytest.mark.parametrize("name", WITHOUT_OPERATOR)
async def test_of_the_operators_stream_services_read_discards_and_begins_append_their_begins_and_gateways_nothing(
    nats_parties: Parties, name: str
) -> None:
    party = await nats_parties.party(name)
    create = f"{API}.CONSUMER.CREATE.{STREAM_OF_OPERATORS}"
    own = {projection_begin(name, "friends", 1), *(f"{create}.x.{shared}" for shared in OPERATOR_FILTERS)}
    others = [
        f"{create}.x.vestnik.operator.>",
        f"{create}.x.{OPERATORS_ACT}",
        f"{create}.x.{operator_action('*')}",
        f"{create}.x.vestnik.operator.action.>",
        *(projection_begin(other, "friends", 1) for other in SERVICES if other != name),
    ]
    permitted = await party.permitted_to_publish([*own, *others, *EVENTS[STREAM_OF_OPERATORS]])
    assert permitted == (set() if name == GATEWAY else own)


@pytest.mark.parametrize("name", NATS_PARTIES)
async def test_evidence_of_a_quorum_is_appended_by_each_process_for_itself_and_read_by_nobody(
    nats_parties: Parties, name: str
) -> None:
    party = await nats_parties.party(name)
    own, others = quorum_of(name, "1"), [quorum_of(other, "1") for other in NATS_PARTIES if other != name]
    making = {f"{API}.STREAM.CREATE.{QUORUM}", f"{API}.STREAM.UPDATE.{QUORUM}"}
    never = {f"{API}.{call}.{QUORUM}" for call in TO_A_STREAM}
    never |= {f"{API}.STREAM.MSG.GET.{QUORUM}", f"{API}.CONSUMER.CREATE.{QUORUM}.x.{QUORUM_FILTER}"}
    permitted = await party.permitted_to_publish([own, *others, *making, *never])
    assert permitted == {TOPOLOGY: making}.get(name, {own})


async def test_a_process_gathers_evidence_with_the_rights_that_it_has(nats_parties: Parties) -> None:
    """The server is one node, which is a quorum by itself."""
    settings = settings_of_quorum(replicas=1)
    await ensure_stream((await nats_parties.party(TOPOLOGY)).nats, settings)
    party = await nats_parties.party("contact")
    await ensure_stream(party.nats, settings)
    quorum = Quorum(party.nats, quorum_of("contact", "1"))
    running = asyncio.create_task(quorum.run())
    try:
        async with asyncio.timeout(60):
            while not quorum.holds:
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_gateway_finds_the_stream_of_counts_as_it_should_be_and_changes_nothing(nats_parties: Parties) -> None:
    await ensure_limits((await nats_parties.party(TOPOLOGY)).nats, replicas=1)
    await ensure_limits((await nats_parties.party(GATEWAY)).nats, replicas=1)


async def test_a_forbidden_operation_fails_at_once(nats_parties: Parties) -> None:
    party = await nats_parties.party("contact")
    async with asyncio.timeout(60):
        with pytest.raises(PermissionError):
            await Log(party.nats, patience=120).last(subjects.user("u"))
        with pytest.raises(PermissionError):
            await seen(party, AUTH, None)
