"""Deletion of an account as its user and an operator meet it: requested, cancelled by a login, erased at once."""

import asyncio
import json

import pytest

from tests.e2e.people import PASSWORD, Api, Person, assert_problem, eventually, items

ME = "/v1/users/me"


async def delete(person: Person) -> str:
    response = await person.ask("DELETE", ME, json={"password": PASSWORD})
    assert response.status_code == 202, response.text
    erased_at: str = response.json()["erased_at"]
    return erased_at


async def test_a_deletion_ends_every_session_at_once_and_a_login_cancels_it_and_says_so(api: Api) -> None:
    anna, boris = await api.friends()
    other = await api.again(anna, device="another device")
    assert_problem(await anna.ask("DELETE", ME, json={"password": "a wrong password"}), 401, "invalid_credentials")
    assert_problem(await anna.ask("DELETE", ME, json={}), 422, "invalid")
    await delete(anna)
    for person in (anna, other):
        assert_problem(await person.get(ME), 401, "unauthenticated")
    # No one else notices anything.
    assert (await boris.write(anna, "are you there?")).status_code == 201
    assert (await boris.get(f"/v1/profiles/{anna.user_id}")).json()["username"] == anna.username
    response = await api.log_in(anna.username, PASSWORD)
    assert response.status_code == 201, response.text
    assert response.json()["erasure_cancelled"] is True
    assert "erasure_cancelled" not in (await api.log_in(anna.email, PASSWORD)).json()
    back = await api.again(anna)
    reasons = [row.get("reason") for row in items(await back.get("/v1/sessions/history"))]
    assert reasons.count("erasure_requested") == 2

    async def notified() -> bool:
        return "erasure_requested" in {row["kind"] for row in items(await back.get("/v1/notifications"))}

    await eventually(notified, "the notification")


async def test_an_operator_erases_an_account_at_once_and_is_recorded(api: Api) -> None:
    anna = await api.person()
    await delete(anna)
    command = ("erase", anna.username, "--by", "alice", "--reason", "a letter", "--json")
    asked = await asyncio.to_thread(api.system.vestnik, *command)
    assert (asked.returncode, asked.stdout) == (130, "")
    assert f"Erase {anna.username} ({anna.user_id}, registered 20" in asked.stderr
    assert "with a verified address" in asked.stderr
    # A name may be another person's by now: without the question only an id is accepted.
    refused = await asyncio.to_thread(api.system.vestnik, *command, "--yes")
    assert (refused.returncode, "needs the id" in refused.stderr) == (2, True)
    command = ("erase", anna.user_id, *command[2:])
    for erased in (True, False):
        done = await asyncio.to_thread(api.system.vestnik, *command, "--yes")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert (answer["user_id"], answer["erased"]) == (anna.user_id, erased)
        assert (answer["free_at"] is not None) == erased
    for login in (anna.username, anna.email):
        assert_problem(await api.log_in(login, PASSWORD), 401, "invalid_credentials")
    registration = {"email": "another@example.org", "username": anna.username, "password": PASSWORD}
    assert_problem(await anna.http.post("/v1/users", json=registration), 409, "username_taken")
    shown = await asyncio.to_thread(api.system.vestnik, "audit", "operators", "--action", "accounts.erase", "--json")
    acts = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [act["reason"] for act in acts if act["target"] == anna.user_id] == ["a letter"] * 2
    nobody = await asyncio.to_thread(api.system.vestnik, "erase", "nobody.at.all", "--reason", "a test")
    assert (nobody.returncode, "there is no user nobody.at.all" in nobody.stderr) == (1, True)


@pytest.mark.parametrize("by", ["username", "email"])
async def test_the_answer_to_a_login_of_an_erased_account_is_that_of_an_unknown_one(api: Api, by: str) -> None:
    anna = await api.person()
    command = ("erase", anna.user_id, "--reason", "a test", "--yes")
    assert (await asyncio.to_thread(api.system.vestnik, *command)).returncode == 0
    erased = (await api.log_in(getattr(anna, by), PASSWORD)).json()
    unknown = (await api.log_in("nobody.at.all", PASSWORD)).json()
    assert {**erased, "instance": ""} == {**unknown, "instance": ""}
