"""Guesses of passwords, codes and tokens are limited; a device that has logged in before is not locked out."""

import httpx

from contracts.errors import InvalidCredentials, InvalidTotp, NoQuorum, RateLimited, TotpRequired
from contracts.rpc.vestnik.auth.v1 import ChangePasswordResponse, GetRegistrationResponse, ResetPasswordResponse
from tests.integration.gateway.conftest import Harness
from tests.integration.gateway.limited_logins import BODY, LOGGED_IN, WRONG, burn, log_in, stop_the_clock


async def test_logins_are_counted_by_address_and_wrong_passwords_by_login(harness: Harness) -> None:
    stop_the_clock(harness)
    harness.script.answers = dict(LOGGED_IN)
    assert [await log_in(harness) for _ in range(20)] == [201] * 20
    harness.script.answers = dict(WRONG)
    answers = [await harness.client.post("/v1/sessions", json=BODY) for _ in range(11)]

    assert [answer.status_code for answer in answers[:10]] == [401] * 10
    policies = ['"login";q=120;w=60', '"login-name";q=6;w=60', '"login-name-hour";q=30;w=3600']
    assert answers[0].headers["ratelimit-policy"].split(", ") == [*policies, '"login-name-day";q=200;w=86400']
    assert answers[0].headers["ratelimit"].startswith('"login";r=99;t=')
    refused = answers[10]
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) == 10
    assert '"login-name";r=0' in refused.headers["ratelimit"]
    # Right or wrong, it is not looked at.
    harness.script.answers = dict(LOGGED_IN)
    assert await log_in(harness) == 429
    assert (await harness.client.post("/v1/sessions", json={**BODY, "login": "bo"})).status_code == 201


async def test_a_known_device_is_let_through_to_auth_whatever_others_have_tried(harness: Harness) -> None:
    stop_the_clock(harness)
    await burn(harness)
    harness.script.answers = dict(LOGGED_IN)
    answer = await harness.client.post("/v1/sessions", json={**BODY, "device_token": "known"})
    assert (answer.status_code, answer.json()["device_token"]) == (201, "known")
    page = await harness.client.post("/v1/browser/sessions", json=BODY, headers={"cookie": "vestnik_device=known"})
    assert page.status_code == 201
    assert "device_token" not in page.json()
    asked = [(request.device_token, request.known_device_only) for _, request, _ in harness.script.asked[-2:]]  # type: ignore[attr-defined]  # logins
    assert asked == [("known", True)] * 2


async def test_a_token_that_auth_does_not_know_is_refused_as_none(harness: Harness) -> None:
    stop_the_clock(harness)
    await burn(harness)
    plain = await harness.client.post("/v1/sessions", json=BODY)
    harness.script.answers = {"login": RateLimited()}
    forged = await harness.client.post("/v1/sessions", json={**BODY, "device_token": "forged"})
    assert (forged.status_code, forged.json()) == (plain.status_code, plain.json())
    assert forged.headers["retry-after"] == plain.headers["retry-after"] == "10"


async def test_wrong_passwords_of_a_known_device_have_a_count_of_their_own_and_count_for_all(harness: Harness) -> None:
    stop_the_clock(harness)
    harness.script.answers = dict(WRONG)
    body = {**BODY, "device_token": "known"}
    answers = [(await harness.client.post("/v1/sessions", json=body)).status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]
    assert await log_in(harness) == 429


async def test_a_browser_keeps_its_device_in_a_cookie_that_no_script_can_read(harness: Harness) -> None:
    harness.script.answers = {
        **LOGGED_IN,
        "change_password": ChangePasswordResponse(device_token="changed"),
        "reset_password": ResetPasswordResponse(device_token="reset"),
    }
    logged_in = await harness.client.post("/v1/browser/sessions", json=BODY)
    assert [line.split("=")[0] for line in logged_in.headers.get_list("set-cookie")] == [
        "vestnik_refresh",
        "vestnik_device",
    ]
    change = {"current_password": "correct horse", "new_password": "another horse"}
    changed = await harness.client.put("/v1/users/me/password", json=change, headers=harness.signed_in)
    confirm = {"token": "t", "new_password": "another horse"}
    reset = await harness.client.post("/v1/users/password-reset/confirm", json=confirm)
    for answer, token in ((logged_in, "known"), (changed, "changed"), (reset, "reset")):
        value, *attributes = answer.headers.get_list("set-cookie")[-1].split("; ")
        assert value == f"vestnik_device={token}"
        assert {"HttpOnly", "SameSite=Strict", "Path=/v1/browser/sessions"} <= set(attributes)
    assert [answer.headers["vestnik-device-token"] for answer in (changed, reset)] == ["changed", "reset"]


async def test_present_passwords_are_guessed_no_more_often_than_logins(harness: Harness) -> None:
    stop_the_clock(harness)
    harness.script.answers = {"change_password": InvalidCredentials()}
    change = {"current_password": "wrong horse", "new_password": "another horse"}
    answers = [
        (await harness.client.put("/v1/users/me/password", json=change, headers=harness.signed_in)).status_code
        for _ in range(11)
    ]
    assert answers == [401] * 10 + [429]


async def test_wrong_codes_are_counted_by_login_whatever_device_tries_them_and_the_missing_code_is_not(
    harness: Harness,
) -> None:
    stop_the_clock(harness)

    async def post(body: dict[str, str]) -> httpx.Response:
        return await harness.client.post("/v1/sessions", json={**BODY, **body})

    harness.script.answers = {"login": TotpRequired()}
    assert {(await post({})).json()["code"] for _ in range(30)} == {"totp_required"}
    # Codes beside a wrong password are no guesses of a code.
    harness.script.answers = dict(WRONG)
    assert [(await post({"totp": "123456"})).status_code for _ in range(5)] == [401] * 5
    harness.script.answers = {"login": InvalidTotp()}
    for number in range(10):
        refused = await post({"totp": "123456", "device_token": f"collected {number}"})
        assert refused.json()["code"] == "invalid_totp"
    # Auth hears of it, and without a device token it is not even asked.
    await post({"totp": "123456", "device_token": "another"})
    _, last, _ = harness.script.asked[-1]
    assert (last.known_device_only, last.proved_device_only) == (True, True)  # type: ignore[attr-defined]  # a login
    assert (await post({"totp": "123456"})).status_code == 429
    assert (await harness.client.post("/v1/browser/sessions", json={**BODY, "totp": "123456"})).status_code == 429


async def test_codes_that_turn_two_step_verification_on_or_off_are_guessed_no_more_often(harness: Harness) -> None:
    stop_the_clock(harness)
    harness.script.answers = {"confirm_totp": InvalidTotp(), "end_totp": InvalidTotp()}
    path, end = "/v1/users/me/totp", {"password": "correct horse", "code": "123456"}
    for number in range(10):
        if number % 2:
            tried = await harness.client.post(f"{path}/confirm", json={"code": "123456"}, headers=harness.signed_in)
        else:
            tried = await harness.client.request("DELETE", path, json=end, headers=harness.signed_in)
        assert tried.json()["code"] == "invalid_totp"
    refused = [
        await harness.client.post(f"{path}/confirm", json={"code": "123456"}, headers=harness.signed_in),
        await harness.client.request("DELETE", path, json=end, headers=harness.signed_in),
    ]
    assert [answer.json()["code"] for answer in refused] == ["rate_limited"] * 2


async def test_passwords_of_a_changed_address_or_a_deletion_are_guessed_no_more_often_either(
    harness: Harness,
) -> None:
    stop_the_clock(harness)
    harness.script.answers = {
        "get_registration": GetRegistrationResponse(username="anna", changes_user_id=harness.user_id),
        "verify_email": InvalidCredentials(),
        "request_email_change": InvalidCredentials(),
        "delete_account": InvalidCredentials(),
    }
    wanted = {"email": "new@example.org", "password": "wrong horse"}
    answers = [
        (await harness.client.put("/v1/users/me/email", json=wanted, headers=harness.signed_in)).status_code
        for _ in range(3)
    ]
    deletion = {"password": "wrong horse"}
    answers.append(
        (await harness.client.request("DELETE", "/v1/users/me", json=deletion, headers=harness.signed_in)).status_code
    )
    confirm = {"token": "t", "password": "wrong horse"}
    answers += [(await harness.client.post("/v1/users/verify-email", json=confirm)).status_code for _ in range(7)]
    assert answers == [401] * 10 + [429]
    # A registration's password is no account's.
    harness.script.answers["get_registration"] = GetRegistrationResponse(username="boris")
    assert (await harness.client.post("/v1/users/verify-email", json=confirm)).status_code == 401


async def test_guesses_with_a_verification_token_are_counted_also_while_the_event_store_refuses(
    harness: Harness,
) -> None:
    stop_the_clock(harness)
    harness.script.answers = {"get_registration": GetRegistrationResponse(username="anna"), "verify_email": NoQuorum()}
    body = {"token": "t", "password": "correct horse"}
    answers = [(await harness.client.post("/v1/users/verify-email", json=body)).status_code for _ in range(31)]
    assert answers == [503] * 30 + [429]
