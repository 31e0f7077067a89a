"""Two-step verification over HTTP: set-up, logins of programs and pages, a reset of the password, and the end."""

import asyncio
import json
import time

import httpx
import jwt
import pyotp

from tests.e2e.people import PASSWORD, Api, Json, Person, assert_problem, eventually

TOTP, LOGIN, PAGE = "/v1/users/me/totp", "/v1/sessions", "/v1/browser/sessions"


class TwoStep:
    """A person with two-step verification, and the authenticator app."""

    def __init__(self, api: Api, person: Person, secret: str, confirmed: httpx.Response, step: int) -> None:
        self.api = api
        self.person = person
        self.app = pyotp.TOTP(secret)
        self.recovery_codes: list[str] = confirmed.json()["recovery_codes"]
        self.device_token = confirmed.headers["Vestnik-Device-Token"]
        # Time step of the last code that was used.
        self.step = step

    def next_code(self) -> str:
        """A code that was not used; good while the clock is at most one step behind it."""
        self.step = max(self.step + 1, int(time.time()) // 30)
        return self.app.generate_otp(self.step)

    async def log_in(self, path: str = LOGIN, *, password: str = PASSWORD, **more: str) -> httpx.Response:
        body = {"login": self.person.username, "password": password, **more}
        response = await self.api.http.post(path, json=body)
        self.api.http.cookies.clear()
        return response


async def turn_on(api: Api) -> TwoStep:
    person = await api.person()
    begun = await person.ask("POST", TOTP, json={"password": PASSWORD})
    assert begun.status_code == 200, begun.text
    secret: str = begun.json()["secret"]
    step = int(time.time()) // 30
    confirmed = await person.ask("POST", f"{TOTP}/confirm", json={"code": pyotp.TOTP(secret).generate_otp(step)})
    assert confirmed.status_code == 200, confirmed.text
    # The page's cookie, which each test sends by itself.
    api.http.cookies.clear()
    return TwoStep(api, person, secret, confirmed, step)


def claims(tokens: Json) -> Json:
    body: Json = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    return body


async def test_a_login_takes_a_code_once_and_remembers_the_device(api: Api) -> None:
    anna = await turn_on(api)
    assert (await anna.person.get("/v1/users/me")).json()["totp"] is True
    assert_problem(await anna.log_in(), 401, "totp_required")
    assert_problem(await anna.log_in(password="not this one", totp=anna.app.now()), 401, "invalid_credentials")
    code = anna.next_code()
    tried = await asyncio.gather(*(anna.log_in(totp=code) for _ in range(6)))
    assert sorted(answer.status_code for answer in tried) == [201] + [401] * 5
    (good,) = (answer for answer in tried if answer.status_code == 201)
    again = await anna.log_in(device_token=good.json()["device_token"])
    assert (again.status_code, again.json()["device_token"]) == (201, good.json()["device_token"])
    assert (await anna.log_in(device_token=anna.device_token)).status_code == 201
    assert_problem(await anna.log_in(device_token="forged"), 401, "totp_required")


async def test_a_page_keeps_the_device_in_its_cookie(api: Api) -> None:
    anna = await turn_on(api)
    assert_problem(await anna.log_in(PAGE), 401, "totp_required")
    entered = await anna.log_in(PAGE, totp=anna.recovery_codes[0].upper().replace("-", " "))
    assert entered.status_code == 201, entered.text
    device = dict(line.split("; ")[0].split("=", 1) for line in entered.headers.get_list("set-cookie"))
    body = {"login": anna.person.username, "password": PASSWORD}
    again = await api.http.post(PAGE, json=body, headers={"Cookie": f"vestnik_device={device['vestnik_device']}"})
    api.http.cookies.clear()
    assert again.status_code == 201
    assert claims(again.json())["amr"] == ["pwd", "otp"]
    assert_problem(await anna.log_in(PAGE, totp=anna.recovery_codes[0]), 401, "invalid_totp")


async def test_a_token_says_how_and_when_its_user_logged_in_however_often_it_is_refreshed(api: Api) -> None:
    anna = await turn_on(api)
    assert claims({"access_token": anna.person.access_token})["amr"] == ["pwd"]
    first = (await anna.log_in(totp=anna.recovery_codes[0])).json()
    tokens = first
    for _ in range(3):
        renewed = await api.http.post("/v1/sessions/refresh", json={"refresh_token": tokens["refresh_token"]})
        tokens = renewed.json()
        assert claims(tokens)["amr"] == ["pwd", "otp"]
        assert claims(tokens)["auth_time"] == claims(first)["auth_time"]


async def test_a_reset_of_the_password_keeps_it_on_and_forgets_the_devices(api: Api) -> None:
    anna = await turn_on(api)
    known = await api.mailed_token(anna.person.email)
    await api.http.post("/v1/users/password-reset", json={"email": anna.person.email})
    token = await api.mailed_token(anna.person.email, known)
    confirm = {"token": token, "new_password": "another horse battery"}
    reset = await api.http.post("/v1/users/password-reset/confirm", json=confirm)
    api.http.cookies.clear()
    assert reset.status_code == 204, reset.text
    for token in (anna.device_token, reset.headers["Vestnik-Device-Token"]):
        answer = await anna.log_in(password="another horse battery", device_token=token)
        assert_problem(answer, 401, "totp_required")
    entered = await anna.log_in(password="another horse battery", totp=anna.recovery_codes[0])
    assert entered.status_code == 201


async def test_it_ends_with_password_and_code_and_the_owner_sees_what_failed(api: Api) -> None:
    anna = await turn_on(api)
    for body, code in (
        ({"password": "not this one", "code": anna.recovery_codes[0]}, "invalid_credentials"),
        ({"password": PASSWORD, "code": "abcd-efgh-2345-6767"}, "invalid_totp"),
    ):
        assert_problem(await anna.person.ask("DELETE", TOTP, json=body), 401, code)
    # The first step of the login below, and one from where no login follows.
    for device in ("", "elsewhere"):
        assert_problem(await anna.log_in(device=device), 401, "totp_required")
    for _ in range(2):
        end = {"password": PASSWORD, "code": anna.recovery_codes[0]}
        assert (await anna.person.ask("DELETE", TOTP, json=end)).status_code == 204
    assert (await anna.log_in()).status_code == 201
    assert (await anna.person.get("/v1/users/me")).json()["totp"] is False

    async def listed() -> bool:
        page = (await anna.person.get("/v1/sessions/history")).json()
        failed = sorted((row["reason"], row["device"]) for row in page["failed_attempts"] or [])
        return failed == [("code_required", "elsewhere"), ("wrong_code", ""), ("wrong_password", "")]

    await eventually(listed, "the failed attempts in the history, without the first step of the login")


async def test_an_operator_turns_it_off_for_who_lost_everything_and_is_recorded(api: Api) -> None:
    anna = await turn_on(api)
    reset = ("accounts", "reset-totp", anna.person.username, "--by", "alice", "--json")
    refused = await asyncio.to_thread(api.system.vestnik, *reset)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert_problem(await anna.log_in(), 401, "totp_required")
    for removed in (True, False):
        done = await asyncio.to_thread(api.system.vestnik, *reset, "--reason", "lost the phone")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"user_id": anna.person.user_id, "removed": removed}
    assert (await anna.log_in()).status_code == 201
    shown = await asyncio.to_thread(
        api.system.vestnik, "audit", "operators", "--action", "accounts.reset_totp", "--json"
    )
    acts = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [act["reason"] for act in acts if act["target"] == anna.person.user_id] == ["lost the phone"] * 2
    nobody = await asyncio.to_thread(
        api.system.vestnik, "accounts", "reset-totp", "nobody.at.all", "--reason", "a test"
    )
    assert (nobody.returncode, "there is no user nobody.at.all" in nobody.stderr) == (1, True)
