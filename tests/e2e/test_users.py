"""Registration, verification, `GET /v1/users/me`."""

from email.message import EmailMessage

import pytest

from contracts.values.ids import is_id
from tests.e2e.people import PASSWORD, Api, assert_problem, eventually, items
from tests.fix_system import one_replica


async def test_a_registration_answers_the_account(api: Api) -> None:
    form = api.registration()
    response = await api.http.post("/v1/users", json=form)
    assert response.status_code == 201
    account = response.json()
    assert is_id(account.pop("user_id"))
    assert account == {"username": form["username"], "email": form["email"], "email_verified": False}
    assert response.headers["Vestnik-Position"]


@one_replica
async def test_a_username_is_kept_in_lower_case(api: Api) -> None:
    name = api.registration()["username"]
    assert (await api.register(username=name.upper()))["username"] == name


async def test_nothing_tells_whether_an_address_has_an_account(api: Api) -> None:
    """The profile of the returned user id, the name registered again, a login by name and by address."""
    owner = await api.person()
    outcomes = []
    for email in (owner.email, api.registration()["email"]):
        form = api.registration(email=email, password="a probe's password")
        response = await api.http.post("/v1/users", json=form)
        account = response.json()
        profile = await api.http.get(f"/v1/profiles/{account.pop('user_id')}")
        assert account == {"username": form["username"], "email": email, "email_verified": False}
        again = await api.http.post("/v1/users", json=api.registration(username=form["username"]))
        by_name = await api.log_in(form["username"], "a probe's password")
        assert by_name.json()["email"] == email
        by_address = await api.log_in(email, "a probe's password")
        wrong = await api.log_in(form["username"], "another password")
        profiles = items(await owner.get("/v1/profiles", params={"query": form["username"]}))
        friend = await owner.ask("PUT", f"/v1/friends/{response.json()['user_id']}")
        answers = (response, profile, again, by_name, by_address, wrong, friend)
        outcomes.append(([(answer.status_code, answer.json().get("code")) for answer in answers], profiles))
    assert outcomes[0] == outcomes[1]
    assert [code for _, code in outcomes[0][0]] == [
        None,
        "profile_not_found",
        "username_taken",
        "email_not_verified",
        "invalid_credentials",
        "invalid_credentials",
        "user_not_found",
    ]
    notice = await eventually(lambda: api.mail_to(owner.email, "Someone wants to use"), "a notice to the holder")
    assert "Token:" not in notice


async def test_the_first_of_several_registrations_to_be_verified_gets_the_address(api: Api) -> None:
    early = await api.register(password="the intruder's password")
    token = await api.mailed_token(early["email"])
    account = await api.register(email=early["email"])
    own = await api.mailed_token(account["email"], token)
    shown = await api.http.post("/v1/users/verify-email/registration", json={"token": own})
    assert shown.json() == {
        "username": account["username"],
        "verified": False,
        "needs_password": True,
        "change": False,
    }
    for body in ({"token": token}, {"token": token, "password": PASSWORD}, {"token": own}):
        response = await api.http.post("/v1/users/verify-email", json=body)
        assert_problem(response, 422, "password_required")
    response = await api.http.post("/v1/users/verify-email", json={"token": own, "password": PASSWORD})
    assert response.status_code == 204
    assert_problem(await api.http.post("/v1/users/verify-email", json={"token": token}), 410, "token_expired")
    assert (await api.log_in(account["email"])).json()["user_id"] == account["user_id"]


async def test_a_registration_that_is_not_theirs_is_ended_by_who_has_the_mail(api: Api) -> None:
    account = await api.register()
    token = await api.mailed_token(account["email"])
    for _ in range(2):
        response = await api.http.post("/v1/users/verify-email/not-me", json={"token": token})
        assert (response.status_code, response.content) == (204, b"")
    for path in ("/v1/users/verify-email", "/v1/users/verify-email/registration"):
        assert_problem(await api.http.post(path, json={"token": token}), 410, "token_expired")
    assert_problem(await api.log_in(account["username"]), 401, "invalid_credentials")
    again = await api.http.post("/v1/users", json=api.registration(username=account["username"]))
    assert again.status_code == 201
    person = await api.person()
    used = await api.mailed_token(person.email)
    assert_problem(await api.http.post("/v1/users/verify-email/not-me", json={"token": used}), 410, "token_expired")


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
    await api.register(email=encoded)
    await eventually(lambda: api.mail_to(encoded.lower(), "Someone wants to use"), "a notice to the holder")
    for login in (spelled, encoded):
        answer = await api.log_in(login)
        assert (answer.status_code, answer.json()["user_id"]) == (201, account["user_id"])


@one_replica
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
        ("language", "de"),
        ("language", "RU"),
        ("language", ""),
        ("language", None),
        ("nickname", "unknown field"),
    ],
)
async def test_a_field_that_is_not_valid_is_named(api: Api, field: str, value: object) -> None:
    response = await api.http.post("/v1/users", json=api.registration(**{field: value}))
    problem = assert_problem(response, 422, "invalid")
    assert [error["path"] for error in problem["errors"]] in ([f"/{field}"], [""])
    assert all(error["message"] for error in problem["errors"])


@one_replica
async def test_a_password_that_is_guessed_first_is_refused_with_a_code_of_its_own(api: Api) -> None:
    form = api.registration()
    for weak in ("Football", "password1", f"my name: {form['username']}", f"{form['email']}!"):
        problem = assert_problem(await api.http.post("/v1/users", json={**form, "password": weak}), 422, "invalid")
        assert [(error["path"], error["code"]) for error in problem["errors"]] == [("/password", "weak_password")]
    assert (await api.http.post("/v1/users", json=form)).status_code == 201


@one_replica
async def test_every_byte_of_a_long_password_counts(api: Api) -> None:
    password = "ä" * 511 + "xy"
    person = await api.person(password=password)
    assert_problem(await api.log_in(person.email, password[:-1] + "z"), 401, "invalid_credentials")
    assert_problem(await api.log_in(person.email, password[:72]), 401, "invalid_credentials")


@one_replica
@pytest.mark.parametrize("field", ["email", "username", "password"])
async def test_a_missing_field_is_named(api: Api, field: str) -> None:
    form = api.registration()
    del form[field]
    problem = assert_problem(await api.http.post("/v1/users", json=form), 422, "invalid")
    assert any(field in error["path"] + error["message"] for error in problem["errors"])


@one_replica
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


@one_replica
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
    token = await api.mailed_token(account["email"])
    before = len(api.mails_to(account["email"]))
    response = await api.http.post("/v1/users/resend-verification", json={"email": account["email"]})
    assert response.status_code == 202

    async def another() -> bool:
        return len(api.mails_to(account["email"])) > before

    await eventually(another, "another mail")
    # It is good for as long as the first was.
    assert all(f"Token: {token}" in mail for mail in api.mails_to(account["email"]))
    assert (await api.http.post("/v1/users/verify-email", json={"token": token})).status_code == 204


@one_replica
@pytest.mark.parametrize(
    ("named", "accepted", "subjects"),
    [
        ({}, "ru-RU, en;q=0.5", ["Подтвердите свой адрес", "Подтвердите свой адрес", "Смена пароля"]),
        (
            {"language": "en"},
            "ru",
            ["Confirm your e-mail address", "Confirm your e-mail address", "Set another password"],
        ),
    ],
)
async def test_all_mails_of_an_account_are_in_the_language_that_its_registration_asked_for(
    api: Api, named: dict[str, str], accepted: str, subjects: list[str]
) -> None:
    form = api.registration(**named)
    email = str(form["email"])
    response = await api.http.post("/v1/users", json=form, headers={"Accept-Language": accepted})
    assert response.status_code == 201

    async def received(number: int) -> list[EmailMessage]:
        async def complete() -> list[EmailMessage]:
            messages = api.messages_to(email)
            return messages if len(messages) == number else []

        return await eventually(complete, f"{number} mails")

    await received(1)
    assert (await api.http.post("/v1/users/resend-verification", json={"email": email})).status_code == 202
    await received(2)
    verified = await api.verify(email)
    # Asked for in another language: the account's counts.
    other = {"Accept-Language": "de, en;q=0.9"}
    assert (await api.http.post("/v1/users/password-reset", json={"email": email}, headers=other)).status_code == 202
    mails = await received(3)
    assert [mail["Subject"] for mail in mails] == subjects
    token = await api.mailed_token(email, verified)
    body = {"token": token, "new_password": "another good horse"}
    assert (await api.http.post("/v1/users/password-reset/confirm", json=body)).status_code == 204
    assert (await api.log_in(email, "another good horse")).status_code == 201


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
        "totp": False,
    }


@one_replica
async def test_no_answer_shows_a_password(api: Api) -> None:
    response = await api.http.post("/v1/users", json=api.registration(email="nobody"))
    assert PASSWORD not in response.text


async def test_the_verification_reaches_the_profile(api: Api) -> None:
    person = await api.person()

    async def verified() -> bool:
        profile = (await api.http.get(f"/v1/profiles/{person.user_id}")).json()
        return bool(profile["verified"])

    await eventually(verified, "a verified profile")


async def test_an_address_is_changed_from_the_new_ones_mail_and_the_change_undone_from_the_earlier_ones(
    api: Api,
) -> None:
    person = await api.person()
    verified = await api.mailed_token(person.email)
    new = api.registration()["email"]
    path = "/v1/users/me/email"
    wrong = await person.ask("PUT", path, json={"email": new, "password": "wrong password"})
    assert_problem(wrong, 401, "invalid_credentials")
    response = await person.ask("PUT", path, json={"email": new, "password": PASSWORD})
    assert (response.status_code, response.content) == (202, b"")
    assert await eventually(lambda: api.mail_to(person.email, "Your e-mail address is to be changed"), "a notice")
    token = await api.mailed_token(new)
    shown = await api.http.post("/v1/users/verify-email/registration", json={"token": token})
    assert shown.json() == {
        "username": person.username,
        "verified": False,
        "needs_password": True,
        "change": True,
    }
    confirm = "/v1/users/verify-email"
    assert_problem(await api.http.post(confirm, json={"token": token}), 422, "password_required")
    body = {"token": token, "password": "wrong password"}
    assert_problem(await api.http.post(confirm, json=body), 401, "invalid_credentials")
    assert (await person.get("/v1/users/me")).json()["email"] == person.email
    response = await api.http.post(confirm, json={"token": token, "password": PASSWORD})
    assert response.status_code == 204
    position = {"Vestnik-Position": response.headers["Vestnik-Position"]}
    assert (await person.get("/v1/users/me", headers=position)).json()["email"] == new
    for login in (person.email, new, person.username):
        assert (await api.log_in(login)).json()["user_id"] == person.user_id
    undo = await api.mailed_token(person.email, verified)
    for _ in range(2):
        response = await api.http.post("/v1/users/undo-email-change", json={"token": undo})
        assert (response.status_code, response.content) == (204, b"")
    assert_problem(await person.get("/v1/users/me"), 401, "unauthenticated")
    for login in (person.email, new, person.username):
        assert_problem(await api.log_in(login), 401, "invalid_credentials")
    assert_problem(await api.http.post("/v1/users/undo-email-change", json={"token": token}), 422, "invalid_token")
    assert await eventually(lambda: api.mail_to(person.email, "Set a new password"), "a reset mail")
    assert await eventually(lambda: api.mail_to(new, "The change of your e-mail address was undone"), "a notice")
    response = await api.http.post("/v1/users", json=api.registration(email=new))
    assert response.status_code == 201


async def test_nothing_tells_whether_an_address_that_one_wants_has_an_account(api: Api) -> None:
    person, other = await api.people(2)
    answers = []
    for email in (other.email, api.registration()["email"], person.email):
        response = await person.ask("PUT", "/v1/users/me/email", json={"email": email, "password": PASSWORD})
        answers.append((response.status_code, response.content, sorted(response.headers)))
    assert answers[0] == answers[1] == answers[2]
    notice = await eventually(lambda: api.mail_to(other.email, "Someone wants to use"), "a notice to the holder")
    assert "Token:" not in notice
