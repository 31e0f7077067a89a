"""Passwords changed and reset over HTTP, with a real mail in between."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx

from tests.e2e.people import PASSWORD, Api, Person, assert_problem, eventually, items
from tests.fix_system import one_replica
from tests.sse_client import listening

NEW = "another horse 🐎"


async def change(person: Person, current: str, new: str) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return await person.ask("PUT", "/v1/users/me/password", json=body)


async def ask_for_reset(api: Api, email: str) -> httpx.Response:
    return await api.http.post("/v1/users/password-reset", json={"email": email})


async def confirm(api: Api, token: str, new: str) -> httpx.Response:
    return await api.http.post("/v1/users/password-reset/confirm", json={"token": token, "new_password": new})


async def refused(person: Person) -> None:
    async def is_refused() -> bool:
        return (await person.get("/v1/users/me")).status_code == 401

    await eventually(is_refused, "the ended session refused")


async def test_a_changed_password_logs_all_other_devices_out(api: Api) -> None:
    person = await api.person()
    others = [await api.again(person) for _ in range(2)]
    assert (await change(person, PASSWORD, NEW)).status_code == 204
    await asyncio.gather(*map(refused, others))
    for other in others:
        answer = await api.http.post("/v1/sessions/refresh", json={"refresh_token": other.refresh_token})
        assert_problem(answer, 401, "invalid_refresh_token")
    # By the position of the change the list is already right.
    assert [row["session_id"] for row in items(await person.get("/v1/sessions"))] == [person.session_id]
    assert_problem(await api.log_in(person.email), 401, "invalid_credentials")
    assert (await api.log_in(person.email, NEW)).status_code == 201


@one_replica
async def test_a_change_needs_the_present_password_and_a_possible_new_one(api: Api) -> None:
    person = await api.person()
    assert_problem(await change(person, "wrong password", NEW), 401, "invalid_credentials")
    for new in ("short", "é" * 513, "nul\x00 inside it", "iloveyou", f"I am {person.username}"):
        assert_problem(await change(person, PASSWORD, new), 422, "invalid")
    assert_problem(
        await api.http.put("/v1/users/me/password", json={"current_password": PASSWORD, "new_password": NEW}),
        401,
        "unauthenticated",
    )
    assert (await api.log_in(person.email)).status_code == 201


async def test_a_password_is_reset_by_mail_and_every_device_logged_out(api: Api) -> None:
    person = await api.person()
    verification = await api.mailed_token(person.email)
    assert (await ask_for_reset(api, person.email.upper())).status_code == 202
    token = await api.mailed_token(person.email, verification)
    assert_problem(await confirm(api, token, "short"), 422, "invalid")
    assert (await confirm(api, token, NEW)).status_code == 204
    await refused(person)
    assert_problem(await api.log_in(person.email), 401, "invalid_credentials")
    again = await api.log_in(person.email, NEW)
    assert again.status_code == 201
    assert_problem(await confirm(api, token, PASSWORD), 410, "token_expired")
    assert_problem(await confirm(api, verification, PASSWORD), 422, "invalid_token")
    assert_problem(await confirm(api, "garbage", PASSWORD), 422, "invalid_token")


async def test_asking_for_a_reset_tells_nobody_who_has_an_account(api: Api) -> None:
    account = await api.register()
    known = [await ask_for_reset(api, account["email"]) for _ in range(2)]
    unknown = [await ask_for_reset(api, f"{uuid4().hex}@example.org") for _ in range(2)]
    assert {answer.status_code for answer in (*known, *unknown)} == {202}
    assert {answer.content for answer in (*known, *unknown)} == {b""}
    shown = [{name for name in answer.headers if name != "x-request-id"} for answer in (*known, *unknown)]
    assert all(names == shown[0] for names in shown)


async def test_the_history_tells_of_every_session_where_it_came_from_and_why_it_ended(api: Api) -> None:
    person = await api.person()
    logged_out = await api.again(person, device="phone ☎")
    await logged_out.ask("DELETE", "/v1/sessions/current")
    stolen = await api.again(person)
    await person.ask("DELETE", f"/v1/sessions/{stolen.session_id}")
    reused = await api.again(person)
    first = (await api.http.post("/v1/sessions/refresh", json={"refresh_token": reused.refresh_token})).json()
    await api.http.post("/v1/sessions/refresh", json={"refresh_token": first["refresh_token"]})
    answer = await api.http.post("/v1/sessions/refresh", json={"refresh_token": reused.refresh_token})
    assert_problem(answer, 401, "refresh_token_reused")
    left = await api.again(person)
    assert (await change(person, PASSWORD, NEW)).status_code == 204
    rows = items(await person.get("/v1/sessions/history"))
    assert [(row["session_id"], row["reason"]) for row in rows] == [
        (left.session_id, "password_changed"),
        (reused.session_id, "refresh_token_reused"),
        (stolen.session_id, "revoked_elsewhere"),
        (logged_out.session_id, "logout"),
        (person.session_id, None),
    ]
    assert [row["ended_at"] is None for row in rows] == [False] * 4 + [True]
    assert [row["current"] for row in rows] == [False] * 4 + [True]
    assert (rows[3]["device"], rows[3]["address"]) == ("phone ☎", "127.0.0.1")
    page = (await person.get("/v1/sessions/history", params={"limit": 2})).json()
    assert [row["session_id"] for row in page["items"]] == [left.session_id, reused.session_id]
    rest = items(await person.get("/v1/sessions/history", params={"cursor": page["next"]}))
    assert rest == rows[2:]


async def test_the_history_shows_failed_attempts_between_its_sessions_to_their_owner_alone(api: Api) -> None:
    person, other = await api.person(), await api.person()

    async def attempts(count: int, **params: str | int) -> list[dict[str, Any]]:
        """The failed attempts of a page, once the history has `count` of them."""

        async def recorded() -> bool:
            whole = (await person.get("/v1/sessions/history")).json()["failed_attempts"] or []
            return bool(sum(attempt["count"] for attempt in whole) == count)

        await eventually(recorded, f"{count} failed attempts")
        page = (await person.get("/v1/sessions/history", params=params)).json()
        failed_attempts: list[dict[str, Any]] = page["failed_attempts"]
        return failed_attempts

    wrong = {"login": person.username, "password": "not it", "device": "thief's phone"}
    assert_problem(await api.http.post("/v1/sessions", json=wrong), 401, "invalid_credentials")
    (attempt,) = await attempts(1)
    assert (attempt["reason"], attempt["device"], attempt["address"], attempt["count"]) == (
        "wrong_password",
        "thief's phone",
        "127.0.0.1",
        1,
    )
    assert attempt["since"] == attempt["at"]
    await api.again(person)
    assert_problem(await change(person, "not it", NEW), 401, "invalid_credentials")
    assert [(one["reason"], one["device"]) for one in await attempts(2)] == [
        ("wrong_password", ""),
        ("wrong_password", "thief's phone"),
    ]
    # The first was between the two logins, the second after the last of them.
    assert [one["device"] for one in await attempts(2, limit=1)] == [""]
    page = (await person.get("/v1/sessions/history", params={"limit": 1})).json()
    rest = (await person.get("/v1/sessions/history", params={"cursor": page["next"]})).json()
    assert [one["device"] for one in rest["failed_attempts"]] == ["thief's phone"]
    assert (await other.get("/v1/sessions/history")).json()["failed_attempts"] == []


async def test_the_live_streams_of_other_devices_end_with_a_change_of_the_password(api: Api) -> None:
    person = await api.person()
    others = [await api.again(person) for _ in range(3)]
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(listening(api.system.url, other.access_token)) for other in others]
        own = await stack.enter_async_context(listening(api.system.url, person.access_token))
        assert (await change(person, PASSWORD, NEW)).status_code == 204
        for stream in streams:
            await stream.until_end()
            assert (stream.events[-1].type, stream.events[-1].data["reason"]) == (
                "session.revoked",
                "password_changed",
            )
        # One's own goes on, and tells of the others' ends.
        await own.until(lambda stream: len(stream.events) == 3)
        assert {event.data["session_id"] for event in own.events} == {other.session_id for other in others}


async def test_the_link_in_the_mail_of_a_login_takes_the_account_back(api: Api) -> None:
    person = await api.person()
    thief = await api.again(person)

    async def link_in_mail() -> str:
        mail = await api.mail_to(person.email, "Login from a new device")
        return next((line for line in mail.splitlines() if "/#/not-me/" in line), "")

    link = await eventually(link_in_mail, "the mail")
    body = {"token": link.rpartition("/")[2]}
    # A mail scanner that opens the link changes nothing.
    assert (await api.http.get(link)).status_code == 200
    assert_problem(await api.http.get("/v1/users/not-me", params=body), 405, "method_not_allowed")
    assert (await thief.get("/v1/users/me")).status_code == 200
    async with listening(api.system.url, thief.access_token) as stream:
        answer = await api.http.post("/v1/users/not-me", json=body)
        assert answer.status_code == 200
        await stream.until(lambda stream: bool(stream.events))
    assert (stream.events[-1].type, stream.events[-1].data["reason"]) == ("session.revoked", "not_me")
    await asyncio.gather(refused(person), refused(thief))
    assert_problem(await api.log_in(person.email), 401, "invalid_credentials")
    assert (await api.http.post("/v1/users/not-me", json=body)).status_code == 200
    assert (await confirm(api, answer.json()["reset_token"], NEW)).status_code == 204
    assert (await api.log_in(person.email, NEW)).status_code == 201
    assert_problem(await api.http.post("/v1/users/not-me", json=body), 410, "token_expired")
    assert_problem(await api.http.post("/v1/users/not-me", json={"token": "garbage"}), 422, "invalid_token")
    for wrong in ({}, {"token": ""}, body | {"password": "x"}, {"token": 1}):
        assert_problem(await api.http.post("/v1/users/not-me", json=wrong), 422, "invalid")
