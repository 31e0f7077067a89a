"""Two gateways on one NATS, whose users are friends or not."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.events.friendship import FriendshipRemoved
from contracts.events.profile import ProfileUpdated
from contracts.rpc.vestnik.contact.v1 import Friend, FriendState, GetFriendsResponse
from contracts.rpc.vestnik.profile.v1 import FindHiddenResponse
from contracts.subjects import CONTACT
from contracts.values.ids import new_id, pair_id
from infra.rpc.call_context import current
from tests.conditions import until
from tests.integration.gateway.conftest import Harness, running_gateway
from tests.sse_client import Event, Json, Stream, connect


class Gateways:
    """Anna is a friend of Boris and of Carl; the stranger is nobody's friend."""

    def __init__(self, one: Harness, other: Harness) -> None:
        self.one, self.other = one, other
        self.anna, self.boris, self.carl, self.stranger = (new_id() for _ in range(4))
        self._sessions: defaultdict[str, str] = defaultdict(new_id)
        self.friends = {self.anna: [self.boris, self.carl], self.boris: [self.anna], self.carl: [self.anna]}
        # Who hides their presence, as the profile service has it.
        self.hidden: set[str] = set()
        for harness in (one, other):
            harness.script.answers = {"get_friends": self._friends, "find_hidden": self._find_hidden}
            harness.context.presence._grace = harness.context.presence._exchange._grace = 0.0

    async def _friends(self) -> GetFriendsResponse:
        people = self.friends.get(current().actor or "", [])
        return GetFriendsResponse(friends=[Friend(user_id=user_id, state=FriendState.ACCEPTED) for user_id in people])

    async def _find_hidden(self) -> FindHiddenResponse:
        return FindHiddenResponse(user_ids=sorted(self.hidden))

    async def hide(self, user_id: str, hidden: bool) -> None:
        """The user changes the setting; both gateways learn of it from the event."""
        self.hidden = self.hidden | {user_id} if hidden else self.hidden - {user_id}
        updated = ProfileUpdated(display_name="Anna", presence="nobody" if hidden else "friends")
        await self.one.append(subjects.profile(user_id), user_id, updated)

    async def presence(self, harness: Harness, user_id: str, *people: str, session_id: str = "") -> dict[str, Json]:
        """The answer to the user, by the person whom it is about."""
        answer = await harness.client.get(
            "/v1/presence", params={"user_id": people}, headers=self.headers(harness, user_id, session_id)
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["next"] is None
        return {item["user_id"]: item for item in answer.json()["items"]}

    def headers(self, harness: Harness, user_id: str, session_id: str = "") -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(harness, user_id, session_id)}"}

    def token(self, harness: Harness, user_id: str, session_id: str = "") -> str:
        """`session_id`: one that is the user's usual one if empty."""
        return harness.token(user_id=user_id, session_id=session_id or self._sessions[user_id])

    @asynccontextmanager
    async def listening(
        self, harness: Harness, user_id: str, *, session_id: str = "", query: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        """A stream of the user's events that gets live events from now on."""
        live = harness.context.live
        before = sum(queue.attached for queue in live._queues if queue.user_id == user_id)
        url = str(harness.client.base_url).rstrip("/")
        stream = await connect(url, self.token(harness, user_id, session_id), query=query)
        try:
            await until(lambda: sum(queue.attached for queue in live._queues if queue.user_id == user_id) > before)
            yield stream
        finally:
            stream.close()

    async def typing(self, harness: Harness, sender: str, recipient: str, session_id: str = "") -> int:
        path = f"/v1/conversations/{recipient}/typing"
        answer = await harness.client.put(path, headers=self.headers(harness, sender, session_id))
        return answer.status_code

    async def end_friendship(self, one: str, other: str) -> None:
        """Returns once both gateways have read it."""
        self.friends[one].remove(other)
        self.friends[other].remove(one)
        pair = pair_id(one, other)
        sequence = await self.one.append(
            subjects.friendship(pair), pair, FriendshipRemoved(remover_id=one, other_id=other)
        )
        for harness in (self.one, self.other):
            await until(lambda harness=harness: harness.context.live.positions().sequence(CONTACT) >= sequence)  # type: ignore[misc]


async def events(stream: Stream, kind: str, number: int) -> list[Json]:
    """The data of the stream's events of this kind, once there are `number` of them."""

    def matching() -> list[Event]:
        return [event for event in stream.events if event.type == kind]

    with suppress(TimeoutError):
        await stream.until(lambda _: len(matching()) >= number)
    if len(matching()) < number:
        pytest.fail(f"not {number} {kind}: {stream.events}")
    return [event.data for event in matching()]


@asynccontextmanager
async def two_gateways(folder: Path, nats: NATS, **settings: object) -> AsyncIterator[Gateways]:
    async with (
        running_gateway(folder / "one", nats, **settings) as one,
        running_gateway(folder / "other", nats, **settings) as other,
    ):
        yield Gateways(one, other)
