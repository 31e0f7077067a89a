"""Every route: its call to the service, and its response."""

import pytest

from contracts.rpc.vestnik.auth import v1 as auth
from contracts.rpc.vestnik.profile import v1 as profile
from contracts.values.ids import new_id
from tests.integration.gateway.conftest import Harness
from tests.integration.gateway.route_cases.accounts import ACCOUNTS, NEW_USER
from tests.integration.gateway.route_cases.case import PEER, WROTE, Case
from tests.integration.gateway.route_cases.conversations import CONVERSATIONS
from tests.integration.gateway.route_cases.people import OWN, PEOPLE

CASES = ACCOUNTS | PEOPLE | CONVERSATIONS


async def test_every_route_asks_its_service_and_answers_as_documented(
    harness: Harness, subtests: pytest.Subtests
) -> None:
    for name, case in CASES.items():
        # Another session each, since some cases end theirs.
        harness.session_id = new_id()
        with subtests.test(name):
            await check(case, harness)


async def check(case: Case, harness: Harness) -> None:
    harness.script.answers = case.answers

    answer = await harness.client.request(
        case.method,
        case.path,
        json=case.body,
        headers={"x-request-id": "r-1", **({} if case.public else harness.signed_in)},
    )

    assert answer.status_code == case.status, answer.text
    assert (answer.json() if answer.content else None) == case.expected
    assert answer.headers["x-request-id"] == "r-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert harness.sealed.open(answer.headers["vestnik-position"]).sequences
    _, request, call = harness.script.asked[-1]
    assert {key: getattr(request, key) for key in case.asked} == case.asked
    assert (call.request_id, call.actor) == ("r-1", None if case.public else harness.user_id)
    if not case.public:
        assert (await harness.client.request(case.method, case.path, json=case.body)).status_code == 401


@pytest.mark.parametrize(
    ("named", "accepted", "language"),
    [
        ({"language": "ru"}, "en", "ru"),
        ({"language": "en"}, "ru", "en"),
        ({}, "ru-RU, en;q=0.5", "ru"),
        ({}, "de, *;q=0.1", "en"),
    ],
)
async def test_the_language_of_an_accounts_mails_is_the_one_named_else_the_one_that_is_accepted(
    harness: Harness, named: dict[str, str], accepted: str, language: str
) -> None:
    user = auth.User(user_id=PEER, username="anna", email="anna@example.org")
    harness.script.answers["register"] = auth.RegisterResponse(user=user, position=WROTE)
    response = await harness.client.post("/v1/users", json=NEW_USER | named, headers={"Accept-Language": accepted})
    assert response.status_code == 201
    request = harness.script.asked[-1][1]
    assert isinstance(request, auth.RegisterRequest)
    assert request.language == language


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json; charset=utf-8"])
async def test_a_profile_is_patched_if_the_tag_still_holds(media_type: str, harness: Harness) -> None:
    harness.script.answers = {"update_profile": profile.UpdateProfileResponse(profile=OWN, position=WROTE)}
    headers = [*harness.signed_in.items(), ("content-type", media_type), ("if-match", '"e0"'), ("if-match", '"e1"')]

    answer = await harness.client.patch("/v1/profiles/me", content=b"{}", headers=headers)

    assert answer.headers["etag"] == '"e1"'
    request = harness.script.asked[-1][1]
    assert isinstance(request, profile.UpdateProfileRequest)
    assert request.if_match == ["e0", "e1"]
