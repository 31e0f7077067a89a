"""The operators' routes: only for operators, and equal to the command line's output."""

import asyncio
import csv
import io
import json
import os
import signal
from collections.abc import Awaitable
from datetime import datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from contracts.values.ids import is_id, new_id, pair_id
from projections.friends import Friends
from tests.e2e.people import Api, Json, Person, assert_problem, eventually
from tests.e2e.poison import parked, poisoned
from tests.e2e.test_operation import lines, said
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


# One of each system, by its data directory: making an operator takes a process of the command line.
_OPERATORS: dict[Path, Person] = {}


async def operator(api: Api) -> Person:
    """Returns a new session of the system's operator."""
    folder = api.system.data_dir
    if folder not in _OPERATORS:
        _OPERATORS[folder] = await new_operator(api)
    return await api.again(_OPERATORS[folder])


async def new_operator(api: Api) -> Person:
    person = await api.person()
    done = await asyncio.to_thread(api.system.vestnik, "operators", "add", person.username, "--by", "alice", "--json")
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["user_id"], json.loads(done.stdout)["by"]) == (person.user_id, "alice")
    # At that very moment, whichever gateway answers.
    assert (await person.get("/v1/ops/status")).status_code == 200
    return person


async def fail_to_log_in(api: Api, person: Person) -> None:
    """Fails so often that it is an anomaly, even if a clock hour ends half-way."""
    for _ in range(40):
        response = await api.log_in(person.username, "not the password")
        assert_problem(response, 401, "invalid_credentials")


async def asked(person: Person, path: str) -> Json:
    response = await person.get(f"/v1/ops/{path}")
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


async def test_only_operators_get_answers(api: Api) -> None:
    anna = await api.person()
    for path in READING:
        assert_problem(await api.http.get(f"/v1/ops/{path}"), 401, "unauthenticated")
        assert_problem(await anna.get(f"/v1/ops/{path}"), 403, "not_an_operator")
    letter = {"id": "friends.v1.b1.CONTACT.1"}
    for path, body in (
        ("dead-letters/retry", letter),
        ("dead-letters/discard", {**letter, "reason": "a test"}),
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
    found = await asked(person, "status")
    done = await asyncio.to_thread(api.system.vestnik, "status", "--json")
    told = json.loads(done.stdout)
    for part in ("streams", "projections", "services"):
        assert [row["name"] for row in found[part]] == [row["name"] for row in told[part]]
    assert {"name": "operator", "state": "serving"} in found["services"]


async def test_the_rates_of_a_day_are_those_of_the_streams(api: Api) -> None:
    person = await operator(api)
    found = await asked(person, "rates")
    counted = {each["name"]: sum(each["events"]) for each in found["streams"]}

    async def stored() -> bool:
        # A status may be a second old. The system of a test is younger than a day, and more events may have come.
        streams = (await asked(person, "status"))["streams"]
        assert {each["name"] for each in streams} == counted.keys()
        return all(0 <= counted[each["name"]] <= each["last_sequence"] for each in streams)

    await eventually(stored, "a status from after the rates")
    assert sum(sum(each["events"]) for each in found["streams"]) > 0
    assert len((await asked(person, "rates?span=week"))["steps"]) == 28
    assert_problem(await person.get("/v1/ops/rates?span=year"), 422, "invalid")


@one_replica
async def test_events_come_without_what_is_personal_or_private(api: Api) -> None:
    person = await operator(api)
    anna, boris = await api.friends()
    begun = (await asked(person, "events?limit=1"))["newer"]
    (sent,) = await anna.sends(boris, "Meet me at the bridge.")
    found = await asked(person, f"events?stream=messaging&aggregate_id={sent['conversation_id']}&after={begun}")
    (event,) = found["items"]
    assert (event["type"], event["version"], event["data"]["text"]) == ("message.sent", 1, "•••")
    assert event["data"]["message_id"] == sent["message_id"]
    assert is_id(event["correlation_id"])
    assert "request_id" not in event
    body = {"text": "Once more", "client_message_id": "c"}
    path = f"/v1/conversations/{boris.user_id}/messages"
    await anna.ask("POST", path, json=body, headers={"X-Request-Id": "order-7"})
    found = await asked(person, f"events?stream=messaging&aggregate_id={sent['conversation_id']}&after={begun}")
    assert [one.get("request_id") for one in found["items"]] in ([None, "order-7"], ["order-7", None])
    at = event["at"]
    span = f"events?aggregate_id={sent['conversation_id']}&type=message.sent"
    assert (await asked(person, f"{span}&since={at}&limit=9"))["items"][-1] == event
    assert event not in (await asked(person, f"{span}&until={at}&limit=9"))["items"]
    private = await asked(person, "events?type=credential.set&limit=1")
    assert private["items"][0]["data"] is None
    everything = json.dumps(await asked(person, "events?limit=500"))
    assert "bridge" not in everything
    assert "$2b$" not in everything


@one_replica
async def test_a_question_that_makes_no_sense_is_refused(api: Api) -> None:
    person = await operator(api)
    for query in (
        "stream=NOBODY",
        "type=nothing",
        "before=!",
        "limit=0",
        "aggregate_id=*",
        "since=yesterday",
    ):
        assert_problem(await person.get(f"/v1/ops/events?{query}"), 422, "invalid")
    for logins in ("since=yesterday", "user=%00", "address=192.0.2.300", "session=x", "reason=nothing", "device=%00"):
        answer = await person.get(f"/v1/ops/session-events?{logins}")
        assert_problem(answer, 422, "invalid")
        assert [error["path"] for error in answer.json()["errors"]] == [f"/query/{logins.partition('=')[0]}"]


@one_replica
async def test_a_span_may_begin_and_end_with_the_calendar(api: Api) -> None:
    person = await operator(api)
    for span in ("since=0001-01-01T00:00:00Z", "until=9999-12-31T23:59:59Z", "until=9999-12-31T23:59:59-12:00"):
        assert (await asked(person, f"events?{span}&limit=1"))["items"] != []
        await asked(person, f"session-events?{span}&limit=1")


async def test_logins_and_their_ends_are_those_of_the_audit(api: Api) -> None:
    person, anna = await operator(api), await api.person()
    other = await api.again(anna, device="A phone")
    assert (await other.ask("DELETE", "/v1/sessions/current")).status_code == 204

    async def told() -> list[Json]:
        found = await asked(person, f"session-events?user={anna.username}")
        rows: list[Json] = found["items"]
        return rows if len(rows) == 3 else []

    rows = await eventually(told, "the audit")
    assert [(row["event"], row["reason"]) for row in rows] == [
        ("session.revoked", "logout"),
        ("session.created", None),
        ("session.created", None),
    ]
    assert rows[0]["device"] == "A phone"
    first = await asked(person, f"session-events?user={anna.username}&limit=2")
    rest = await asked(person, f"session-events?user={anna.username}&limit=2&before={first['older']}")
    assert (first["items"] + rest["items"], rest["older"]) == (rows, None)
    assert_problem(await person.get("/v1/ops/session-events?before=!"), 422, "invalid")
    assert (await asked(person, f"session-events?user={anna.username}&until=2020-01-01T00:00:00Z"))["items"] == []


async def test_an_operator_finds_a_session_by_its_origin_beside_failed_logins_and_ends_it(api: Api) -> None:
    person, anna = await operator(api), await api.person()
    stolen = await api.again(anna, device="Thief's phone")
    wrong = {"login": anna.username, "password": "not it", "device": "thief's desk"}
    assert (await api.http.post("/v1/sessions", json=wrong)).status_code == 401

    async def found() -> list[Json]:
        rows = await asked(person, f"session-events?user={anna.username}&device=THIEF&failures=true")
        items: list[Json] = rows["items"]
        return items if len(items) == 2 else []

    failed, login = await eventually(found, "the login and the failure")
    assert [failed[name] for name in ("event", "username", "session_id", "reason", "count", "new_device")] == [
        "login.failed",
        anna.username,
        None,
        "wrong_password",
        1,
        None,
    ]
    assert (login["session_id"], login["new_device"], login["second_factor"]) == (stolen.session_id, True, False)
    query = f"session-events?session={stolen.session_id.upper()}"
    assert (await asked(person, f"{query}&address=127.0.0.0/8"))["items"] == [login]
    assert (await asked(person, f"{query}&address=192.0.2.1"))["items"] == []

    end = {"session_id": stolen.session_id, "reason": "  stolen\tphone "}
    path = "/v1/ops/sessions/end"
    assert_problem(await anna.ask("POST", path, json=end), 403, "not_an_operator")
    for broken in ({"reason": ""}, {"reason": "  "}, {"reason": "x" * 201}, {"session_id": "x"}):
        assert_problem(await person.ask("POST", path, json=end | broken), 422, "invalid")
    unknown = {"session_id": new_id(), "reason": "x"}
    assert_problem(await person.ask("POST", path, json=unknown), 404, "session_not_found")
    answer = await person.ask("POST", path, json=end)
    assert (answer.status_code, answer.json()) == (
        200,
        {"session_id": stolen.session_id, "user_id": anna.user_id},
    )

    async def refused() -> bool:
        return (await stolen.get("/v1/users/me")).status_code == 401

    await eventually(refused, "the ended session refused")
    assert (await anna.get("/v1/users/me")).status_code == 200
    assert_problem(await person.ask("POST", path, json=end), 404, "session_not_found")

    async def reasons() -> list[str]:
        rows = await asked(person, f"session-events?user={anna.username}&reason=operator")
        return [row["reason"] for row in rows["items"]]

    assert await eventually(reasons, "the end") == [f"operator {person.username}: stolen phone"]
    [ended] = (await asked(person, f"events?aggregate_id={stolen.session_id}&type=session.revoked&limit=5"))["items"]
    # An erasure of the operator's account does not reach the event.
    assert ended["actor"] == f"operator:{person.user_id}"
    acts = await asked(person, "events?stream=OPERATOR&type=operator.acted&limit=500")
    # The command line of other tests acts in the same system.
    assert person.user_id in {act["actor"] for act in acts["items"]}


async def test_a_person_is_looked_up_without_what_is_personal(api: Api) -> None:
    person = await operator(api)
    anna, boris = await api.friends()
    await anna.sends(boris, "Meet me at the bridge.", "Or at the mill.")

    async def counted() -> Json | None:
        found = await asked(person, f"person?user={boris.username}")
        return found if (found["conversations"] or {}).get("unread") == 2 else None

    found = await eventually(counted, "the counts")
    assert found is not None
    assert found == await asked(person, f"person?user={boris.user_id}")
    assert (found["user_id"], found["username"], found["email_verified"]) == (boris.user_id, boris.username, True)
    assert (found["sessions"]["active"], found["friends"]["accepted"], found["unknown"]) == (1, 1, [])
    assert (found["conversations"]["open"], found["conversations"]["messages"]) == (1, 2)
    profile = (await api.http.get(f"/v1/profiles/{boris.user_id}")).json()
    assert found["profile"]["display_name"] == profile["display_name"]
    pair = {"aggregate_id": pair_id(anna.user_id, boris.user_id), "with_user_id": anna.user_id}
    assert {"stream": "CONTACT", "kind": "friendship", **pair} in found["aggregates"]
    assert {"stream": "MESSAGING", "kind": "conversation", **pair} in found["aggregates"]
    assert (await asked(person, f"events?aggregate_id={pair['aggregate_id']}&type=message.sent"))["items"]
    shown = json.dumps(found)
    assert not any(word in shown for word in ("@", "bridge", "mill", "$2b$"))
    nobody = await api.register()
    unverified = await asked(person, f"person?user={nobody['username']}")
    assert (unverified["user_id"], unverified["email_verified"], unverified["profile"]) == (
        nobody["user_id"],
        False,
        None,
    )
    for user in ("nobody_of_that_name", new_id(), "anna%40example.org"):
        assert_problem(await person.get(f"/v1/ops/person?user={user}"), 404, "not_found")
    assert_problem(await person.get("/v1/ops/person"), 422, "invalid")


@one_replica
async def test_an_aggregate_is_looked_at_in_time_without_what_is_personal_or_secret(api: Api) -> None:
    person = await operator(api)
    anna, boris = await api.friends()
    await anna.sends(boris, "Meet me at the bridge.", "Or at the mill.")
    await boris.sees(anna, 2)
    await anna.ask("PATCH", "/v1/profiles/me", json={"bio": "A miller."})
    pair = pair_id(anna.user_id, boris.user_id)
    ids = {
        "user": anna.user_id,
        "credential": anna.user_id,
        "session": anna.session_id,
        "profile": anna.user_id,
        "friendship": pair,
        "conversation": pair,
        "read": f"{pair}.{boris.user_id}",
    }
    found = {kind: await asked(person, f"aggregate?kind={kind}&id={one}") for kind, one in ids.items()}
    for kind, page in found.items():
        assert (page["kind"], page["aggregate_id"]) == (kind, ids[kind])
        versions = [one["event"]["version"] for one in page["items"]]
        assert versions == list(range(page["last_version"], 0, -1))
        events = await asked(person, f"events?aggregate_id={ids[kind]}&stream={page['stream']}")
        assert [one for one in events["items"] if one["subject"] == page["items"][0]["event"]["subject"]] == [
            one["event"] for one in page["items"]
        ]
    assert [one["state"]["status"] for one in found["friendship"]["items"]] == ["accepted", "requested"]
    assert [one["state"] for one in found["conversation"]["items"]] == [{"last_sequence": 2}, {"last_sequence": 1}]
    assert found["profile"]["items"][0]["state"]["bio"] == "•••"
    assert found["credential"]["items"][0]["state"]["hashed"]["password_hash"] == "•••"
    shown = json.dumps(found)
    assert not any(word in shown for word in ("bridge", "mill", "$2b$"))
    first = await asked(person, f"aggregate?kind=conversation&id={pair.upper()}&version=1")
    assert (first["items"], first["last_version"]) == (found["conversation"]["items"][1:], 2)
    assert (await asked(person, f"aggregate?kind=conversation&id={pair}&limit=1"))["items"] == found["conversation"][
        "items"
    ][:1]
    at = found["friendship"]["items"][1]["event"]["at"]
    assert (await asked(person, f"aggregate?kind=friendship&id={pair}&at={at}"))["items"] == found["friendship"][
        "items"
    ][1:]
    for query in (
        f"kind=user&id={pair}",
        f"kind=conversation&id={pair}&version=3",
        f"kind=user&id={anna.user_id}&at=0",
    ):
        expected = (422, "invalid") if query.endswith("at=0") else (404, "not_found")
        assert_problem(await person.get(f"/v1/ops/aggregate?{query}"), *expected)
    for query in (
        "kind=email&id=a",
        "kind=user&id=*",
        f"kind=read&id={pair}",
        f"kind=user&id={pair}.{pair}",
        f"kind=friendship&id={pair}&version=1&at={at}",
        "kind=user",
    ):
        assert_problem(await person.get(f"/v1/ops/aggregate?{query}"), 422, "invalid")


async def test_a_message_is_followed_through_the_read_models(api: Api) -> None:
    person = await operator(api)
    anna, boris = await api.friends()
    (sent,) = await anna.sends(boris, "Meet me at the bridge.")

    async def applied() -> Json | None:
        found = await asked(person, f"event?id={sent['message_id']}")
        states = {each["projection"]: each["state"] for each in found["read_models"]}
        readers = ("conversations", "notifications", "analytics", "message_search")
        return found if {states[name] for name in readers} == {"applied"} else None

    found = await eventually(applied, "the read models")
    assert found is not None
    event, message = found["event"], found["message"]
    assert (event["type"], event["data"]["text"]) == ("message.sent", "•••")
    assert (message["sender_id"], message["recipient_id"], message["sequence"]) == (anna.user_id, boris.user_id, 1)
    assert (message["stored"], message["open"], message["seen_at"]) == (True, True, None)
    assert message["notification"]
    assert all(each["checkpoint"] >= event["sequence"] and not each["letters"] for each in found["read_models"])
    await boris.ask("PUT", f"/v1/conversations/{anna.user_id}/seen", json={"sequence": 1})

    async def seen() -> bool:
        again = await asked(person, f"event?stream=messaging&sequence={event['sequence']}")
        return again["message"]["seen_at"] is not None and again["event"] == event

    await eventually(seen, "the mark")
    mark = (await asked(person, f"events?aggregate_id={sent['conversation_id']}.{boris.user_id}"))["items"][0]
    passed = await asked(person, f"event?id={mark['id']}")
    assert (passed["event"]["type"], passed["message"]) == ("message.seen", None)
    other = await api.again(anna)
    assert (await other.ask("DELETE", "/v1/sessions/current")).status_code == 204

    async def ignored() -> bool:
        end = (await asked(person, f"events?aggregate_id={other.session_id}&type=session.revoked"))["items"][0]
        states = (await asked(person, f"event?id={end['id']}"))["read_models"]
        return any((each["projection"], each["state"]) == ("analytics", "ignored") for each in states)

    await eventually(ignored, "the end of a session")
    for query in (f"id={new_id()}", "id=nothing", "stream=messaging&sequence=999999999"):
        assert_problem(await person.get(f"/v1/ops/event?{query}"), 404, "not_found")
    for query in ("stream=nobody&sequence=1", "stream=messaging"):
        assert_problem(await person.get(f"/v1/ops/event?{query}"), 422, "invalid")


async def ended(person: Person, job: Json) -> Json:
    async def over() -> Json | None:
        found: Json = (await asked(person, "maintenance"))["items"][0]
        assert found["id"] == job["id"]
        return None if found["state"] == "running" else found

    # The job runs at low priority, so polling without pauses would delay it.
    found = await eventually(over, "the end", within=300, every=0.2)
    assert found is not None
    return found


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
    assert {tuple(each["columns"]) for each in wrong["differences"]} == {("state",)}
    assert all(is_id(each["key"]["user_id"]) for each in wrong["differences"])
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
        found: list[Json] = [one for one in (await asked(person, "status"))["projections"] if one["name"] == "friends"]
        return found[0]

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


async def test_a_dead_letter_is_seen_tried_again_and_discarded(own_api: Api) -> None:
    api = own_api
    person = await operator(api)
    anna, boris = await api.friends()
    conversation_id = await poisoned(api, anna, boris)

    async def failed() -> Json | None:
        letters = (await asked(person, "dead-letters"))["items"]
        return next(
            (one for one in letters if one["aggregate_id"] == conversation_id and one["projection"] == "conversations"),
            None,
        )

    letter = await eventually(failed, "a dead letter")
    assert letter is not None
    assert letter["state"] == "failed"
    trace = await asked(person, f"event?stream={letter['stream']}&sequence={letter['sequence']}")
    assert {each["projection"]: each["state"] for each in trace["read_models"]}["conversations"] == "failed"
    assert letter["id"] in [one["id"] for each in trace["read_models"] for one in each["letters"]]
    shown = await asked(person, f"dead-letter?id={letter['id']}")
    assert shown["event"]["data"] == {"text": "•••"}
    tried = await person.ask("POST", "/v1/ops/dead-letters/retry", json={"id": letter["id"]})
    assert (tried.status_code, tried.json()["outcome"]) == (200, "failed")
    without = await person.ask("POST", "/v1/ops/dead-letters/discard", json={"id": letter["id"], "reason": " "})
    assert_problem(without, 422, "invalid")
    given_up = {"id": letter["id"], "reason": "Written by a script."}
    done = await person.ask("POST", "/v1/ops/dead-letters/discard", json=given_up)
    assert (done.status_code, done.json()["left"]) == (200, 0), done.text
    kept = (await asked(person, "dead-letters?discarded=true"))["items"]
    (discard,) = [one["discard"] for one in kept if one["id"] == letter["id"]]
    assert (discard["by"], discard["reason"]) == (person.username, "Written by a script.")
    assert_problem(await person.ask("POST", "/v1/ops/dead-letters/retry", json={"id": letter["id"]}), 422, "invalid")
    gone = await person.get("/v1/ops/dead-letter?id=friends.v1.b1.CONTACT.999999")
    assert_problem(gone, 404, "not_found")


async def test_a_parked_event_of_a_reaction_is_listed_tried_again_and_discarded(own_api: Api) -> None:
    api = own_api
    person = await operator(api)
    await api.person()
    found = await lines(api, "events", "--stream", "AUTH", "--type", "user.created")
    done, given_up = [event["sequence"] for event in found[-2:]]
    done_id, given_up_id = [await parked(api, sequence) for sequence in (done, given_up)]
    listed = {letter["id"]: letter for letter in await lines(api, "dead-letters", "list", "profile-creation")}
    assert set(listed) == {done_id, given_up_id}
    assert {(letter["kind"], letter["state"], letter["error"]) for letter in listed.values()} == {
        ("reaction", "failed", "a test")
    }
    shown = {letter["id"]: letter for letter in (await asked(person, "dead-letters"))["items"]}
    assert {(shown[letter]["kind"], shown[letter]["projection"]) for letter in listed} == {
        ("reaction", "profile-creation")
    }
    (retried,) = (await said(api, "dead-letters", "retry", "--id", done_id))["retried"]
    assert (retried["outcome"], retried["applied"], retried["left"]) == ("applied", 1, 0)
    again = await asyncio.to_thread(api.system.vestnik, "dead-letters", "retry", "--id", done_id)
    assert (again.returncode, "applied by a retry" in again.stderr) == (1, True)
    discarding = {"id": given_up_id, "reason": "A test."}
    settled = await person.ask("POST", "/v1/ops/dead-letters/discard", json=discarding)
    assert (settled.status_code, settled.json()["left"]) == (200, 0), settled.text
    assert_problem(await person.ask("POST", "/v1/ops/dead-letters/discard", json=discarding), 422, "invalid")
    gone = await person.get("/v1/ops/dead-letter?id=profile-creation.AUTH.999999")
    assert_problem(gone, 404, "not_found")
    (kept,) = await lines(api, "dead-letters", "list", "profile-creation", "--state", "discarded")
    assert (kept["id"], kept["discard"]["by"], kept["discard"]["reason"]) == (given_up_id, person.username, "A test.")
    assert await lines(api, "dead-letters", "list", "profile-creation") == []
    # It depends on no database.
    for server in api.system.serving("postgres"):
        os.kill(server.pid, signal.SIGSTOP)
    try:
        assert await lines(api, "dead-letters", "list", "profile-creation", "--state", "discarded") == [kept]
    finally:
        for server in api.system.serving("postgres"):
            os.kill(server.pid, signal.SIGCONT)


def _timed(anomaly: Json) -> Json:
    return {**anomaly, **{name: datetime.fromisoformat(anomaly[name]) for name in ("at", "since")}}


async def test_many_failed_logins_are_an_anomaly_and_who_looks_at_it_is_recorded(api: Api) -> None:
    olga, anna = await operator(api), await api.person()
    await fail_to_log_in(api, anna)

    async def found() -> Json:
        page = await asked(olga, "anomalies?rule=account_failures&limit=500")
        return next((item for item in page["items"] if item["user_id"] == anna.user_id), {})

    async def last_look() -> int:
        events = (await asked(olga, "events?stream=OPERATOR&type=operator.looked&limit=1"))["items"]
        return int(events[0]["sequence"])

    anomaly = await eventually(found, "an anomaly")
    assert anomaly["count"] >= 20
    assert {name: value for name, value in anomaly.items() if name not in ("at", "since", "count")} == {
        "rule": "account_failures",
        "user_id": anna.user_id,
        "username": anna.username,
        "address": None,
        "operator": None,
        "operator_id": None,
        "reason": None,
    }
    assert anomaly["since"] <= anomaly["at"]
    command = ("audit", "anomalies", "--rule", "account_failures")
    as_json = await asyncio.to_thread(api.system.vestnik, *command, "--since", anomaly["at"], "--json")
    lines = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert [_timed(line) for line in lines if line["user_id"] == anna.user_id] == [_timed(anomaly)], as_json.stderr
    as_csv = await asyncio.to_thread(api.system.vestnik, *command, "--since", anomaly["at"], "--csv")
    rows = [row for row in csv.DictReader(io.StringIO(as_csv.stdout)) if row["username"] == anna.username]
    assert [(row["user_id"], row["count"]) for row in rows] == [(anna.user_id, str(anomaly["count"]))]
    table = await asyncio.to_thread(api.system.vestnik, *command, "--until", anomaly["at"])
    assert table.stdout.startswith("AT")
    assert anna.username not in table.stdout
    before = await last_look()
    await asked(olga, "anomalies?rule=operator_exports")
    assert await last_look() > before
    for query in ("rule=nonsense", "since=x", "before=nonsense", "limit=0"):
        assert_problem(await olga.get(f"/v1/ops/anomalies?{query}"), 422, "invalid")
