"""A friendship that is removed while contact's NATS node is cut off from the others ends for everybody, in time."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from contracts.errors import DeadlineExceeded, NoQuorum, NotFriends, Overloaded, Unavailable, VestnikError
from contracts.rpc.vestnik.contact.v1 import AddFriendRequest, ContactServiceStub, RemoveFriendRequest
from contracts.rpc.vestnik.messaging.v1 import MessagingServiceStub, SendMessageRequest
from contracts.subjects import CONTACT
from infra.rpc.client import Client
from infra.settings import Settings
from streams.quorum import AGE_SECONDS
from tests.fix_cluster import Cluster
from tests.integration.service_cluster import House, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")
SERVICES = ("auth", "contact", "messaging")
PAIRS = 4
WITHIN = 180.0
Pair = tuple[str, str]


class Attempt(msgspec.Struct, frozen=True):
    """One send: when it began, on the monotonic clock, and what became of it."""

    began: float
    error: VestnikError | None


class Correspondence:
    """The users of each pair keep sending, whatever the responses."""

    def __init__(self, client: Client, pairs: list[Pair]) -> None:
        self._client = client
        self._stub = client.stub(MessagingServiceStub)
        self.attempts: dict[Pair, list[Attempt]] = {pair: [] for pair in pairs}

    async def go_on(self) -> None:
        await asyncio.gather(*(self._write(pair) for pair in self.attempts))

    async def until_all(self, kind: type[VestnikError] | None) -> None:
        """Waits until the outcome of a send that begins from now on is of this kind, for every pair."""
        now = time.monotonic()
        async with asyncio.timeout(WITHIN):
            while not all(
                any(attempt.began > now and _is(attempt, kind) for attempt in attempts)
                for attempts in self.attempts.values()
            ):
                await asyncio.sleep(0.05)

    async def _write(self, pair: Pair) -> None:
        while True:
            began, error = time.monotonic(), None
            request = SendMessageRequest(
                sender_id=pair[0], recipient_id=pair[1], text="text", client_message_id=secrets.token_hex(8)
            )
            try:
                await self._client.call(self._stub.send_message, request, timeout=20.0, context=seen("", pair[0]))
            except VestnikError as refused:
                error = refused
            self.attempts[pair].append(Attempt(began, error))
            await asyncio.sleep(0.05)


def _is(attempt: Attempt, kind: type[VestnikError] | None) -> bool:
    return attempt.error is None if kind is None else isinstance(attempt.error, kind)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, linked_cluster: Cluster) -> AsyncIterator[House]:
    """Contact's first replica, the only one that messaging calls, is connected to the leader node of CONTACT."""
    house = House(tmp_path_factory.mktemp("partition"), SERVICES, cluster=linked_cluster)
    leader = await linked_cluster.stubborn_leader(CONTACT)
    others = [node.url for name, node in linked_cluster.nodes.items() if name != leader]

    def own(settings: Settings) -> dict[tuple[str, int], dict[str, str]]:
        host, port = settings.addresses_of("contact")[0]
        together = {"VESTNIK_NATS_URL": ",".join(others), "VESTNIK_CONTACT_ADDRESS": f"{host}:{port}"}
        overrides = {(service, number): together for service in SERVICES for number in range(2)}
        return overrides | {("contact", 0): {"VESTNIK_NATS_URL": linked_cluster.nodes[leader].url}}

    try:
        await house.start(own)
        yield house
    finally:
        await house.stop()


async def _patiently(client: Client, pair: Pair) -> None:
    """Removes the friendship, and retries until a replica may decide it."""
    stub = client.stub(ContactServiceStub)
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                request = RemoveFriendRequest(user_id=pair[1], friend_id=pair[0])
                await client.call(stub.remove_friend, request, timeout=20.0)
                return
            except (Unavailable, DeadlineExceeded, Overloaded):
                await asyncio.sleep(0.05)


async def _befriended(house: House, count: int) -> list[Pair]:
    pairs: list[Pair] = []
    contact = house.client("contact", 1)
    stub = contact.stub(ContactServiceStub)
    for _ in range(count):
        one, other = [(await house.register(f"u{secrets.token_hex(6)}"))[0] for _ in range(2)]
        await contact.call(stub.add_friend, AddFriendRequest(user_id=one, friend_id=other), timeout=20.0)
        await contact.call(stub.add_friend, AddFriendRequest(user_id=other, friend_id=one), timeout=20.0)
        pairs.append((one, other))
    return pairs


async def test_removed_friends_stop_writing_though_contact_s_node_is_cut_off_and_after_healing(
    linked_cluster: Cluster, house: House
) -> None:
    leader = await linked_cluster.stubborn_leader(CONTACT)
    pairs = await _befriended(house, PAIRS)
    written = Correspondence(house.client("messaging", 0), pairs)
    writing = asyncio.create_task(written.go_on())
    removed_at: dict[Pair, float] = {}

    async def remove(pair: Pair) -> None:
        await _patiently(house.client("contact", 1), pair)
        removed_at[pair] = time.monotonic()

    try:
        await written.until_all(None)
        linked_cluster.cut(leader)
        try:
            await asyncio.gather(*map(remove, pairs))
            await written.until_all(NoQuorum)
        finally:
            linked_cluster.heal(leader)
        await written.until_all(NotFriends)
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    for pair, attempts in written.attempts.items():
        late = [
            attempt for attempt in attempts if attempt.error is None and attempt.began > removed_at[pair] + AGE_SECONDS
        ]
        assert late == [], f"{len(late)} messages after the removal"
        refused = [attempt.error for attempt in attempts if isinstance(attempt.error, NoQuorum)]
        assert all(error.retry_after for error in refused)
        assert _is(attempts[-1], NotFriends)
