"""Operators look through logins, their failures and anomalies, and end a session."""

import asyncio
import csv
import io
import json
from datetime import datetime

from contracts.values.ids import new_id
from tests.e2e.operators import asked, fail_to_log_in, operator
from tests.e2e.people import Api, Json, assert_problem, eventually


async def test_logins_and_their_ends_are_those_of_the_audit(api: Api) -> None:
    person, anna = await operator(api), await api.person()
    other = await api.again(anna, device="A phone")
    assert (await other.ask("DELETE", "/v1/sessions/current")).status_code == 204

    async def three_events() -> list[Json]:
        page = await asked(person, f"session-events?user={anna.username}")
        rows: list[Json] = page["items"]
        return rows if len(rows) == 3 else []

    rows = await eventually(three_events, "the audit")
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

    async def login_and_failure() -> list[Json]:
        rows = await asked(person, f"session-events?user={anna.username}&device=THIEF&failures=true")
        items: list[Json] = rows["items"]
        return items if len(items) == 2 else []

    failed, login = await eventually(login_and_failure, "the login and the failure")
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


def _timed(anomaly: Json) -> Json:
    return {**anomaly, **{name: datetime.fromisoformat(anomaly[name]) for name in ("at", "since")}}


async def test_many_failed_logins_are_an_anomaly_and_who_looks_at_it_is_recorded(api: Api) -> None:
    olga, anna = await operator(api), await api.person()
    await fail_to_log_in(api, anna)

    async def annas_anomaly() -> Json:
        page = await asked(olga, "anomalies?rule=account_failures&limit=500")
        return next((item for item in page["items"] if item["user_id"] == anna.user_id), {})

    async def last_look() -> int:
        events = (await asked(olga, "events?stream=OPERATOR&type=operator.looked&limit=1"))["items"]
        return int(events[0]["sequence"])

    anomaly = await eventually(annas_anomaly, "an anomaly")
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
