"""Reading profiles over REST: caching headers, the gateway's own cache, and how an event renews it."""

import pytest
from starlette.responses import Response

from contracts import subjects
from contracts.events.profile import ProfileUpdated
from contracts.positions import Position
from contracts.rpc.vestnik.profile.v1 import GetOwnProfileResponse, Profile, ProfileSettings
from tests.conditions import until
from tests.integration.gateway.conftest import Harness

USER = "01890a5d-ac96-774b-bcce-b302099a8057"
PATH = f"/v1/profiles/{USER}"


def served(body: bytes, etag: str, *, profile: int, auth: int = 0) -> Response:
    position = Position({"PROFILE": profile, "AUTH": auth}).encode()
    return Response(body, headers={"etag": f'"{etag}"', "vestnik-position": position})


async def test_a_profile_is_public_cacheable_and_answered_from_memory(harness: Harness) -> None:
    harness.rest.answer = served(b'{"a":1}', "one", profile=0)

    first, second = await harness.client.get(PATH), await harness.client.get(PATH)

    assert first.json() == second.json() == {"a": 1}
    assert second.headers["etag"] == '"one"'
    assert second.headers["content-type"] == "application/json"
    assert second.headers["cache-control"] == "public, max-age=60, stale-while-revalidate=300"
    # Or a cache on the way would answer a reader who sends a position.
    assert second.headers["vary"] == "Vestnik-Position"
    assert len(harness.rest.asked) == 1
    head = await harness.client.head(PATH)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("tag", ['"one"', 'W/"one"', '"zero", "one"', "*"])
async def test_a_client_that_has_the_current_profile_gets_304(tag: str, harness: Harness) -> None:
    harness.rest.answer = served(b'{"a":1}', "one", profile=0)

    answer = await harness.client.get(PATH, headers={"if-none-match": tag})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == '"one"'
    assert (await harness.client.get(PATH, headers={"if-none-match": '"other"'})).status_code == 200


async def test_a_profile_with_a_position_is_private(harness: Harness) -> None:
    sequence = await harness.append(subjects.profile(USER), USER, ProfileUpdated(display_name="Anna"))
    harness.rest.answer = served(b'{"a":1}', "one", profile=sequence)
    position = Position.at("PROFILE", sequence).encode()

    fresh = await harness.client.get(PATH, headers={"vestnik-position": harness.sealed.seal(Position.decode(position))})

    assert fresh.headers["cache-control"] == "private, no-cache"
    assert harness.rest.asked[0].headers["vestnik-position"] == position


async def test_ones_own_profile_is_private_and_revalidated_each_time(harness: Harness) -> None:
    """It has settings that nobody else is shown: the cache of public profiles never holds it."""
    settings = ProfileSettings(presence="nobody", language="ru")
    own = Profile(user_id=harness.user_id, username="anna", display_name="Anna", etag="one", settings=settings)
    harness.script.answers = {"get_own_profile": GetOwnProfileResponse(profile=own)}
    harness.rest.answer = served(b'{"a":1}', "public", profile=0)

    answers = [await harness.client.get("/v1/profiles/me", headers=harness.signed_in) for _ in range(2)]
    known = await harness.client.get("/v1/profiles/me", headers=harness.signed_in | {"if-none-match": '"one"'})
    public = await harness.client.get(f"/v1/profiles/{harness.user_id}", headers=harness.signed_in)

    for answer in answers:
        assert (answer.json()["presence"], answer.json()["language"]) == ("nobody", "ru")
        assert (answer.headers["etag"], answer.headers["cache-control"]) == ('"one"', "private, no-cache")
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", '"one"')
    assert [asked[0] for asked in harness.script.asked].count("get_own_profile") == 3
    assert public.json() == {"a": 1}
    assert (await harness.client.get("/v1/profiles/me")).status_code == 401


async def test_an_event_renews_the_profile_and_a_read_model_behind_cannot_put_the_old_one_back(
    harness: Harness,
) -> None:
    harness.rest.answer = served(b'{"a":1}', "one", profile=0)
    await harness.client.get(PATH)

    sequence = await harness.append(subjects.profile(USER), USER, ProfileUpdated(display_name="Anna"))
    await until(lambda: harness.context.profiles._invalidation.position.sequence("PROFILE") >= sequence)
    stale = [await harness.client.get(PATH) for _ in range(2)]
    assert [answer.json() for answer in stale] == [{"a": 1}] * 2
    assert len(harness.rest.asked) == 3

    harness.rest.answer = served(b'{"a":2}', "two", profile=sequence)
    renewed = [await harness.client.get(PATH) for _ in range(3)]
    assert [answer.json() for answer in renewed] == [{"a": 2}] * 3
    assert len(harness.rest.asked) == 4


async def test_a_kept_profile_does_for_a_position_that_was_followed_past(harness: Harness) -> None:
    harness.rest.answer = served(b'{"a":1}', "one", profile=0)
    await harness.client.get(PATH)
    other = "01890a5d-ac96-774b-bcce-b302099a8058"
    sequence = await harness.append(subjects.profile(other), other, ProfileUpdated(display_name="Bo"))
    await until(lambda: harness.context.profiles._invalidation.position.sequence("PROFILE") >= sequence)

    await harness.client.get(PATH, headers={"vestnik-position": harness.sealed.seal(Position.at("PROFILE", sequence))})

    assert len(harness.rest.asked) == 1


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(404, "profile_not_found", 404), (503, "read_model_behind", 503), (500, "", 500), (503, "", 503)],
)
async def test_what_the_service_refuses_is_passed_on(status: int, code: str, expected: int, harness: Harness) -> None:
    harness.rest.answer = Response(
        f'{{"code":"{code}","detail":"x"}}', status_code=status, headers={"retry-after": "2"}
    )

    answer = await harness.client.get(PATH)

    assert answer.status_code == expected
    if code:
        assert (answer.json()["code"], answer.headers["retry-after"]) == (code, "2")
