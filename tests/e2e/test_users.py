"""Registration, verification, `GET /v1/users/me`."""

import pytest

from contracts.identifiers import is_id
from tests.e2e.people import PASSWORD, Api, assert_problem, eventually


async def test_a_registration_answers_the_account(api: Api) -> None:
    form = api.registration()
    response = await api.http.post("/v1/users", json=form)
    assert response.status_code == 201
    account = response.json()
    assert is_id(account.pop("user_id"))
    assert account == {"username": form["username"], "email": form["email"], "email_verified": False}
    assert response.headers["Vestnik-Position"]


async def test_a_username_is_kept_in_lower_case(api: Api) -> None:
    name = api.registration()["username"]
    assert (await api.register(username=name.upper()))["username"] == name


async def test_an_email_is_taken_once(api: Api) -> None:
    account = await api.register()
    again = await api.http.post("/v1/users", json=api.registration(email=account["email"]))
    assert_problem(again, 409, "email_taken")


async def test_a_username_is_taken_once_whatever_its_case(api: Api) -> None:
    account = await api.register()
    again = await api.http.post("/v1/users", json=api.registration(username=account["username"].upper()))
    assert_problem(again, 409, "username_taken")


async def test_a_refused_registration_takes_nothing(api: Api) -> None:
    taken = await api.register()
    form = api.registration(username=taken["username"])
    assert_problem(await api.http.post("/v1/users", json=form), 409, "username_taken")
    free = api.registration(email=form["email"])
    assert (await api.http.post("/v1/users", json=free)).status_code == 201


async def test_an_address_in_another_script_is_one_account_however_it_is_spelled(api: Api) -> None:
    name = api.registration()["username"]
    spelled, encoded = f"{name}@exämple.org", f"{name}@XN--EXMPLE-CUA.org"
    account = await api.register(username=name, email=spelled)
    # Mail goes to the domain as DNS has it.
    await api.verify(encoded.lower())
    again = await api.http.post("/v1/users", json=api.registration(email=encoded))
    assert_problem(again, 409, "email_taken")
    for login in (spelled, encoded):
        answer = await api.log_in(login)
        assert (answer.status_code, answer.json()["user_id"]) == (201, account["user_id"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nobody"),
        ("email", "a@b"),
        ("email", "a" * 250 + "@b.example"),
        ("email", 7),
        ("username", "ab"),
        ("username", "a" * 33),
        ("username", "two words"),
        ("username", "żółw"),
        ("username", "tab\t"),
        ("username", "Support"),
        ("username", "_ad.min_"),
        ("password", "7 bytes"),
        ("password", "ä" * 7),
        ("password", "x" * 1025),
        ("password", "ä" * 513),
        ("password", None),
        ("display_name", ""),
        ("display_name", "x" * 65),
        ("display_name", "nul\x00"),
        ("display_name", " "),
        ("display_name", "\u3164"),
        ("display_name", "Anna\u202e"),
        ("nickname", "unknown field"),
    ],
)
async def test_a_field_that_is_not_valid_is_named(api: Api, field: str, value: object) -> None:
    response = await api.http.post("/v1/users", json=api.registration(**{field: value}))
    found = assert_problem(response, 422, "invalid")
    assert [error["path"] for error in found["errors"]] in ([f"/{field}"], [""])
    assert all(error["message"] for error in found["errors"])


async def test_a_password_that_is_guessed_first_is_refused_with_a_code_of_its_own(api: Api) -> None:
    form = api.registration()
    for weak in ("Football", "password1", f"my name: {form['username']}", f"{form['email']}!"):
        found = assert_problem(await api.http.post("/v1/users", json={**form, "password": weak}), 422, "invalid")
        assert [(error["path"], error["code"]) for error in found["errors"]] == [("/password", "weak_password")]
    assert (await api.http.post("/v1/users", json=form)).status_code == 201


async def test_every_byte_of_a_long_password_counts(api: Api) -> None:
    password = "ä" * 511 + "xy"
    person = await api.person(password=password)
    assert_problem(await api.log_in(person.email, password[:-1] + "z"), 401, "invalid_credentials")
    assert_problem(await api.log_in(person.email, password[:72]), 401, "invalid_credentials")


@pytest.mark.parametrize("field", ["email", "username", "password"])
async def test_a_missing_field_is_named(api: Api, field: str) -> None:
    form = api.registration()
    del form[field]
    found = assert_problem(await api.http.post("/v1/users", json=form), 422, "invalid")
    assert any(field in error["path"] + error["message"] for error in found["errors"])


@pytest.mark.parametrize("password", ["8 bytes.", "x" * 72, "ä" * 36, "Пароль-秘密-🔑"])
async def test_any_password_of_8_to_72_bytes_serves(api: Api, password: str) -> None:
    account = await api.register(password=password)
    await api.verify(account["email"])
    assert (await api.log_in(account["email"], password)).status_code == 201
    assert_problem(await api.log_in(account["email"], password[:-1] + "!"), 401, "invalid_credentials")


async def test_a_verification_token_serves_and_serves_again(api: Api) -> None:
    account = await api.register()
    token = await api.mailed_token(account["email"])
    for _ in range(2):
        response = await api.http.post("/v1/users/verify-email", json={"token": token})
        assert response.status_code == 204
        assert response.content == b""


async def test_a_token_that_is_not_ours_is_refused(api: Api) -> None:
    account = await api.register()
    token = await api.mailed_token(account["email"])
    middle = len(token) // 2
    tampered = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    for wrong in (tampered, token[:-4], "nonsense", "ünïcode", ""):
        response = await api.http.post("/v1/users/verify-email", json={"token": wrong})
        assert response.status_code == 422, wrong
        assert response.json()["code"] in ({"invalid_token"} if wrong else {"invalid_token", "invalid"})


async def test_another_verification_mail_can_be_asked_for(api: Api) -> None:
    account = await api.register()
    first = await api.mailed_token(account["email"])
    response = await api.http.post("/v1/users/resend-verification", json={"email": account["email"]})
    assert response.status_code == 202
    second = await api.mailed_token(account["email"], first)
    for token in (second, first):
        assert (await api.http.post("/v1/users/verify-email", json={"token": token})).status_code == 204


async def test_asking_for_a_mail_tells_nothing_about_an_address(api: Api) -> None:
    person = await api.person()
    unknown = await api.http.post("/v1/users/resend-verification", json={"email": "nobody@example.org"})
    verified = await api.http.post("/v1/users/resend-verification", json={"email": person.email})
    assert unknown.status_code == verified.status_code == 202
    assert unknown.content == verified.content


async def test_one_sees_ones_own_account(api: Api) -> None:
    person = await api.person()
    response = await person.get("/v1/users/me")
    assert response.status_code == 200
    account = response.json()
    assert account.pop("created_at").endswith("Z")
    assert account == {
        "user_id": person.user_id,
        "username": person.username,
        "email": person.email,
        "email_verified": True,
    }


async def test_no_answer_shows_a_password(api: Api) -> None:
    response = await api.http.post("/v1/users", json=api.registration(email="nobody"))
    assert PASSWORD not in response.text


async def test_the_verification_reaches_the_profile(api: Api) -> None:
    person = await api.person()

    async def verified() -> bool:
        profile = (await api.http.get(f"/v1/profiles/{person.user_id}")).json()
        return bool(profile["verified"])

    await eventually(verified, "a verified profile")
