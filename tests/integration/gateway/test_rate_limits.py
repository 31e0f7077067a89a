"""Rate limits over HTTP: headers, refusals, gateways that count together, and a store that comes and goes."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from nats.aio.client import Client as NATS

from contracts.errors import (
    InvalidCredentials,
    InvalidTotp,
    NoQuorum,
    OutOfSpace,
    Overloaded,
    RateLimited,
    TotpRequired,
    Unavailable,
    UsernameTaken,
    VestnikError,
)
from contracts.rpc.vestnik.auth.v1 import (
    ChangePasswordResponse,
    GetRegistrationResponse,
    LoginResponse,
    RegisterResponse,
    ResendVerificationResponse,
    ResetPasswordResponse,
    User,
)
from contracts.rpc.vestnik.contact.v1 import AddFriendResponse, FriendState, GetFriendsResponse, RemoveFriendResponse
from contracts.rpc.vestnik.messaging.v1 import (
    ListNotificationsResponse,
    MarkSeenResponse,
    SendMessageResponse,
    UpdateConversationResponse,
)
from contracts.rpc.vestnik.profile.v1 import Profile, ProfileSettings, SearchProfilesResponse, UpdateProfileResponse
from contracts.rpc.vestnik.session.v1 import RefreshSessionResponse, Tokens
from contracts.subjects import LIMITS, limit_uses
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from services.gateway.limits import policies as limits
from streams.jetstream.api import JetStream
from tests.integration.gateway.conftest import Stage, staged

BODY = {"login": "Anna", "password": "correct horse"}
LOGGED_IN = {"login": LoginResponse(tokens=Tokens(), device_token="known")}
WRONG = {"login": InvalidCredentials()}


def stop_the_clock(*stages: Stage) -> None:
    """Freezes the limits' clock, so that nothing is refilled, however slow the machine is."""
    # A whole number, with which the sums come out exactly; time that goes on makes good for what they lack.
    at = float(round(time.monotonic()))
    for stage in stages:
        limiter = stage.context.limiter
        assert limiter is not None
        limiter._clock = lambda: at


async def log_in(stage: Stage, **headers: str) -> int:
    return (await stage.client.post("/v1/sessions", json=BODY, headers=headers)).status_code


async def test_logins_are_counted_by_address_and_wrong_passwords_by_login(stage: Stage) -> None:
    stop_the_clock(stage)
    stage.script.answers = dict(LOGGED_IN)
    assert [await log_in(stage) for _ in range(20)] == [201] * 20
    stage.script.answers = dict(WRONG)
    answers = [await stage.client.post("/v1/sessions", json=BODY) for _ in range(11)]

    assert [answer.status_code for answer in answers[:10]] == [401] * 10
    policies = ['"login";q=120;w=60', '"login-name";q=6;w=60', '"login-name-hour";q=30;w=3600']
    assert answers[0].headers["ratelimit-policy"].split(", ") == [*policies, '"login-name-day";q=200;w=86400']
    assert answers[0].headers["ratelimit"].startswith('"login";r=99;t=')
    refused = answers[10]
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) == 10
    assert '"login-name";r=0' in refused.headers["ratelimit"]
    # Right or wrong, it is not looked at.
    stage.script.answers = dict(LOGGED_IN)
    assert await log_in(stage) == 429
    assert (await stage.client.post("/v1/sessions", json={**BODY, "login": "bo"})).status_code == 201


async def burn(stage: Stage) -> None:
    """Wrong passwords until the login takes no more."""
    stage.script.answers = dict(WRONG)
    assert [await log_in(stage) for _ in range(11)] == [401] * 10 + [429]


async def test_a_known_device_is_let_through_to_auth_whatever_others_have_tried(stage: Stage) -> None:
    stop_the_clock(stage)
    await burn(stage)
    stage.script.answers = dict(LOGGED_IN)
    answer = await stage.client.post("/v1/sessions", json={**BODY, "device_token": "known"})
    assert (answer.status_code, answer.json()["device_token"]) == (201, "known")
    page = await stage.client.post("/v1/browser/sessions", json=BODY, headers={"cookie": "vestnik_device=known"})
    assert page.status_code == 201
    assert "device_token" not in page.json()
    asked = [(request.device_token, request.known_device_only) for _, request, _ in stage.script.asked[-2:]]  # type: ignore[attr-defined]  # logins
    assert asked == [("known", True)] * 2


async def test_a_token_that_auth_does_not_know_is_refused_as_none(stage: Stage) -> None:
    stop_the_clock(stage)
    await burn(stage)
    plain = await stage.client.post("/v1/sessions", json=BODY)
    stage.script.answers = {"login": RateLimited()}
    forged = await stage.client.post("/v1/sessions", json={**BODY, "device_token": "forged"})
    assert (forged.status_code, forged.json()) == (plain.status_code, plain.json())
    assert forged.headers["retry-after"] == plain.headers["retry-after"] == "10"


async def test_wrong_passwords_of_a_known_device_have_a_count_of_their_own_and_count_for_all(stage: Stage) -> None:
    stop_the_clock(stage)
    stage.script.answers = dict(WRONG)
    body = {**BODY, "device_token": "known"}
    answers = [(await stage.client.post("/v1/sessions", json=body)).status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]
    assert await log_in(stage) == 429


async def test_a_browser_keeps_its_device_in_a_cookie_that_no_script_can_read(stage: Stage) -> None:
    stage.script.answers = {
        **LOGGED_IN,
        "change_password": ChangePasswordResponse(device_token="changed"),
        "reset_password": ResetPasswordResponse(device_token="reset"),
    }
    logged_in = await stage.client.post("/v1/browser/sessions", json=BODY)
    assert [line.split("=")[0] for line in logged_in.headers.get_list("set-cookie")] == [
        "vestnik_refresh",
        "vestnik_device",
    ]
    change = {"current_password": "correct horse", "new_password": "another horse"}
    changed = await stage.client.put("/v1/users/me/password", json=change, headers=stage.signed_in)
    confirm = {"token": "t", "new_password": "another horse"}
    reset = await stage.client.post("/v1/users/password-reset/confirm", json=confirm)
    for answer, token in ((logged_in, "known"), (changed, "changed"), (reset, "reset")):
        value, *attributes = answer.headers.get_list("set-cookie")[-1].split("; ")
        assert value == f"vestnik_device={token}"
        assert {"HttpOnly", "SameSite=Strict", "Path=/v1/browser/sessions"} <= set(attributes)
    assert [answer.headers["vestnik-device-token"] for answer in (changed, reset)] == ["changed", "reset"]


async def test_present_passwords_are_guessed_no_more_often_than_logins(stage: Stage) -> None:
    stop_the_clock(stage)
    stage.script.answers = {"change_password": InvalidCredentials()}
    change = {"current_password": "wrong horse", "new_password": "another horse"}
    answers = [
        (await stage.client.put("/v1/users/me/password", json=change, headers=stage.signed_in)).status_code
        for _ in range(11)
    ]
    assert answers == [401] * 10 + [429]


async def test_wrong_codes_are_counted_by_login_whatever_device_tries_them_and_the_missing_code_is_not(
    stage: Stage,
) -> None:
    stop_the_clock(stage)

    async def post(body: dict[str, str]) -> httpx.Response:
        return await stage.client.post("/v1/sessions", json={**BODY, **body})

    stage.script.answers = {"login": TotpRequired()}
    assert {(await post({})).json()["code"] for _ in range(30)} == {"totp_required"}
    # Codes beside a wrong password are no guesses of a code.
    stage.script.answers = dict(WRONG)
    assert [(await post({"totp": "123456"})).status_code for _ in range(5)] == [401] * 5
    stage.script.answers = {"login": InvalidTotp()}
    for number in range(10):
        refused = await post({"totp": "123456", "device_token": f"collected {number}"})
        assert refused.json()["code"] == "invalid_totp"
    # Auth hears of it, and without a device token it is not even asked.
    await post({"totp": "123456", "device_token": "another"})
    _, last, _ = stage.script.asked[-1]
    assert (last.known_device_only, last.proved_device_only) == (True, True)  # type: ignore[attr-defined]  # a login
    assert (await post({"totp": "123456"})).status_code == 429
    assert (await stage.client.post("/v1/browser/sessions", json={**BODY, "totp": "123456"})).status_code == 429


async def test_codes_that_turn_two_step_verification_on_or_off_are_guessed_no_more_often(stage: Stage) -> None:
    stop_the_clock(stage)
    stage.script.answers = {"confirm_totp": InvalidTotp(), "end_totp": InvalidTotp()}
    path, end = "/v1/users/me/totp", {"password": "correct horse", "code": "123456"}
    for number in range(10):
        if number % 2:
            tried = await stage.client.post(f"{path}/confirm", json={"code": "123456"}, headers=stage.signed_in)
        else:
            tried = await stage.client.request("DELETE", path, json=end, headers=stage.signed_in)
        assert tried.json()["code"] == "invalid_totp"
    refused = [
        await stage.client.post(f"{path}/confirm", json={"code": "123456"}, headers=stage.signed_in),
        await stage.client.request("DELETE", path, json=end, headers=stage.signed_in),
    ]
    assert [answer.json()["code"] for answer in refused] == ["rate_limited"] * 2


async def test_passwords_of_a_changed_address_or_a_deletion_are_guessed_no_more_often_either(
    stage: Stage,
) -> None:
    stop_the_clock(stage)
    stage.script.answers = {
        "get_registration": GetRegistrationResponse(username="anna", changes_user_id=stage.user_id),
        "verify_email": InvalidCredentials(),
        "request_email_change": InvalidCredentials(),
        "delete_account": InvalidCredentials(),
    }
    wanted = {"email": "new@example.org", "password": "wrong horse"}
    answers = [
        (await stage.client.put("/v1/users/me/email", json=wanted, headers=stage.signed_in)).status_code
        for _ in range(3)
    ]
    deletion = {"password": "wrong horse"}
    answers.append(
        (await stage.client.request("DELETE", "/v1/users/me", json=deletion, headers=stage.signed_in)).status_code
    )
    confirm = {"token": "t", "password": "wrong horse"}
    answers += [(await stage.client.post("/v1/users/verify-email", json=confirm)).status_code for _ in range(7)]
    assert answers == [401] * 10 + [429]
    # A registration's password is no account's.
    stage.script.answers["get_registration"] = GetRegistrationResponse(username="boris")
    assert (await stage.client.post("/v1/users/verify-email", json=confirm)).status_code == 401


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
    stage: Stage, method: str, path: str, body: dict[str, str], quota: int, refusal: type[VestnikError]
) -> None:
    stop_the_clock(stage)
    stage.script.answers = {method: refusal()}
    refused = [await stage.client.post(path, json=body) for _ in range(quota + 1)]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(503, refusal.code)}
    # The address has been counted each time; the mailbox has all of its quota left, and no more.
    stage.script.answers = {method: UsernameTaken()}
    counted = [(await stage.client.post(path, json=body)).status_code for _ in range(quota + 1)]
    assert counted == [409] * quota + [429]


@pytest.mark.parametrize("failure", [Unavailable, Overloaded])
async def test_a_failure_that_may_have_had_an_effect_or_that_clients_can_cause_is_counted(
    stage: Stage, failure: type[VestnikError]
) -> None:
    stop_the_clock(stage)
    stage.script.answers = {"register": failure()}
    answers = [(await stage.client.post("/v1/users", json=NEW_USER)).status_code for _ in range(21)]
    assert answers == [503] * 20 + [429]


async def test_guesses_with_a_verification_token_are_counted_also_while_the_event_store_refuses(stage: Stage) -> None:
    stop_the_clock(stage)
    stage.script.answers = {"get_registration": GetRegistrationResponse(username="anna"), "verify_email": NoQuorum()}
    body = {"token": "t", "password": "correct horse"}
    answers = [(await stage.client.post("/v1/users/verify-email", json=body)).status_code for _ in range(31)]
    assert answers == [503] * 30 + [429]


async def test_requests_of_every_kind_are_counted_by_address_and_by_account(stage: Stage) -> None:
    stage.script.answers = {
        **LOGGED_IN,
        "register": RegisterResponse(user=User(user_id=stage.user_id, username="anna", email="a@example.org")),
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
    post, get, mine = stage.client.post, stage.client.get, stage.signed_in
    friend, messages = f"/v1/friends/{stage.user_id}", f"/v1/conversations/{stage.user_id}"
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
        (await stage.client.put(friend, headers=mine), ["friends-address", "friends"]),
        (await stage.client.delete(friend, headers=mine), ["friends-address", "friends"]),
        (
            await stage.client.patch("/v1/profiles/me", json={"bio": "x"}, headers=mine),
            ["profile-change-address", "profile-change", "bytes"],
        ),
        (
            await stage.client.put(f"{messages}/seen", json={"sequence": 1}, headers=mine),
            ["write-address", "write", "bytes"],
        ),
        (
            await stage.client.patch(messages, json={"pinned": True}, headers=mine),
            ["conversation-change-address", "conversation-change", "bytes"],
        ),
        (await get("/v1/friends", headers=mine), ["read-address", "read"]),
        (await get("/metrics"), ["metrics-address"]),
        (await get("/healthz"), ["health-address"]),
        (await get("/.well-known/jwks.json"), ["public-address"]),
        (await get(f"/v1/profiles/{stage.user_id}"), ["profile-address"]),
        (
            await post("/v1/browser/sessions/refresh", headers={"cookie": "vestnik_refresh=t.1.m"}),
            ["refresh-address", "refresh"],
        ),
    ]:
        assert answer.status_code < 300, answer.text
        for header in ("ratelimit-policy", "ratelimit"):
            found = [part.strip().partition(";")[0].strip('"') for part in answer.headers[header].split(",")]
            assert found == names


async def test_refusals_have_the_headers_too(stage: Stage) -> None:
    malformed = await stage.client.post("/v1/users", content=b"{", headers={"content-type": "application/json"})
    assert (malformed.status_code, malformed.headers["ratelimit-policy"]) == (400, '"register";q=120;w=60')
    unknown = await stage.client.get("/v1/friends", headers={"authorization": "Bearer x"})
    assert (unknown.status_code, unknown.headers["ratelimit-policy"]) == (401, '"read-address";q=2000;w=1')


async def test_friend_requests_of_one_account_are_limited_and_its_reads_go_on(stage: Stage) -> None:
    stop_the_clock(stage)
    stage.script.answers = {
        "add_friend": AddFriendResponse(state=FriendState.OUTGOING, created=True),
        "get_friends": GetFriendsResponse(),
    }
    path, headers = f"/v1/friends/{stage.user_id}", stage.signed_in
    answers = [await stage.client.put(path, headers=headers) for _ in range(121)]
    assert [answer.status_code for answer in answers] == [201] * 120 + [429]
    assert (answers[-1].json()["code"], answers[-1].headers["retry-after"]) == ("rate_limited", "1")
    assert (await stage.client.delete(path, headers=headers)).status_code == 429
    assert (await stage.client.get("/v1/friends", headers=headers)).status_code == 200


async def test_lists_grouped_by_conversation_have_a_limit_of_their_own(stage: Stage) -> None:
    stop_the_clock(stage)
    stage.script.answers = {"list_notifications": ListNotificationsResponse()}
    get, headers = stage.client.get, stage.signed_in
    grouped = "/v1/notifications?group=conversation"
    answers = [await get(grouped, headers=headers) for _ in range(31)]
    assert [answer.status_code for answer in answers] == [200] * 30 + [429]
    assert '"notification-groups";r=29' in answers[0].headers["ratelimit"]
    assert (answers[-1].json()["code"], answers[-1].headers["retry-after"]) == ("rate_limited", "2")
    assert (await get("/v1/notifications", headers=headers)).status_code == 200


async def test_what_one_user_sends_in_a_day_is_bounded_on_all_gateways_and_reading_goes_on(
    tmp_path: Path, streams: NATS
) -> None:
    quota = {"daily_bytes": 400_000}
    async with staged(tmp_path, streams, **quota) as first, staged(tmp_path, streams, **quota) as second:
        # Two bytes a second come back, in which a slow machine gains no message.
        for stage in (first, second):
            stage.script.answers = {
                "send_message": SendMessageResponse(message=b"{}", created=True),
                "get_friends": GetFriendsResponse(),
            }
        second.user_id = first.user_id

        async def send(stage: Stage, text: str) -> httpx.Response:
            path = f"/v1/conversations/{new_id()}/messages"
            body = {"text": text, "client_message_id": "c"}
            return await stage.client.post(path, json=body, headers=stage.signed_in)

        answers = [await send(first, "x" * 4_000) for _ in range(50)]
        assert [answer.status_code for answer in answers] == [201] * 49 + [429]
        assert answers[0].headers["ratelimit-policy"].endswith('"bytes";q=200000;w=86400;qu="content-bytes"')
        refused = answers[-1]
        assert (refused.json()["code"], int(refused.headers["retry-after"]) > 100) == ("rate_limited", True)
        assert (await first.client.get("/v1/friends", headers=first.signed_in)).status_code == 200
        # The other gateway hears of twice 64 KiB at least.
        async with asyncio.timeout(60):
            while True:
                answer = await send(second, "x")
                if int(answer.headers["ratelimit"].split('"bytes";r=')[1].partition(";")[0]) < 100_000:
                    break
                await asyncio.sleep(0.02)


async def test_tokens_that_are_none_are_counted_before_they_are_verified(stage: Stage) -> None:
    stop_the_clock(stage)
    limiter = stage.context.limiter
    assert limiter is not None
    for _ in range(limits.READ_ADDRESS.capacity):
        limiter.consume(limits.READ_ADDRESS, "127.0.0.1")
    refused = await stage.client.get("/v1/friends", headers={"authorization": "Bearer x"})
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")


async def test_counts_of_local_limits_are_not_shared(stage: Stage) -> None:
    stage.script.answers = {"get_friends": GetFriendsResponse()}
    await stage.client.get("/v1/friends", headers=stage.signed_in)
    limiter = stage.context.limiter
    assert limiter is not None
    assert not {"read", "read-address", "health-address"} & set(limiter.drain_local_counts())


async def test_a_header_that_anyone_can_write_makes_no_new_client(stage: Stage) -> None:
    stop_the_clock(stage)
    stage.script.answers = dict(LOGGED_IN)
    left = []
    for number in range(3):
        forged = {"x-forwarded-for": f"192.0.2.{number}", "forwarded": f"for=192.0.2.{number}"}
        answer = await stage.client.post("/v1/sessions", json={**BODY, "login": f"n{number}"}, headers=forged)
        left.append(answer.headers["ratelimit"].partition(";t=")[0])
    assert left == ['"login";r=119', '"login";r=118', '"login";r=117']


async def test_behind_a_trusted_proxy_each_client_is_counted_for_itself(tmp_path: Path, streams: NATS) -> None:
    async with staged(tmp_path, streams, trusted_hops=1) as stage:
        stage.script.answers = dict(LOGGED_IN)
        for number in range(3):
            forwarded = {"x-forwarded-for": f"203.0.113.9, 192.0.2.{number}"}
            answer = await stage.client.post("/v1/sessions", json={**BODY, "login": f"n{number}"}, headers=forwarded)
            assert answer.headers["ratelimit"].startswith('"login";r=119;')
        asked = [getattr(request, "address", "") for _, request, _ in stage.script.asked]
        assert asked == ["192.0.2.0", "192.0.2.1", "192.0.2.2"]


async def test_two_gateways_count_together(tmp_path: Path, streams: NATS) -> None:
    async with staged(tmp_path, streams) as first, staged(tmp_path, streams) as second:
        stop_the_clock(first, second)
        await burn(first)
        second.script.answers = dict(LOGGED_IN)
        async with asyncio.timeout(60):
            while await log_in(second) == 201:
                await asyncio.sleep(0.02)
        assert await log_in(second) == 429


async def test_a_gateway_that_starts_remembers_what_was_counted_before(tmp_path: Path, streams: NATS) -> None:
    async with staged(tmp_path, streams) as stage:
        stage.script.answers = dict(WRONG)
        limiter = stage.context.limiter
        assert limiter is not None
        # Of the limit that refills slowest of those that refuse so few, so that a slow machine gives nothing back.
        for _ in range(limits.LOGIN_FAILURES[1].capacity):
            limiter.consume(limits.LOGIN_FAILURES[1], "anna")
        assert await log_in(stage) == 429

    async with staged(tmp_path, streams) as stage:
        stage.script.answers = dict(WRONG)
        assert await log_in(stage) == 429


async def test_what_is_shared_names_nobody_and_is_forgotten(stage: Stage, streams: NATS) -> None:
    stage.script.answers = {"send_message": SendMessageResponse(message=b"{}", created=True), **WRONG}
    await log_in(stage)
    path = f"/v1/conversations/{stage.user_id}/messages"
    await stage.client.post(path, json={"text": "x", "client_message_id": "c"}, headers=stage.signed_in)
    jetstream = JetStream(streams)
    async with asyncio.timeout(60):
        while (told := await jetstream.last(LIMITS, limit_uses("login-name"))) is None:
            await asyncio.sleep(0.02)
    for secret in (b"anna", b"Anna", b"127.0.0.1", b"correct"):
        assert secret not in told.payload
    # Of a limit that forgets within seconds nothing is left after them.
    async with asyncio.timeout(60):
        while await jetstream.last(LIMITS, limit_uses("send")) is not None:
            await asyncio.sleep(0.1)


async def test_without_its_store_a_gateway_goes_on_counting_and_tells_later(
    tmp_path: Path, streams: NATS, nats_server: NatsServer
) -> None:
    async with staged(tmp_path, streams) as stage:
        stop_the_clock(stage)
        nats_server.kill()
        await burn(stage)
        await nats_server.start()
        jetstream = JetStream(streams)
        async with asyncio.timeout(60):
            while await jetstream.last(LIMITS, limit_uses("login-name")) is None:
                await asyncio.sleep(0.05)


async def test_rubbish_in_the_store_does_no_harm(stage: Stage, streams: NATS, caplog: pytest.LogCaptureFixture) -> None:
    stage.script.answers = dict(LOGGED_IN)
    context = streams.jetstream()
    for rubbish in (b"", b"{", b'{"by": "x", "uses": {"!": 1}}', b'{"by": "x", "uses": {"AAAA": -5}}'):
        await context.publish(limit_uses("login-name"), rubbish)
    await context.publish(limit_uses("unknown"), b'{"by": "x", "uses": {}}')
    async with asyncio.timeout(60):
        while caplog.text.count("is malformed") < 3:
            await asyncio.sleep(0.02)
    assert await log_in(stage) == 201


async def test_limits_can_be_switched_off_for_load_tests(tmp_path: Path, streams: NATS) -> None:
    async with staged(tmp_path, streams, rate_limits="off") as stage:
        stage.script.answers = dict(LOGGED_IN)
        answers: list[httpx.Response] = [await stage.client.post("/v1/sessions", json=BODY) for _ in range(40)]
        assert {answer.status_code for answer in answers} == {201}
        assert "ratelimit" not in answers[0].headers
