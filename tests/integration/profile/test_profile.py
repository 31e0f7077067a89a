"""Profiles over real gRPC and REST, with two replicas that share only the stream."""

import asyncio
import secrets
from typing import cast

import httpx
import msgspec
import pytest

from contracts.envelope import Provenance
from contracts.errors import Invalid, ProfileNotFound, StaleProfile
from contracts.events.profile import ProfileCreated, ProfileUpdated
from contracts.positions import Position
from contracts.rpc.vestnik.profile.v1 import (
    BackfillRequest,
    FindHiddenRequest,
    GetOwnProfileRequest,
    GetProfileRequest,
    Profile,
    ProfileServiceStub,
    ProfileSettings,
    SearchProfilesRequest,
    UpdateProfileRequest,
)
from contracts.subjects import AUTH, PROFILE, profile, user
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.rpc.service_tokens import Issuer
from services.profile.commands import ProfileCommands, profile_repository
from services.profile.queries import ProfileQueries
from tests.integration.service_cluster import House, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")


def name() -> str:
    return f"u{secrets.token_hex(6)}"


async def get(client: Client, user_id: str, call: Call) -> Profile:
    stub = client.stub(ProfileServiceStub)
    answer = await client.call(stub.get_profile, GetProfileRequest(user_id=user_id), context=call)
    assert answer.profile is not None
    return answer.profile


async def get_own(client: Client, user_id: str, position: str) -> Profile:
    stub = client.stub(ProfileServiceStub)
    request = GetOwnProfileRequest(user_id=user_id)
    answer = await client.call(stub.get_own_profile, request, context=seen(position, user_id))
    assert answer.profile is not None
    return answer.profile


async def update(
    client: Client,
    user_id: str,
    *,
    bio: str | None = None,
    display_name: str | None = None,
    avatar_url: str | None = None,
    if_match: list[str] | None = None,
    position: str = "",
) -> tuple[Profile, str]:
    stub = client.stub(ProfileServiceStub)
    request = UpdateProfileRequest(
        user_id=user_id, bio=bio, display_name=display_name, avatar_url=avatar_url, if_match=if_match or []
    )
    answer = await client.call(stub.update_profile, request, context=seen(position, user_id))
    assert answer.profile is not None
    return answer.profile, answer.position


async def test_everybody_who_registers_gets_a_profile_once(house: House) -> None:
    client = house.client("profile")
    registered = [await house.register(name(), "Anna" if number % 2 else None) for number in range(20)]
    for user_id, position in registered:
        await get(client, user_id, seen(position))
    for user_id, _ in registered:
        (event,) = [message.open() for message in await house.log.read(profile(user_id))]
        cause, _ = await house.log.read(user(user_id))
        assert isinstance(event.data, ProfileCreated)
        assert event.causation_id == cause.event_id()
        assert event.data.display_name in ("Anna", event.data.username)


async def test_the_reaction_alone_makes_profiles(house: House) -> None:
    user_id, _ = await house.register(name())
    async with asyncio.timeout(60):
        while not await house.log.last_sequence(profile(user_id)):
            await asyncio.sleep(0.02)


async def test_who_has_just_registered_can_change_their_profile_at_once(house: House) -> None:
    for _ in range(5):
        user_id, _ = await house.register(name())
        changed, _ = await update(house.client("profile"), user_id, bio="Hello")
        assert changed.bio == "Hello"


async def test_an_update_is_read_back_everywhere(house: House) -> None:
    username = name()
    user_id, position = await house.register(username, "Anna")
    one, other = house.client("profile", 0), house.client("profile", 1)
    changed, reached = await update(
        one, user_id, bio="Hello", avatar_url="https://example.org/a.png", position=position
    )
    assert await get_own(other, user_id, reached) == changed
    assert (await get(other, user_id, seen(reached))).bio == "Hello"
    assert (changed.username, changed.display_name, changed.verified) == (username, "Anna", True)
    cleared, reached = await update(other, user_id, display_name="", avatar_url="", position=reached)
    assert (cleared.display_name, cleared.bio, cleared.avatar_url) == (username, "Hello", "")
    same, unmoved = await update(one, user_id, bio="Hello", position=reached)
    assert (same, unmoved) == (cleared, reached)


async def test_settings_are_read_by_their_owner_and_who_hides_is_found_by_the_gateway(house: House) -> None:
    client = house.client("profile")
    people = [await house.register(name()) for _ in range(3)]
    positions = Position()
    for (user_id, position), presence in zip(people, ("nobody", "friends", None), strict=True):
        request = UpdateProfileRequest(user_id=user_id, presence=presence, language="ru")
        call = seen(position, user_id)
        answer = await client.call(client.stub(ProfileServiceStub).update_profile, request, context=call)
        positions = positions.merge(Position.decode(answer.position))
    own = await get_own(client, people[0][0], positions.encode())
    assert own.settings == ProfileSettings(presence="nobody", language="ru")
    assert (await get(client, people[0][0], seen(positions.encode(), people[0][0]))).settings is None
    stub = client.stub(ProfileServiceStub)
    asked = [new_id(), *(user_id for user_id, _ in people)]
    hidden = await client.call(stub.find_hidden, FindHiddenRequest(user_ids=asked), context=seen(positions.encode()))
    assert hidden.user_ids == [people[0][0]]


async def test_verification_shows_and_changes_the_tag(house: House) -> None:
    user_id, position = await house.register_unverified(name())
    client = house.client("profile")
    before = await get(client, user_id, seen(position, user_id))
    verified = await house.verify(user_id)
    after = await get(client, user_id, seen(verified))
    assert (before.verified, after.verified) == (False, True)
    assert before.etag != after.etag
    with pytest.raises(StaleProfile):
        await update(client, user_id, bio="x", if_match=[before.etag], position=verified)
    changed, _ = await update(client, user_id, bio="x", if_match=["nonsense", after.etag], position=verified)
    assert changed.verified


async def test_of_two_conditional_updates_one_wins(house: House) -> None:
    replicas = [house.client("profile", 0), house.client("profile", 1)]
    for _ in range(10):
        user_id, position = await house.register(name())
        tag = (await get(replicas[0], user_id, seen(position))).etag
        results = await asyncio.gather(
            *(
                update(replicas[number % 2], user_id, bio=f"bio {number}", if_match=[tag], position=position)
                for number in range(4)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(result, StaleProfile) for result in results) == 3
        assert len(await house.log.read(profile(user_id))) == 2


async def test_nobody_is_invented(house: House) -> None:
    client = house.client("profile")
    with pytest.raises(ProfileNotFound):
        await get(client, new_id(), seen(""))
    with pytest.raises(ProfileNotFound):
        await update(client, new_id(), bio="x")
    user_id, _ = await house.register(name())
    with pytest.raises(Invalid) as caught:
        await update(client, user_id, avatar_url="http://example.org/a.png")
    assert [violation.path for violation in caught.value.violations] == ["/avatar_url"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("display_name", "\u200b"),
        ("display_name", "a\u202eb"),
        ("display_name", "\ufb2c" * 22),
        ("bio", " "),
        ("bio", "\x07"),
    ],
)
async def test_what_cannot_be_shown_is_refused(house: House, field: str, value: str) -> None:
    client = house.client("profile")
    user_id, _ = await house.register(name())
    with pytest.raises(Invalid) as caught:
        await update(
            client, user_id, bio=value if field == "bio" else None, display_name=value if field != "bio" else None
        )
    assert [violation.path for violation in caught.value.violations] == [f"/{field}"]


async def search(client: Client, query: str, position: str, limit: int = 50) -> list[str]:
    stub = client.stub(ProfileServiceStub)
    user_ids: list[str] = []
    cursor = ""
    for _ in range(20):
        request = SearchProfilesRequest(query=query, limit=limit, cursor=cursor)
        page = await client.call(stub.search_profiles, request, context=seen(position))
        user_ids += [match.user_id for match in page.profiles]
        cursor = page.next
        if not cursor:
            break
    return user_ids


async def test_people_are_found_by_the_beginning_of_either_name(house: House) -> None:
    client = house.client("profile")
    prefix = f"q{secrets.token_hex(4)}7"
    by_username, _ = await house.register(f"{prefix}_b")
    by_both, _ = await house.register(f"{prefix}_c", f"{prefix.upper()} A")
    by_name, _ = await house.register(name(), f"{prefix.upper()}Ж")
    for user_id in (by_username, by_both, by_name):
        _, position = await update(client, user_id, bio="x")
    for limit in (1, 2, 50):
        assert await search(client, prefix.upper(), position, limit) == [by_both, by_username, by_name]
    assert await search(client, f"{prefix}ж", position) == [by_name]
    assert await search(client, f"{prefix}%", position) == []
    with pytest.raises(Invalid):
        await search(client, "", position)


def word() -> str:
    """A sequence of letters that no other name contains."""
    return "".join(secrets.choice("bcdfghjklmnpqrstvwxz") for _ in range(8))


async def test_who_is_meant_is_found_in_spite_of_slips_after_who_is_called_so(house: House) -> None:
    client = house.client("profile")
    mark = word()
    other = f"{mark[:3]}{'a' if mark[3] != 'a' else 'e'}{mark[4:]}"
    near, _ = await house.register(name(), f"{other.title()} Orlova")
    near_twice, _ = await house.register(f"{other}_{secrets.token_hex(2)}", f"{other.title()} O.")
    last_name, _ = await house.register(name(), f"Ann {mark.title()}")
    longer, _ = await house.register(name(), f"{mark.upper()}y")
    exact, position = await house.register(name(), f"{mark[:1].upper()}\u0301{mark[1:]}")
    for user_id in (near, near_twice, last_name, longer, exact):
        _, position = await update(client, user_id, bio="x")
    for limit in (1, 2, 50):
        user_ids = await search(client, mark, position, limit)
        assert user_ids[:3] == [exact, longer, last_name]
        assert sorted(user_ids[3:]) == sorted([near, near_twice])
    assert await search(client, f"{mark} an", position) == [last_name]
    swapped = mark[:4] + mark[5] + mark[4] + mark[6:]
    if swapped != mark:
        assert set(await search(client, swapped, position)) >= {exact, longer, last_name}
    _, position = await update(client, exact, display_name="Somebody else")
    assert exact not in await search(client, mark, position)


@pytest.mark.parametrize(
    "query",
    ["%", "_", "\\", "'", '"', "a", "(((((", "aaaa(", "[[:<:]]", "***:(?i)anna", "{anna}", "%(prefix)s anna", "ﷺ" * 64,
     "\u202e\u200d", "ab\ud7ff", "🙂🙂🙂🙂", "anna " * 12, "abcdefghij" * 6, "שלום עולם", "\x01\x1f\x7f", "x" * 64],
)  # fmt: skip
async def test_whatever_is_typed_is_answered(house: House, query: str) -> None:
    assert len(await search(house.client("profile"), query, "", limit=1)) <= 20


async def test_a_client_that_was_away_receives_the_latest_of_each_friend(house: House) -> None:
    client = house.client("profile")
    anna, _ = await house.register(name())
    ben, _ = await house.register(name())
    await update(client, anna, bio="one")
    _, before = await update(client, ben, bio="two")
    _, position = await update(client, anna, bio="three")
    # Of settings others hear nothing.
    request = UpdateProfileRequest(user_id=ben, language="ru")
    answer = await client.call(client.stub(ProfileServiceStub).update_profile, request, context=seen(position, ben))
    position = answer.position
    stub = client.stub(ProfileServiceStub)

    async def since(after: int) -> list[tuple[str, str]]:
        request = BackfillRequest(user_ids=[anna, ben], after=after)
        events = [event async for event in client.stream(stub.backfill, request, context=seen(position))]
        assert {event.type for event in events} <= {"profile.updated"}
        missed_updates = [msgspec.json.decode(event.data) for event in events]
        return [(missed["user_id"], missed["bio"]) for missed in missed_updates]

    assert await since(0) == [(ben, "two"), (anna, "three")]
    assert await since(Position.decode(before).sequence(PROFILE)) == [(anna, "three")]


def rest(house: House, replica: int = 0, *, public: bool = False) -> httpx.AsyncClient:
    """Calls the REST server as the gateway does; `public`: without a user."""
    host, port = house.settings.addresses_of("profile_rest")[replica]
    token = Issuer("gateway", house.secrets).token("profile")
    headers = {} if public else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=f"http://{host}:{port}", headers=headers, timeout=60)


async def test_profiles_are_read_over_rest_and_cached(house: House) -> None:
    username = name()
    user_id, _ = await house.register(username, "Anna")
    _, position = await update(house.client("profile"), user_id, bio="Привет")
    for replica in (0, 1):
        async with rest(house, replica) as http:
            answer = await http.get(f"/profiles/{user_id}", headers={"Vestnik-Position": position})
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "public, max-age=60, stale-while-revalidate=300"
            reached = Position.decode(answer.headers["vestnik-position"])
            assert reached.sequence(PROFILE) >= Position.decode(position).sequence(PROFILE)
            shown = answer.json()
            assert shown == shown | {
                "user_id": user_id,
                "username": username,
                "display_name": "Anna",
                "bio": "Привет",
                "avatar_url": None,
                "verified": True,
            }
            tag = answer.headers["etag"]
            for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
                again = await http.get(f"/profiles/{user_id}", headers={"If-None-Match": sent})
                assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
            fresh = await http.get(f"/profiles/{user_id}", headers={"If-None-Match": '"other"'})
            assert fresh.status_code == 200


@pytest.mark.parametrize("user_id", ["nobody", "01890a5d-ac96-774b-bcce-b302099a8057"])
async def test_rest_says_that_there_is_no_profile(house: House, user_id: str) -> None:
    async with rest(house) as http:
        answer = await http.get(f"/profiles/{user_id}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "profile_not_found"


async def test_what_is_public_is_read_over_rest_without_a_token(house: House) -> None:
    user_id, position = await house.register(name())
    await get(house.client("profile"), user_id, seen(position))
    async with rest(house, public=True) as http:
        answer = await http.get(f"/profiles/{user_id}")
        assert (answer.status_code, answer.json()["user_id"]) == (200, user_id)
        waiting = await http.get(f"/profiles/{user_id}", headers={"Vestnik-Position": position})
        assert (waiting.status_code, waiting.json()["code"]) == (401, "unauthenticated")


async def test_whose_token_names_the_owner_is_served_as_soon_as_he_has_registered(house: House) -> None:
    for _ in range(5):
        user_id, _ = await house.register(name())
        own = Issuer("gateway", house.secrets).token("profile", user_id)
        async with rest(house) as http:
            answer = await http.get(f"/profiles/{user_id}", headers={"Authorization": f"Bearer {own}"})
        assert answer.status_code == 200


async def test_rest_says_when_the_read_model_does_not_come(house: House) -> None:
    user_id, position = await house.register(name())
    await get(house.client("profile"), user_id, seen(position))
    far = Position.at(AUTH, 10**9).encode()
    async with rest(house) as http:
        answer = await http.get(f"/profiles/{user_id}", headers={"Vestnik-Position": far}, timeout=60)
        nonsense = await http.get(f"/profiles/{user_id}", headers={"Vestnik-Position": "nonsense"})
    assert (answer.status_code, answer.json()["code"]) == (503, "read_model_behind")
    assert int(answer.headers["retry-after"]) >= 1
    assert (nonsense.status_code, nonsense.json()["code"]) == (422, "invalid")


async def test_both_edges_end_together(house: House) -> None:
    user_id, position = await house.register(name())
    await get(house.client("profile"), user_id, seen(position))
    assert await house.terminate("profile", 1) == 0
    async with rest(house, 1) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"/profiles/{user_id}")
    assert (await get(house.client("profile"), user_id, seen(position))).user_id == user_id
    await house.start_replica("profile", 1)


async def test_an_unverified_account_has_no_profile_for_others_until_it_is_verified(house: House) -> None:
    client = house.client("profile")
    username = f"v{secrets.token_hex(6)}"
    user_id, position = await house.register_unverified(username, "Vera")
    own = await get(client, user_id, seen(position, user_id))
    assert (own.username, own.verified) == (username, False)
    _, position = await update(client, user_id, bio="Hello", position=position)
    with pytest.raises(ProfileNotFound):
        await get(client, user_id, seen(position))
    async with rest(house) as http:
        hidden = await http.get(f"/profiles/{user_id}", headers={"Vestnik-Position": position})
    assert (hidden.status_code, hidden.json()["code"]) == (404, "profile_not_found")
    assert hidden.headers["cache-control"] == "no-store"
    assert await search(client, username, position) == []
    assert await search(client, username[:-1] + "z", position) == []
    verified = Position.decode(position).merge(Position.decode(await house.verify(user_id))).encode()
    shown = await get(client, user_id, seen(verified))
    assert (shown.username, shown.bio, shown.verified) == (username, "Hello", True)
    assert await search(client, username, verified) == [user_id]


async def test_an_erased_user_has_an_empty_profile_that_friends_are_told_of_and_no_search_finds(house: House) -> None:
    client, username = house.client("profile"), name()
    user_id, registered = await house.register(username, "Anna the First")
    await get(client, user_id, seen(registered))
    await update(client, user_id, bio="her secret")
    erased = await house.erase(user_id)
    for number in (0, 1):
        replica = house.client("profile", number)
        empty = await get(replica, user_id, seen(erased))
        assert (empty.username, empty.display_name, empty.bio, empty.avatar_url) == ("", "", "", "")
        stub = replica.stub(ProfileServiceStub)
        for query in (username, "Anna the First"):
            page = await replica.call(
                stub.search_profiles, SearchProfilesRequest(query=query, limit=50), context=seen(erased)
            )
            assert user_id not in [match.user_id for match in page.profiles]
    # The reaction's event, which live clients get, too, and those who were away.
    async with asyncio.timeout(60):
        while len(events := await house.log.read(profile(user_id))) < 3:
            await asyncio.sleep(0.01)
    assert events[-1].open().data == ProfileUpdated(display_name="", presence="nobody")
    position = Position.at(PROFILE, events[-1].sequence).encode()
    await get(client, user_id, seen(position))
    # Nobody is shown when they were online.
    hidden = await client.call(
        client.stub(ProfileServiceStub).find_hidden, FindHiddenRequest(user_ids=[user_id]), context=seen(position)
    )
    assert hidden.user_ids == [user_id]
    request = BackfillRequest(user_ids=[user_id], after=events[-2].sequence, limit=10)
    [missed_updates] = [event async for event in client.stream(client.stub(ProfileServiceStub).backfill, request)]
    assert msgspec.json.decode(missed_updates.data)["deleted"] is True
    issuer = Issuer("gateway", house.secrets)
    host, port = house.settings.addresses_of("profile_rest")[0]
    async with httpx.AsyncClient() as http:
        shown = await http.get(
            f"http://{host}:{port}/profiles/{user_id}",
            headers={"authorization": f"Bearer {issuer.token('profile', None)}"},
        )
    assert shown.json() == {
        "user_id": user_id,
        "username": "",
        "display_name": "",
        "bio": "",
        "avatar_url": None,
        "verified": True,
        "updated_at": shown.json()["updated_at"],
        "deleted": True,
    }


async def test_the_profile_of_an_erased_user_is_emptied_once_even_if_nothing_of_it_can_be_read(house: House) -> None:
    user_id, profiles = new_id(), profile_repository(house.log)
    unreadable = (ProfileCreated(username="", display_name=""), ProfileUpdated(display_name="", presence="nobody"))
    await profiles.execute(user_id, lambda state: unreadable, Provenance())
    commands = ProfileCommands(house.log, profiles, cast(ProfileQueries, None))
    cause = Provenance(causation_id=new_id())
    for _ in range(2):
        await commands.erase(user_id, cause)
    assert len(await house.log.read(profile(user_id))) == 3
