"""Login, refresh, revocation, tokens and their keys."""

import asyncio
import time

import httpx
import jwt
import pytest

from contracts.values.ids import is_id, new_id
from tests.e2e.people import PASSWORD, Api, Json, Person, assert_problem, items
from tests.fix_system import one_replica

SESSION_FIELDS = {"user_id", "session_id", "access_token", "token_type", "expires_in", "refresh_token"}


async def refresh(api: Api, token: str) -> httpx.Response:
    return await api.http.post("/v1/sessions/refresh", json={"refresh_token": token})


async def assert_refused_within_a_second(person: Person) -> None:
    """Asserts that every answer from one second on is 401, whatever the rate of requests."""
    deadline, asked = time.monotonic() + 1.0, 0.0
    while (await person.get("/v1/users/me")).status_code != 401:
        # An answer may take its time: what counts is when it was asked for.
        assert asked < deadline, "an access token of a revoked session still serves"
        await asyncio.sleep(0.02)
        asked = time.monotonic()
    await asyncio.sleep(max(0.0, deadline - time.monotonic()))
    for answer in await asyncio.gather(*(person.get("/v1/users/me") for _ in range(10))):
        assert_problem(answer, 401, "unauthenticated")


async def test_a_login_answers_a_session(api: Api) -> None:
    person = await api.person()
    response = await api.log_in(person.username, device="phone")
    assert response.status_code == 201
    session = response.json()
    assert set(session) == SESSION_FIELDS | {"device_token"}
    assert session["user_id"] == person.user_id
    assert session["token_type"] == "Bearer"
    assert session["expires_in"] == 900
    assert is_id(session["session_id"])


async def test_one_logs_in_by_email_or_username_whatever_its_case(api: Api) -> None:
    person = await api.person()
    for login in (person.email, person.username, person.username.upper()):
        assert (await api.log_in(login)).status_code == 201, login


async def test_an_unknown_login_and_a_wrong_password_look_the_same(api: Api) -> None:
    person = await api.person()
    answers = [
        assert_problem(await api.log_in(login, password), 401, "invalid_credentials")
        for login, password in [
            (person.email, "another password"),
            (person.username, "another password"),
            ("nobody-at-all", PASSWORD),
            ("nobody@example.org", PASSWORD),
        ]
    ]
    assert len({answer["detail"] for answer in answers}) == 1
    assert all(set(answer) == set(answers[0]) for answer in answers)


async def test_nobody_logs_in_before_the_address_is_verified(api: Api) -> None:
    account = await api.register()
    refused = assert_problem(await api.log_in(account["username"]), 403, "email_not_verified")
    assert refused["email"] == account["email"]
    common = {"type", "title", "status", "detail", "instance", "code"}
    assert set(refused) == {*common, "email"}
    for login, password in ((account["username"], "another password"), (account["email"], PASSWORD)):
        assert set(assert_problem(await api.log_in(login, password), 401, "invalid_credentials")) == common
    await api.verify(account["email"])
    assert (await api.log_in(account["email"])).status_code == 201


@one_replica
@pytest.mark.parametrize(
    "changed", [{"login": 5}, {"password": None}, {"device": "x" * 101}, {"device": "nul\x00"}, {"remember": True}]
)
async def test_a_login_that_is_not_valid_is_refused(api: Api, changed: Json) -> None:
    body = {"login": "somebody", "password": PASSWORD, **changed}
    assert_problem(await api.http.post("/v1/sessions", json=body), 422, "invalid")


async def test_the_keys_published_verify_an_access_token(api: Api) -> None:
    person = await api.person()
    keys = jwt.PyJWKSet.from_dict((await api.http.get("/.well-known/jwks.json")).json())
    header = jwt.get_unverified_header(person.access_token)
    assert header["alg"] == "EdDSA"
    claims = jwt.decode(person.access_token, keys[header["kid"]], algorithms=["EdDSA"], options={"verify_aud": False})
    assert {"iss", "aud", "sub", "sid", "jti", "iat", "exp"} <= set(claims)
    assert (claims["sub"], claims["sid"]) == (person.user_id, person.session_id)
    assert claims["exp"] - claims["iat"] == 900


@one_replica
async def test_a_token_of_other_hands_is_refused(api: Api) -> None:
    person = await api.person()
    claims = jwt.decode(person.access_token, options={"verify_signature": False})
    head, body, signature = person.access_token.split(".")
    unsigned = jwt.encode(claims, "", algorithm="none")
    shared = jwt.encode(
        claims, "x" * 32, algorithm="HS256", headers={"kid": jwt.get_unverified_header(person.access_token)["kid"]}
    )
    for forged in (
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}.",
        unsigned,
        shared,
        "a.b.c",
        person.refresh_token,
    ):
        person.access_token = forged
        assert_problem(await person.get("/v1/users/me"), 401, "unauthenticated")


@one_replica
async def test_another_scheme_is_no_token(api: Api) -> None:
    person = await api.person()
    for value in (person.access_token, f"Basic {person.access_token}", "Bearer", f"Bearer {person.access_token} x"):
        response = await api.http.get("/v1/users/me", headers={"Authorization": value})
        assert_problem(response, 401, "unauthenticated")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_refresh_answers_new_tokens_of_the_same_session(api: Api) -> None:
    person = await api.person()
    response = await refresh(api, person.refresh_token)
    assert response.status_code == 200
    session = response.json()
    assert set(session) == SESSION_FIELDS
    assert (session["user_id"], session["session_id"]) == (person.user_id, person.session_id)
    assert session["refresh_token"] != person.refresh_token
    assert session["access_token"] != person.access_token
    for token in (person.access_token, session["access_token"]):
        person.access_token = token
        assert (await person.get("/v1/users/me")).status_code == 200


async def test_a_lost_answer_of_a_refresh_is_served_again(api: Api) -> None:
    person = await api.person()
    first = await refresh(api, person.refresh_token)
    second = await refresh(api, person.refresh_token)
    assert first.status_code == second.status_code == 200
    assert (await refresh(api, second.json()["refresh_token"])).status_code == 200


async def test_a_spent_token_whose_successor_was_used_ends_the_session(api: Api) -> None:
    person = await api.person()
    first = (await refresh(api, person.refresh_token)).json()
    second = (await refresh(api, first["refresh_token"])).json()
    assert_problem(await refresh(api, person.refresh_token), 401, "refresh_token_reused")
    await assert_refused_within_a_second(person)
    person.access_token = second["access_token"]
    await assert_refused_within_a_second(person)
    assert (await refresh(api, second["refresh_token"])).status_code == 401


async def test_two_tabs_that_refresh_at_once_both_go_on(api: Api) -> None:
    person = await api.person()
    answers = await asyncio.gather(*(refresh(api, person.refresh_token) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert (await refresh(api, answers[0].json()["refresh_token"])).status_code == 200


@one_replica
async def test_a_refresh_token_that_is_not_ours_is_refused(api: Api) -> None:
    person = await api.person()
    session_id, _, signature = person.refresh_token.split(".")
    for wrong in ("nonsense", f"{session_id}.7.{signature}", f"{new_id()}.1.{signature}", "a.b.c", "é"):
        assert_problem(await refresh(api, wrong), 401, "invalid_refresh_token")
    assert (await refresh(api, person.refresh_token)).status_code == 200


async def test_sessions_are_listed_with_their_devices(api: Api) -> None:
    person = await api.person()
    phone = await api.again(person, device="phone ☎")
    sessions = {row["session_id"]: row for row in items(await phone.get("/v1/sessions"))}
    assert set(sessions) == {person.session_id, phone.session_id}
    listed = sessions[phone.session_id]
    assert set(listed) == {"session_id", "device", "created_at", "last_refreshed_at", "current", "address"}
    assert (listed["device"], listed["address"]) == ("phone ☎", "127.0.0.1")
    assert sessions[phone.session_id]["current"] is True
    assert sessions[person.session_id]["current"] is False


async def test_logging_out_ends_the_session_within_a_second(api: Api) -> None:
    person = await api.person()
    other = await api.again(person)
    assert (await person.ask("DELETE", "/v1/sessions/current")).status_code == 204
    await assert_refused_within_a_second(person)
    assert_problem(await refresh(api, person.refresh_token), 401, "invalid_refresh_token")
    assert (await other.get("/v1/users/me")).status_code == 200


async def test_a_session_is_revoked_from_another(api: Api) -> None:
    person = await api.person()
    stolen = await api.again(person)
    assert (await person.ask("DELETE", f"/v1/sessions/{stolen.session_id}")).status_code == 204
    await assert_refused_within_a_second(stolen)
    assert [row["session_id"] for row in items(await person.get("/v1/sessions"))] == [person.session_id]


async def test_all_other_sessions_are_revoked_at_once(api: Api) -> None:
    person = await api.person()
    others = [await api.again(person) for _ in range(3)]
    assert (await person.ask("DELETE", "/v1/sessions")).status_code == 204
    await asyncio.gather(*map(assert_refused_within_a_second, others))
    assert (await person.get("/v1/users/me")).status_code == 200


async def test_a_session_that_is_not_ones_own_is_not_found(api: Api) -> None:
    person, other = await api.people(2)
    for session_id in (other.session_id, new_id()):
        assert_problem(await person.ask("DELETE", f"/v1/sessions/{session_id}"), 404, "session_not_found")
    assert (await other.get("/v1/users/me")).status_code == 200
