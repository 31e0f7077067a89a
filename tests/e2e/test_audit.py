"""The audit of logins and what operators do to sessions, as commands against a running system."""

import asyncio
import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from contracts.envelope import now
from contracts.values.ids import new_id
from contracts.values.timestamps import rfc3339
from tests.e2e.operators import asked, new_operator, operator
from tests.e2e.people import PASSWORD, Api, Json, eventually, items
from tests.fix_system import ROOT, System, one_replica

FIELDS = ["at", "event", "user_id", "username", "session_id", "device", "address", "reason"]


def lines(system: System, *arguments: str) -> list[Json]:
    done = system.vestnik(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [msgspec.json.decode(line) for line in done.stdout.splitlines()]


async def refresh(api: Api, token: str) -> Json:
    body: Json = (await api.http.post("/v1/sessions/refresh", json={"refresh_token": token})).json()
    return body


@one_replica
async def test_the_audit_tells_who_logged_in_and_why_each_session_ended(api: Api) -> None:
    person = await api.person()
    out = await api.again(person, device="phone ☎")
    await out.ask("DELETE", "/v1/sessions/current")
    elsewhere = await api.again(person)
    await person.ask("DELETE", f"/v1/sessions/{elsewhere.session_id}")
    stolen = await api.again(person)
    second = await refresh(api, stolen.refresh_token)
    await refresh(api, second["refresh_token"])
    assert (await refresh(api, stolen.refresh_token))["code"] == "refresh_token_reused"
    other = await api.again(person)
    body = {"current_password": PASSWORD, "new_password": "another horse"}
    assert (await person.ask("PUT", "/v1/users/me/password", json=body)).status_code == 204

    rows = lines(api.system, "audit", "sessions", "--user", person.username)
    assert all(list(row) == FIELDS for row in rows)
    assert [(row["session_id"], row["event"], row["reason"]) for row in rows] == [
        (person.session_id, "session.created", None),
        (out.session_id, "session.created", None),
        (out.session_id, "session.revoked", "logout"),
        (elsewhere.session_id, "session.created", None),
        (elsewhere.session_id, "session.revoked", "revoked_elsewhere"),
        (stolen.session_id, "session.created", None),
        (stolen.session_id, "session.revoked", "refresh_token_reused"),
        (other.session_id, "session.created", None),
        (other.session_id, "session.revoked", "password_changed"),
    ]
    assert {(row["user_id"], row["username"], row["address"]) for row in rows} == {
        (person.user_id, person.username, "127.0.0.1")
    }
    assert {row["device"] for row in rows if row["session_id"] == out.session_id} == {"phone ☎"}
    assert lines(api.system, "audit", "sessions", "--user", person.user_id) == rows
    of_one = [row for row in rows if row["session_id"] == stolen.session_id]
    assert lines(api.system, "audit", "sessions", "--session", stolen.session_id) == of_one
    until = ("--until", of_one[1]["at"])
    assert lines(api.system, "audit", "sessions", "--session", stolen.session_id.upper(), *until) == of_one[:1]
    refreshes = lines(api.system, "audit", "sessions", "--user", person.user_id, "--refreshes")
    assert [row["event"] for row in refreshes].count("session.refreshed") == 2
    until = ("--until", rows[3]["at"])
    assert lines(api.system, "audit", "sessions", "--user", person.user_id, *until) == rows[:3]
    assert lines(api.system, "audit", "sessions", "--user", person.user_id, "--since", rows[3]["at"]) == rows[3:]

    table = api.system.vestnik("audit", "sessions", "--user", person.username).stdout.splitlines()
    assert len(table) == 1 + len(rows)
    written = api.system.vestnik("audit", "sessions", "--user", person.username, "--csv").stdout
    assert list(csv.DictReader(io.StringIO(written)))[2] == {name: rows[2][name] or "" for name in FIELDS}


async def test_an_operator_ends_sessions_and_it_is_recorded_who_did_it_and_why(api: Api) -> None:
    person = await api.person()
    one, other = await api.again(person), await api.again(person)
    revoke = ("sessions", "revoke", "--reason", "stolen phone", "--by", "alice")
    (answer,) = lines(api.system, *revoke, "--user", person.username.upper(), "--session", one.session_id)
    assert answer == {"user_id": person.user_id, "ended": [one.session_id]}

    async def refused() -> bool:
        return (await one.get("/v1/users/me")).status_code == 401

    await eventually(refused, "the ended session refused")
    assert (await other.get("/v1/users/me")).status_code == 200
    (answer,) = lines(api.system, *revoke, "--user", person.user_id)
    assert sorted(answer["ended"]) == sorted([person.session_id, other.session_id])
    assert lines(api.system, *revoke, "--user", person.user_id) == [{"user_id": person.user_id, "ended": []}]

    ends = [row for row in lines(api.system, "audit", "sessions", "--user", person.username) if row["reason"]]
    assert {row["reason"] for row in ends} == {"operator alice: stolen phone"}
    (event,) = lines(api.system, "events", "--type", "session.revoked", "--id", one.session_id)
    assert event["actor"] == "operator:alice"
    again = await api.again(person)
    rows: list[dict[str, Any]] = items(await again.get("/v1/sessions/history"))
    assert [row["reason"] for row in rows] == [None, "operator", "operator", "operator"]


@one_replica
async def test_the_audit_finds_logins_and_failures_by_origin_and_reason_and_counts_them(api: Api) -> None:
    person = await api.person()
    out = await api.again(person, device="Phone of Anna")
    await out.ask("DELETE", "/v1/sessions/current")
    for login, device in ((person.username, "a thief's PHONE"), (f"{new_id()}@example.org", "a thief's desk")):
        wrong = {"login": login, "password": "not it", "device": device}
        assert (await api.http.post("/v1/sessions", json=wrong)).status_code == 401

    def audit(*arguments: str) -> list[Json]:
        return lines(api.system, "audit", "sessions", *arguments)

    async def recorded() -> bool:
        return len(audit("--failures", "--device", "a thief's")) == 2

    await eventually(recorded, "both failures recorded")
    known, unknown = audit("--failures", "--device", "A THIEF'S")
    assert known == {
        "at": known["at"],
        "event": "login.failed",
        "user_id": person.user_id,
        "username": person.username,
        "session_id": None,
        "device": "a thief's PHONE",
        "address": "127.0.0.1",
        "reason": "wrong_password",
        "count": 1,
    }
    assert [unknown[name] for name in ("user_id", "username", "reason")] == [None, None, "unknown_login"]
    own = audit("--failures", "--user", person.username)
    assert [(row["event"], row["session_id"]) for row in own] == [
        ("session.created", person.session_id),
        ("session.created", out.session_id),
        ("session.revoked", out.session_id),
        ("login.failed", None),
    ]
    assert own[-1] == known
    assert audit("--user", person.user_id) == own[:-1]
    assert audit("--user", person.user_id, "--failures", "--device", "phone") == own[1:]
    assert audit("--user", person.user_id, "--failures", "--address", "127.0.0.0/8") == own
    assert audit("--user", person.user_id, "--failures", "--address", "192.0.2.1") == []
    assert audit("--user", person.user_id, "--reason", "logout") == [own[2]]
    assert audit("--user", person.user_id, "--failures", "--reason", "wrong_password") == [known]
    assert audit("--user", person.user_id, "--failures", "--since", known["at"]) == [known]
    day = known["at"][:10]
    assert audit("--user", person.user_id, "--summary") == [
        {"day": day, "event": "login.failed", "reason": "wrong_password", "count": 1},
        {"day": day, "event": "session.created", "reason": None, "count": 2},
        {"day": day, "event": "session.revoked", "reason": "logout", "count": 1},
    ]
    selected = ("audit", "sessions", "--user", person.user_id, "--failures", "--csv")
    written = csv.DictReader(io.StringIO(api.system.vestnik(*selected).stdout))
    assert [row["count"] for row in written] == ["", "", "", "1"]


@one_replica
async def test_who_has_never_logged_in_has_an_empty_audit(api: Api) -> None:
    account = await api.register()
    person = await api.person()
    for user in (account["username"].upper(), account["user_id"]):
        assert lines(api.system, "audit", "sessions", "--user", user) == []
    assert lines(api.system, "audit", "sessions", "--user", person.username, "--until", "2020-01-01") == []
    table = api.system.vestnik("audit", "sessions", "--user", account["username"])
    assert (table.returncode, len(table.stdout.splitlines())) == (0, 1)


@one_replica
def test_what_an_operator_asks_for_and_cannot_have_is_refused_in_one_line(system: System) -> None:
    for arguments, word in (
        (("sessions", "revoke", "--user", "nobody.at.all", "--reason", "x"), "nobody.at.all"),
        (("sessions", "revoke", "--user", new_id(), "--session", new_id(), "--reason", "x"), "no such session"),
        (("sessions", "revoke", "--user", new_id(), "--reason", "x"), "there is no user"),
        (("sessions", "revoke", "--user", "a b", "--reason", "x"), "there is no user a b"),
        (("audit", "sessions", "--json", "--csv"), "cannot be combined"),
        (("audit", "sessions", "--session", new_id(), "--failures"), "no session"),
        (("audit", "sessions", "--session", new_id(), "--alerts"), "about an account"),
        (("audit", "sessions", "--reason", "wrong_password"), "add --failures"),
        (("audit", "sessions", "--reason", "new_device"), "add --alerts"),
        (("audit", "sessions", "--reason", "wrong-password"), "is not one of"),
        (("audit", "sessions", "--address", "192.0.2.300"), "neither an IP address nor a network"),
        (("audit", "sessions", "--user", "nobody.at.all", "--failures"), "there is no user nobody.at.all"),
        (("audit", "sessions", "--user", "nobody.at.all", "--summary"), "there is no user nobody.at.all"),
        (("audit", "sessions", "--user", "nobody.at.all"), "there is no user nobody.at.all"),
        (("audit", "sessions", "--user", "nobody.at.all", "--json"), "there is no user nobody.at.all"),
        (("audit", "sessions", "--user", new_id(), "--csv"), "there is no user"),
        (("audit", "sessions", "--user", "no body"), "there is no user no body"),
    ):
        done = system.vestnik(*arguments)
        assert (done.returncode != 0, done.stdout) == (True, ""), arguments
        assert word in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def operator_rows(system: System, *arguments: str) -> list[Json]:
    return lines(system, "audit", "operators", *arguments)


async def test_a_look_for_a_name_is_recorded_with_the_id(api: Api) -> None:
    anna, since = await api.person(), rfc3339(now())
    assert lines(api.system, "audit", "sessions", "--user", anna.username)
    assert api.system.vestnik("audit", "sessions", "--user", anna.email).returncode == 1
    looks = [row["filter"] for row in operator_rows(api.system, "--since", since) if row.get("what") == "sessions"]
    assert [look["user"] for look in looks if "user" in look] == [anna.user_id, "(unknown name)"]


@one_replica
async def test_what_an_operator_does_and_sees_on_the_page_is_recorded_with_the_address(api: Api) -> None:
    person, anna = await new_operator(api), await api.person()
    # Without a trusted proxy the header is the client's own claim.
    spoofed = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    for _ in range(3):
        await person.ask("GET", f"/v1/ops/person?user={anna.username}", headers=spoofed)
    dead_letter_id = "friends.v1.b1.CONTACT.1"
    body = {"id": dead_letter_id, "reason": "=a test"}
    assert (await person.ask("POST", "/v1/ops/dead-letters/discard", json=body)).status_code == 404
    await person.get("/v1/ops/session-events?before=!")
    rows = operator_rows(api.system, "--operator", person.username)
    assert {(row["operator_id"], row["channel"], row["address"]) for row in rows} == {
        (person.user_id, "page", "127.0.0.1")
    }
    (look,) = [row for row in rows if row.get("what") == "person"]
    assert (look["filter"], look["outcome"]) == ({"user": anna.user_id}, None)
    (act,) = [row for row in rows if row.get("action") == "dead_letter.discard"]
    assert (act["target"], act["reason"], act["outcome"]) == (dead_letter_id, "=a test", "failed")
    # A made-up cursor is a look, too.
    assert [row["filter"] for row in rows if row.get("what") == "sessions"] == [{}]
    done = api.system.vestnik("audit", "operators", "--operator", person.username, "--csv")
    (line,) = [line for line in csv.DictReader(io.StringIO(done.stdout)) if line["action"] == "dead_letter.discard"]
    assert line["reason"] == "'=a test"
    # The page has the same, and the newest first; to look at it is one more look.
    page = await asked(person, f"operators?operator={person.username}&since={look['at']}&limit=3")
    assert [row.get("action") or row["what"] for row in page["items"]] == [
        "operators",
        "sessions",
        "dead_letter.discard",
    ]
    older = await asked(person, f"operators?operator={person.username}&since={look['at']}&before={page['older']}")
    (oldest,) = older["items"]
    assert oldest | {"at": look["at"]} == look
    assert older["older"] is None
    # Who is no operator leaves no trace here: nothing was shown.
    await anna.get(f"/v1/ops/person?user={person.username}")
    assert operator_rows(api.system, "--operator", anna.username) == []
    await person.get("/v1/ops/person?user=nobody.at.all")
    await person.get(f"/v1/ops/session-events?user={anna.username}")
    looks = [row["filter"] for row in operator_rows(api.system, "--operator", person.username) if "what" in row]
    assert looks[-2:] == [{"user": "(unknown name)"}, {"user": anna.user_id}]


@one_replica
async def test_a_look_by_command_is_recorded_with_all_that_it_selects_by(api: Api) -> None:
    system, anna, since = api.system, await api.person(), rfc3339(now())
    lines(system, "audit", "sessions", "--user", anna.user_id, "--refreshes")
    operator_rows(system, "--acts", "--since", since)
    looks = [row["filter"] for row in operator_rows(system, "--looks", "--since", since)]
    assert {"user": anna.user_id, "refreshes": "yes"} in looks
    assert {"only": "acts", "since": since} in looks
    assert {"only": "looks", "since": since} in looks


@one_replica
async def test_what_is_done_and_seen_on_the_command_line_is_recorded_once_and_with_its_reason(api: Api) -> None:
    system, anna = api.system, await api.person()
    since = rfc3339(now())
    for command in (
        ("sessions", "revoke", "--user", anna.username, "--reason", "stolen phone", "--by", "alice"),
        ("rebuild", "friends"),
        ("rebuild", "friends", "--back"),
        ("rebuild", "friends", "--drop-old", "--reason", "disk space"),
        ("verify", "profiles"),
        ("aggregate", "user", anna.user_id),
        ("events", "--type", "user.created"),
        ("rows", "friends"),
        ("keys", "rotate-services", "--reason", "once a year"),
    ):
        done = system.vestnik(*command)
        assert done.returncode == 0, done.stderr
    for arguments in (
        ("rebuild", "friends", "--drop-old"),
        ("sessions", "revoke", "--user", anna.username, "--reason", "  "),
        ("sessions", "revoke", "--user", anna.username, "--reason", "x" * 201),
    ):
        refused = system.vestnik(*arguments)
        assert (refused.returncode, "reason" in refused.stderr) == (2, True)
    rows = [
        (row.get("action") or row["what"], row["target"], row["reason"], row["outcome"])
        for row in operator_rows(system, "--since", since)
        if row["channel"] == "command_line"
    ]
    assert rows[:9] == [
        ("sessions.revoke", anna.user_id, "stolen phone", "done"),
        ("read_model.rebuild", "friends", "", "done"),
        ("read_model.back", "friends", "", "done"),
        ("read_model.drop_old", "friends", "disk space", "done"),
        ("read_model.verify", "profiles", "", "done"),
        ("aggregate", anna.user_id, "", None),
        ("events", "", "", None),
        ("rows", "friends", "", None),
        ("keys.rotate_services", "", "once a year", "done"),
    ]
    (revoked,) = operator_rows(system, "--since", since, "--operator", "Alice")
    # The name that was given, and the login that gave it.
    assert (revoked["operator"], "@" in revoked["address"]) == ("alice", True)
    assert {row["what"] for row in operator_rows(system, "--since", since, "--looks")} >= {"rows", "operators"}
    assert all("action" in row for row in operator_rows(system, "--since", since, "--acts"))
    assert operator_rows(system, "--since", since, "--action", "read_model.back")[0]["target"] == "friends"
    assert operator_rows(system, "--until", "2020-01-01") == []
    assert system.vestnik("audit", "operators", "--action", "nothing").returncode == 2


@one_replica
async def test_a_job_of_the_page_is_one_act_though_a_command_does_it(api: Api) -> None:
    person = await operator(api)
    since = rfc3339(now())
    body = {"kind": "verify", "projection": "friends"}
    assert (await person.ask("POST", "/v1/ops/maintenance", json=body)).status_code == 200

    async def ended() -> list[Json]:
        acts = await asyncio.to_thread(operator_rows, api.system, "--since", since, "--acts")
        return acts if acts and acts[-1]["outcome"] else []

    rows = await eventually(ended, "the end of the job")
    assert [(row["action"], row["operator"], row["channel"], row["outcome"]) for row in rows] == [
        ("read_model.verify", person.username, "page", "done")
    ]
    # No one can spare their act the record by naming another one.
    done = api.system.vestnik("verify", "friends", "--action", new_id())
    assert done.returncode == 0
    assert len(operator_rows(api.system, "--since", since, "--acts")) == 2


@one_replica
async def test_a_head_and_one_file_are_enough_to_check_the_proof_of_a_message(api: Api, tmp_path: Path) -> None:
    system = api.system
    anna, boris = await api.friends()
    await anna.sends(boris, "to be proved")
    sent = lines(system, "events", "--stream", "MESSAGING", "--type", "message.sent")[-1]
    verified, heads, proof = tmp_path / "verified.json", tmp_path / "heads.json", tmp_path / "proof.json"

    async def signed() -> bool:
        """Whether the audit passes with a signed head for every stream, and that of MESSAGING covers the message."""
        done = system.vestnik("audit", "verify", "--save", str(verified), "--json")
        audit = msgspec.json.decode(done.stdout)
        (messaging,) = (stream for stream in audit["streams"] if stream["stream"] == "MESSAGING")
        last = messaging["head"]["last_sequence"] if messaging["head"] else 0
        assert messaging["first_wrong"] is None
        return done.returncode == 0 and audit["sound"] is True and bool(last >= sent["sequence"])

    await eventually(signed, "every stream has a signed head", within=120, every=1)
    again = system.vestnik("audit", "verify", "--from", str(verified), "--save", str(verified))
    assert again.returncode == 0, again.stderr
    assert "MESSAGING as signed: 0 events after" in again.stderr
    one = system.vestnik("audit", "verify", "--stream", "OPERATOR", "--save", str(verified))
    assert one.returncode == 0, one.stderr
    # No stream is forgotten, whether it has new heads, was not verified this time, or neither.
    saved = msgspec.json.decode(verified.read_bytes())
    assert "MESSAGING" in {item["stream"] for item in saved["items"]}

    async def published() -> bool:
        answer = (await api.http.get("/.well-known/vestnik/heads")).raise_for_status()
        heads.write_bytes(answer.content)
        sequences = {item["stream"]: item["last_sequence"] for item in answer.json()["items"]}
        return bool(sequences.get("MESSAGING", 0) >= sent["sequence"])

    await eventually(published, "the head is published", within=120, every=1)
    whole = system.vestnik("audit", "verify", "--stream", "MESSAGING", "--from", str(heads))
    assert whole.returncode == 0, whole.stderr
    proved = system.vestnik("audit", "prove", sent["id"], "--heads", str(heads))
    assert proved.returncode == 0, proved.stderr
    shown = msgspec.json.decode(proved.stdout)
    [line] = proved.stderr.splitlines()
    head = f"the head of {shown['size']:,} events of tree 1 of MESSAGING"
    assert line == f"The proof leads to {head}, signed at {shown['signed_at']}."
    newest = system.vestnik("audit", "prove", sent["id"], "--at", shown["signed_at"])
    assert (newest.returncode, "(--at)" in newest.stderr) == (0, True), newest.stderr
    assert msgspec.json.decode(newest.stdout)["size"] == shown["size"]
    both = system.vestnik("audit", "prove", sent["id"], "--at", shown["signed_at"], "--heads", str(heads))
    assert (both.returncode, "exclude each other" in both.stderr) == (2, True), both.stderr
    proof.write_text(proved.stdout, encoding="utf-8")
    command = [sys.executable, "-I", str(ROOT / "docs/examples/verify_proof.py"), "proof.json", "heads.json"]

    def checked() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)

    held = checked()
    assert (held.returncode, held.stdout.splitlines()[:1]) == (0, ["The proof holds."]), held.stderr
    proof.write_text(proved.stdout.replace(sent["id"], new_id()), encoding="utf-8")
    refused = checked()
    assert (refused.returncode, "its payload is the event" in refused.stderr) == (1, True), refused.stderr

    unknown = system.vestnik("audit", "prove", new_id())
    assert (unknown.returncode, "has the id" in unknown.stderr) == (1, True), unknown.stderr
    assert system.vestnik("audit", "verify", "--from", str(proof)).returncode == 1
    acts = lines(system, "audit", "operators", "--action", "audit.verify")
    assert acts[-1]["outcome"] == "done"
    looks = lines(system, "audit", "operators", "--action", "proof")
    assert sent["id"] in [look["target"] for look in looks]
