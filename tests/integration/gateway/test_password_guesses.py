"""Guesses of passwords, codes and tokens are limited; a device that has logged in before is not locked out."""

import httpx

from contracts.errors import InvalidCredentials, InvalidTotp, NoQuorum, RateLimited, TotpRequired
from contracts.rpc.vestnik.auth.v1 import ChangePasswordResponse, GetRegistrationResponse, ResetPasswordResponse
from tests.integration.gateway.conftest import Stage
from tests.integration.gateway.limited_logins import BODY, LOGGED_IN, WRONG, burn, log_in, stop_the_clock


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


async def test_guesses_with_a_verification_token_are_counted_also_while_the_event_store_refuses(stage: Stage) -> None:
    stop_the_clock(stage)
    stage.script.answers = {"get_registration": GetRegistrationResponse(username="anna"), "verify_email": NoQuorum()}
    body = {"token": "t", "password": "correct horse"}
    answers = [(await stage.client.post("/v1/users/verify-email", json=body)).status_code for _ in range(31)]
    assert answers == [503] * 30 + [429]
