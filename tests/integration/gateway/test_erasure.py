"""What a gateway keeps in memory of others is dropped when a user is erased, and again when the keys are gone."""

import pytest

from contracts import subjects
from contracts.events.event import Event
from contracts.events.profile import ProfileUpdated
from contracts.events.user import UserErased, UserErasureCompleted
from contracts.notification_kinds import NOTIFIED_MESSAGING
from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import Friend, FriendState, GetFriendsResponse
from contracts.subjects import AUTH, MESSAGING
from contracts.values.ids import new_id
from services.gateway.cache.message_pages import KnownPage
from tests.conditions import until
from tests.integration.gateway.conftest import Harness
from tests.integration.gateway.live_clients import FRIENDS, PEER, address, write
from tests.integration.gateway.test_profiles import served
from tests.sse_client import listening


@pytest.mark.parametrize("event", [UserErased(reason="requested"), UserErasureCompleted()])
async def test_texts_in_memory_are_dropped(event: Event, harness: Harness) -> None:
    harness.script.answers = {"get_friends": FRIENDS}
    hub, pages = harness.context.live._hub, harness.context.pages
    async with listening(address(harness), harness.token()) as stream:
        await write(harness, 1, "a secret")
        await stream.until(lambda client: bool(client.events))
    pages.put(PEER, harness.user_id, 50, KnownPage(version="1", body=b"a secret"))
    for channel in (MESSAGING, NOTIFIED_MESSAGING):
        assert hub._recent[channel].since(0)
    await harness.append(subjects.user(PEER), PEER, event)
    await until(lambda: not hub._recent[MESSAGING].since(0))
    assert not hub._recent[NOTIFIED_MESSAGING].since(0)
    assert len(pages) == 0
    # Who resumes from before gets it from the read model, as it is now.
    assert hub._recent[MESSAGING].oldest_sequence == hub.position(MESSAGING)


async def test_registrations_that_ended_drop_nothing(harness: Harness) -> None:
    pages, other = harness.context.pages, new_id()
    pages.put(PEER, harness.user_id, 50, KnownPage(version="1", body=b"a text"))
    for event in (UserErased(reason="registration_ended"), UserErasureCompleted()):
        last = await harness.append(subjects.user(other), other, event)
    await until(lambda: harness.context.profiles._invalidation.position.sequence(AUTH) >= last)
    assert len(pages) == 1


async def test_friends_who_are_connected_are_told_and_the_profile_is_fetched_again(harness: Harness) -> None:
    since = Friend(user_id=PEER, state=FriendState.ACCEPTED)
    harness.script.answers = {"get_friends": GetFriendsResponse(friends=[since])}
    shown = b'{"user_id":"%s","username":"anna","display_name":"Anna","verified":true}' % PEER.encode()
    harness.rest.answer = served(shown, "one", profile=0)
    path = f"/v1/profiles/{PEER}"
    assert (await harness.client.get(path)).json()["username"] == "anna"
    async with listening(address(harness), harness.token()) as stream:
        # From then on the client has its friends.
        await write(harness, 1, "hello")
        await stream.until(lambda client: bool(client.events))
        gone = b'{"user_id":"%s","username":"","display_name":"","verified":true,"deleted":true}' % PEER.encode()
        harness.rest.answer = served(gone, "two", profile=1, auth=1)
        erased = await harness.append(subjects.user(PEER), PEER, UserErased(reason="operator"))
        emptied = await harness.append(subjects.profile(PEER), PEER, ProfileUpdated(display_name=""))
        assert (erased, emptied) == (1, 1)
        await stream.until(lambda client: len(client.events) == 2)
        _, event = stream.events
        assert event.type == "profile.updated"
        assert event.data == {
            "user_id": PEER,
            "username": "",
            "display_name": "",
            "bio": "",
            "avatar_url": None,
            "verified": True,
            "updated_at": event.data["updated_at"],
            "deleted": True,
        }
    position = harness.sealed.seal(Position({"PROFILE": emptied, "AUTH": erased}))
    assert (await harness.client.get(path, headers={"vestnik-position": position})).json()["deleted"] is True
