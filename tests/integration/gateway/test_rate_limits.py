"""Rate limits over HTTP: which requests count against which limit, the headers, and refusals."""

from pathlib import Path

import pytest
from nats.aio.client import Client as NATS

from contracts.errors import NoQuorum, OutOfSpace, Overloaded, Unavailable, UsernameTaken, VestnikError
from contracts.rpc.vestnik.auth.v1 import RegisterResponse, ResendVerificationResponse, User
from contracts.rpc.vestnik.contact.v1 import AddFriendResponse, FriendState, GetFriendsResponse, RemoveFriendResponse
from contracts.rpc.vestnik.messaging.v1 import (
    ListNotificationsResponse,
    MarkSeenResponse,
    SendMessageResponse,
    UpdateConversationResponse,
)
from contracts.rpc.vestnik.profile.v1 import Profile, ProfileSettings, SearchProfilesResponse, UpdateProfileResponse
from contracts.rpc.vestnik.session.v1 import RefreshSessionResponse, Tokens
from services.gateway.limits import policies as limits
from tests.integration.gateway.conftest import Harness, running_gateway
from tests.integration.gateway.limited_logins import BODY, LOGGED_IN, WRONG, stop_the_clock

MAILBOX = {"email": "a@example.org"}
NEW_USER = {**MAILBOX, "username": "anna", "password": "correct horse"}


@pytest.mark.parametrize(
    ("method", "path", "body", "quota"),
    [
        ("register", "/v1/users", NEW_USER, 20),
        ("resend_verification", "/v1/users/resend-verification", MAILBOX, 5),
        ("request_password_reset", "/v1/users/password-reset", MAILBOX, 5),
    ],
)
@pytest.mark.parametrize("refusal", [NoQuorum, OutOfSpace])
async def test_what_the_event_store_refuses_uses_up_no_limit_of_mails(
    harness: Harness, method: str, path: str, body: dict[str, str], quota: int, refusal: type[VestnikError]
) -> None:
    stop_the_clock(harness)
    harness.script.answers = {method: refusal()}
    refused = [await harness.client.post(path, json=body) for _ in range(quota + 1)]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(503, refusal.code)}
    # The address has been counted each time; the mailbox has all of its quota left, and no more.
    harness.script.answers = {method: UsernameTaken()}
    counted = [(await harness.client.post(path, json=body)).status_code for _ in range(quota + 1)]
    assert counted == [409] * quota + [429]


@pytest.mark.parametrize("failure", [Unavailable, Overloaded])
async def test_a_failure_that_may_have_had_an_effect_or_that_clients_can_cause_is_counted(
    harness: Harness, failure: type[VestnikError]
) -> None:
    stop_the_clock(harness)
    harness.script.answers = {"register": failure()}
    answers = [(await harness.client.post("/v1/users", json=NEW_USER)).status_code for _ in range(21)]
    assert answers == [503] * 20 + [429]


async def test_requests_of_every_kind_are_counted_by_address_and_by_account(harness: Harness) -> None:
    harness.script.answers = {
        **LOGGED_IN,
        "register": RegisterResponse(user=User(user_id=harness.user_id, username="anna", email="a@example.org")),
        "refresh_session": RefreshSessionResponse(tokens=Tokens()),
        "resend_verification": ResendVerificationResponse(),
        "send_message": SendMessageResponse(message=b"{}", created=True),
        "search_profiles": SearchProfilesResponse(),
        "add_friend": AddFriendResponse(state=FriendState.OUTGOING, created=True),
        "remove_friend": RemoveFriendResponse(),
        "get_friends": GetFriendsResponse(),
        "update_profile": UpdateProfileResponse(profile=Profile(settings=ProfileSettings(presence="friends"))),
        "mark_seen": MarkSeenResponse(),
        "update_conversation": UpdateConversationResponse(),
    }
    new = {"email": "a@example.org", "username": "anna", "password": "correct horse"}
    post, get, mine = harness.client.post, harness.client.get, harness.signed_in
    friend, messages = f"/v1/friends/{harness.user_id}", f"/v1/conversations/{harness.user_id}"
    message = {"text": "x", "client_message_id": "c"}
    for answer, names in [
        (await post("/v1/users", json=new), ["register", "register-email"]),
        (await post("/v1/sessions", json=BODY), ["login", "login-name", "login-name-hour", "login-name-day"]),
        (await post("/v1/sessions/refresh", json={"refresh_token": "t"}), ["refresh-address", "refresh"]),
        (await post("/v1/users/resend-verification", json={"email": "a@example.org"}), ["resend", "resend-email"]),
        (
            await post(f"{messages}/messages", json=message, headers=mine),
            ["send-address", "send", "bytes"],
        ),
        (await get("/v1/profiles?query=a", headers=mine), ["search-address", "search"]),
        (await harness.client.put(friend, headers=mine), ["friends-address", "friends"]),
        (await harness.client.delete(friend, headers=mine), ["friends-address", "friends"]),
        (
            await harness.client.patch("/v1/profiles/me", json={"bio": "x"}, headers=mine),
            ["profile-change-address", "profile-change", "bytes"],
        ),
        (
            await harness.client.put(f"{messages}/seen", json={"sequence": 1}, headers=mine),
            ["write-address", "write", "bytes"],
        ),
        (
            await harness.client.patch(messages, json={"pinned": True}, headers=mine),
            ["conversation-change-address", "conversation-change", "bytes"],
        ),
        (await get("/v1/friends", headers=mine), ["read-address", "read"]),
        (await get("/metrics"), ["metrics-address"]),
        (await get("/healthz"), ["health-address"]),
        (await get("/.well-known/jwks.json"), ["public-address"]),
        (await get(f"/v1/profiles/{harness.user_id}"), ["profile-address"]),
        (
            await post("/v1/browser/sessions/refresh", headers={"cookie": "vestnik_refresh=t.1.m"}),
            ["refresh-address", "refresh"],
        ),
    ]:
        assert answer.status_code < 300, answer.text
        for header in ("ratelimit-policy", "ratelimit"):
            policies = [part.strip().partition(";")[0].strip('"') for part in answer.headers[header].split(",")]
            assert policies == names


async def test_refusals_have_the_headers_too(harness: Harness) -> None:
    malformed = await harness.client.post("/v1/users", content=b"{", headers={"content-type": "application/json"})
    assert (malformed.status_code, malformed.headers["ratelimit-policy"]) == (400, '"register";q=120;w=60')
    unknown = await harness.client.get("/v1/friends", headers={"authorization": "Bearer x"})
    assert (unknown.status_code, unknown.headers["ratelimit-policy"]) == (401, '"read-address";q=2000;w=1')


async def test_friend_requests_of_one_account_are_limited_and_its_reads_go_on(harness: Harness) -> None:
    stop_the_clock(harness)
    harness.script.answers = {
        "add_friend": AddFriendResponse(state=FriendState.OUTGOING, created=True),
        "get_friends": GetFriendsResponse(),
    }
    path, headers = f"/v1/friends/{harness.user_id}", harness.signed_in
    answers = [await harness.client.put(path, headers=headers) for _ in range(121)]
    assert [answer.status_code for answer in answers] == [201] * 120 + [429]
    assert (answers[-1].json()["code"], answers[-1].headers["retry-after"]) == ("rate_limited", "1")
    assert (await harness.client.delete(path, headers=headers)).status_code == 429
    assert (await harness.client.get("/v1/friends", headers=headers)).status_code == 200


async def test_lists_grouped_by_conversation_have_a_limit_of_their_own(harness: Harness) -> None:
    stop_the_clock(harness)
    harness.script.answers = {"list_notifications": ListNotificationsResponse()}
    get, headers = harness.client.get, harness.signed_in
    grouped = "/v1/notifications?group=conversation"
    answers = [await get(grouped, headers=headers) for _ in range(31)]
    assert [answer.status_code for answer in answers] == [200] * 30 + [429]
    assert '"notification-groups";r=29' in answers[0].headers["ratelimit"]
    assert (answers[-1].json()["code"], answers[-1].headers["retry-after"]) == ("rate_limited", "2")
    assert (await get("/v1/notifications", headers=headers)).status_code == 200


async def test_tokens_that_are_none_are_counted_before_they_are_verified(harness: Harness) -> None:
    stop_the_clock(harness)
    limiter = harness.context.limiter
    assert limiter is not None
    for _ in range(limits.READ_ADDRESS.capacity):
        limiter.consume(limits.READ_ADDRESS, "127.0.0.1")
    refused = await harness.client.get("/v1/friends", headers={"authorization": "Bearer x"})
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")


async def test_a_header_that_anyone_can_write_makes_no_new_client(harness: Harness) -> None:
    stop_the_clock(harness)
    harness.script.answers = dict(LOGGED_IN)
    left = []
    for number in range(3):
        forged = {"x-forwarded-for": f"192.0.2.{number}", "forwarded": f"for=192.0.2.{number}"}
        answer = await harness.client.post("/v1/sessions", json={**BODY, "login": f"n{number}"}, headers=forged)
        left.append(answer.headers["ratelimit"].partition(";t=")[0])
    assert left == ['"login";r=119', '"login";r=118', '"login";r=117']


async def test_behind_a_trusted_proxy_each_client_is_counted_for_itself(tmp_path: Path, streams: NATS) -> None:
    async with running_gateway(tmp_path, streams, trusted_hops=1) as harness:
        harness.script.answers = dict(LOGGED_IN)
        for number in range(3):
            forwarded = {"x-forwarded-for": f"203.0.113.9, 192.0.2.{number}"}
            answer = await harness.client.post("/v1/sessions", json={**BODY, "login": f"n{number}"}, headers=forwarded)
            assert answer.headers["ratelimit"].startswith('"login";r=119;')
        asked = [getattr(request, "address", "") for _, request, _ in harness.script.asked]
        assert asked == ["192.0.2.0", "192.0.2.1", "192.0.2.2"]


async def test_limits_can_be_switched_off_for_load_tests(tmp_path: Path, streams: NATS) -> None:
    async with running_gateway(tmp_path, streams, rate_limits="off") as harness:
        harness.script.answers = dict(WRONG)
        answers = [await harness.client.post("/v1/sessions", json=BODY) for _ in range(40)]
        assert {answer.status_code for answer in answers} == {401}
        assert "ratelimit" not in answers[0].headers
