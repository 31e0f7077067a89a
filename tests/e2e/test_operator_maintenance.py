"""Operators verify, rebuild, pause and reset read models."""

from collections.abc import Awaitable

import httpx
import psycopg

from contracts.values.ids import is_id, pair_id
from projections.friends import Friends
from tests.e2e.operators import asked, operator
from tests.e2e.people import Api, Json, Person, assert_problem, eventually


async def ended(person: Person, job: Json) -> Json:
    async def over() -> Json | None:
        latest: Json = (await asked(person, "maintenance"))["items"][0]
        assert latest["id"] == job["id"]
        return None if latest["state"] == "running" else latest

    # The job runs at low priority, so polling without pauses would delay it.
    latest = await eventually(over, "the end", within=300, every=0.2)
    assert latest is not None
    return latest


async def test_a_read_model_is_verified_and_rebuilt_as_by_the_command_line(fresh_api: Api) -> None:
    api = fresh_api
    person = await operator(api)
    await api.friends()
    url = "/v1/ops/maintenance"
    started = await person.ask("POST", url, json={"kind": "verify", "projection": "friends"})
    assert started.status_code == 200, started.text
    assert (started.json()["state"], started.json()["by"]) == ("running", person.username)
    again = await person.ask("POST", url, json={"kind": "rebuild", "projection": "users"})
    assert_problem(again, 409, "maintenance_under_way")
    verified = await ended(person, started.json())
    assert (verified["state"], verified["verified"]["equal"], verified["error"]) == ("done", True, None)
    assert verified["verified"]["rows"] > 0
    assert 0 <= verified["progress"]["events"] <= verified["progress"]["total"]

    async with await psycopg.AsyncConnection.connect(api.system.superusers_database_url()) as connection:
        await connection.execute(f"UPDATE vestnik_contact.friends_v{Friends.version}_b1 SET state = 'removed'")
    started = await person.ask("POST", url, json={"kind": "verify", "projection": "friends"})
    wrong = (await ended(person, started.json()))["verified"]
    assert (wrong["equal"], wrong["changed"]) == (False, 2)
    assert {tuple(difference["columns"]) for difference in wrong["differences"]} == {("state",)}
    assert all(is_id(difference["key"]["user_id"]) for difference in wrong["differences"])
    await assert_one_key_is_rebuilt(person, wrong["differences"][0]["key"])
    started = await person.ask("POST", url, json={"kind": "rebuild", "projection": "friends", "rate": 100_000})
    rebuilt = await ended(person, started.json())
    assert rebuilt["scope"] == {"only": "", "rate": 100_000}
    assert (rebuilt["state"], rebuilt["rebuilt"]["build"], rebuilt["rebuilt"]["replaced"]) == ("done", 2, 1)
    started = await person.ask("POST", url, json={"kind": "verify", "projection": "friends"})
    assert (await ended(person, started.json()))["verified"]["equal"]

    started = await person.ask("POST", url, json={"kind": "verify", "projection": "friends"})
    cancelled = await person.ask("POST", f"{url}/cancel", json={"id": started.json()["id"]})
    assert cancelled.status_code == 200
    assert (await ended(person, started.json()))["state"] == "cancelled"
    assert_problem(await person.ask("POST", f"{url}/cancel", json={"id": started.json()["id"]}), 404, "not_found")
    assert_problem(await person.ask("POST", url, json={"kind": "verify", "projection": "nobody"}), 404, "not_found")
    assert_problem(await person.ask("POST", url, json={"kind": "drop", "projection": "users"}), 422, "invalid")
    await assert_controlled(person)


async def assert_one_key_is_rebuilt(person: Person, friendship: Json) -> None:
    """The rows of one key are rebuilt alone, and the act is recorded with the key, the rate and the reason."""

    async def rebuild(**options: str) -> Json:
        started = await person.ask(
            "POST", "/v1/ops/maintenance", json={"kind": "rebuild", "projection": "friends", **options}
        )
        assert started.status_code == 200, started.text
        return await ended(person, started.json())

    pair = pair_id(friendship["user_id"], friendship["friend_id"])
    of_pair = await rebuild(only=pair, reason="A test.")
    assert (of_pair["state"], of_pair["error"], of_pair["scope"]["only"]) == ("done", None, pair)
    assert of_pair["rebuilt_key"]["rows"] > 1
    of_none = await rebuild(only="nobody")
    assert (of_none["state"], of_none["rebuilt_key"]) == ("failed", None)
    assert of_none["error"].startswith("friends has no rows of nobody: no event")
    for wrong in (
        {"kind": "verify", "only": pair},
        {"kind": "verify", "reason": "A test."},
        {"kind": "rebuild", "only": pair, "rate": 1},
        {"kind": "rebuild", "rate": -1},
        {"kind": "rebuild", "only": "\0"},
    ):
        refused = await person.ask("POST", "/v1/ops/maintenance", json={"projection": "friends", **wrong})
        assert_problem(refused, 422, "invalid")
    acts = (await asked(person, "operators?only=acts&action=read_model.rebuild"))["items"]
    assert [(act["details"], act["reason"], act["outcome"]) for act in acts] == [
        ({"only": "nobody"}, "", "failed"),
        ({"only": pair}, "A test.", "done"),
    ]


async def assert_controlled(person: Person) -> None:
    """An operator pauses, resumes and resets a read model, each with a reason."""

    def ask(control: str, projection: str = "friends", reason: str = "A test.") -> Awaitable[httpx.Response]:
        body = {"projection": projection, "control": control, "reason": reason}
        return person.ask("POST", "/v1/ops/projections", json=body)

    async def state() -> Json:
        rows: list[Json] = [one for one in (await asked(person, "status"))["projections"] if one["name"] == "friends"]
        return rows[0]

    async def is_paused() -> bool:
        return (await state())["pause"] is not None

    async def is_not_paused() -> bool:
        return not await is_paused()

    assert_problem(await ask("pause", reason=" "), 422, "invalid")
    assert_problem(await ask("drop"), 422, "invalid")
    assert_problem(await ask("pause", projection="nobody"), 404, "not_found")
    assert_problem(await ask("resume"), 422, "invalid")
    assert_problem(await ask("skip"), 422, "invalid")
    paused = await ask("pause")
    assert paused.status_code == 200, paused.text
    assert paused.json()["position"]["CONTACT"] > 0
    # A status is collected for all who ask within the same seconds.
    await eventually(is_paused, "the pause to be shown", every=0.2)
    shown = await state()
    assert (shown["state"], shown["pause"]["reason"], shown["pause"]["paused_by"]) == (
        "paused",
        "A test.",
        person.username,
    )
    again = await ask("pause")
    assert_problem(again, 422, "invalid")
    assert "is paused already" in again.json()["detail"]
    assert (await ask("resume")).status_code == 200
    await eventually(is_not_paused, "the end of the pause to be shown", every=0.2)
    reset = (await ask("reset")).json()
    assert (reset["control"], reset["position"]) == ("reset", paused.json()["position"])
    assert reset["build"] > reset["replaced"]

    async def filled() -> bool:
        return bool((await state())["position"] == paused.json()["position"])

    await eventually(filled, "the events to be applied again", within=120)
    acts = (await asked(person, "operators?only=acts&action=read_model.pause"))["items"]
    assert [(act["target"], act["reason"], act["outcome"]) for act in acts] == [
        ("friends", "A test.", "failed"),
        ("friends", "A test.", "done"),
    ]
