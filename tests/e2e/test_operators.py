"""Who is an operator, and that only operators get answers."""

import asyncio
import json

import pytest

from tests.e2e.operators import asked, new_operator, operator
from tests.e2e.people import Api, assert_problem, eventually
from tests.fix_system import one_replica

READING = (
    "status",
    "events",
    "session-events",
    "dead-letters",
    "dead-letter?id=friends.v1.b1.CONTACT.1",
    "person?user=anna",
    "event?id=1",
    "aggregate?kind=user&id=01890a5d-ac96-774b-bcce-b302099a8057",
    "maintenance",
    "rates",
    "anomalies",
    "reports",
    "operators",
    "report?id=01890a5d-ac96-774b-bcce-b302099a8057",
)


async def test_only_operators_get_answers(api: Api) -> None:
    anna = await api.person()
    for path in READING:
        assert_problem(await api.http.get(f"/v1/ops/{path}"), 401, "unauthenticated")
        assert_problem(await anna.get(f"/v1/ops/{path}"), 403, "not_an_operator")
    dead_letter = {"id": "friends.v1.b1.CONTACT.1"}
    for path, body in (
        ("dead-letters/retry", dead_letter),
        ("dead-letters/discard", {**dead_letter, "reason": "a test"}),
        ("maintenance", {"kind": "verify", "projection": "friends"}),
        ("maintenance/cancel", {"id": "1"}),
        ("projections", {"projection": "friends", "control": "pause", "reason": "a test"}),
        ("reports/settle", {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "outcome": "upheld"}),
    ):
        url = f"/v1/ops/{path}"
        assert_problem(await api.http.post(url, json=body), 401, "unauthenticated")
        assert_problem(await anna.ask("POST", url, json=body), 403, "not_an_operator")


async def test_an_operator_is_one_until_it_is_taken_back(api: Api) -> None:
    person = await new_operator(api)
    listed = await asyncio.to_thread(api.system.vestnik, "operators", "list", "--json")
    assert person.user_id in [json.loads(line)["user_id"] for line in listed.stdout.splitlines()]
    done = await asyncio.to_thread(api.system.vestnik, "operators", "remove", person.user_id, "--reason", "a test")
    assert done.returncode == 0, done.stderr
    assert_problem(await person.get("/v1/ops/status"), 403, "not_an_operator")


@one_replica
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "nobody_of_that_name"), "there is no account"),
        (("remove", "nobody", "--reason", "a test"), "is not an operator"),
    ],
)
async def test_who_has_no_account_is_made_no_operator(api: Api, arguments: tuple[str, ...], words: str) -> None:
    done = await asyncio.to_thread(api.system.vestnik, "operators", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


@one_replica
async def test_an_account_that_nobody_has_verified_is_made_no_operator(api: Api) -> None:
    account = await api.register()
    for user in (account["username"], account["user_id"]):
        done = await asyncio.to_thread(api.system.vestnik, "operators", "add", user)
        assert (done.returncode, done.stdout) == (1, "")
        assert "there is no account" in done.stderr


async def test_the_status_is_that_of_the_command_line(api: Api) -> None:
    person = await operator(api)
    over_http = await asked(person, "status")
    done = await asyncio.to_thread(api.system.vestnik, "status", "--json")
    by_command = json.loads(done.stdout)
    for part in ("streams", "projections", "services"):
        assert [row["name"] for row in over_http[part]] == [row["name"] for row in by_command[part]]
    assert {"name": "operator", "state": "serving"} in over_http["services"]


async def test_the_rates_of_a_day_are_those_of_the_streams(api: Api) -> None:
    person = await operator(api)
    rates = await asked(person, "rates")
    counted = {stream["name"]: sum(stream["events"]) for stream in rates["streams"]}

    async def stored() -> bool:
        # A status may be a second old. The system of a test is younger than a day, and more events may have come.
        streams = (await asked(person, "status"))["streams"]
        assert {stream["name"] for stream in streams} == counted.keys()
        return all(0 <= counted[stream["name"]] <= stream["last_sequence"] for stream in streams)

    await eventually(stored, "a status from after the rates")
    assert sum(counted.values()) > 0
    assert len((await asked(person, "rates?span=week"))["steps"]) == 28
    assert_problem(await person.get("/v1/ops/rates?span=year"), 422, "invalid")
