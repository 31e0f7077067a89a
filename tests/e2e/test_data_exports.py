"""The copy of one's data: what is in it, who gets it, and what happens while parts of the system are killed."""

import asyncio
import io
import re
import zipfile

import msgspec

from tests.e2e.people import Api, Json, Person, assert_problem, eventually, items
from tests.e2e.test_audit import lines
from tests.fix_system import wait_until

HOSTILE = "</script><script>alert(1)</script> \u202eevil 👩‍👩‍👧 \"'&"


async def ask(person: Person) -> str:
    response = await person.ask("POST", "/v1/users/me/exports")
    assert response.status_code == 202, response.text
    export_id: str = response.json()["export_id"]
    return export_id


async def download(person: Person, export_id: str, *, within: float = 60.0) -> zipfile.ZipFile:
    async def made() -> bytes:
        response = await person.get(f"/v1/users/me/exports/{export_id}")
        if response.status_code == 202:
            assert response.json()["state"] == "making"
            return b""
        # 503: a test has just killed a part of the system.
        assert response.status_code in {200, 503}, response.text
        return response.content if response.status_code == 200 else b""

    archive = zipfile.ZipFile(io.BytesIO(await eventually(made, "the copy", within=within, every=0.2)))
    assert archive.testzip() is None
    return archive


def read(archive: zipfile.ZipFile, name: str) -> list[Json]:
    listed: list[Json] = msgspec.json.decode(archive.read(name))
    return listed


async def test_a_copy_has_what_the_api_shows_and_nothing_of_others_that_it_does_not(api: Api) -> None:
    anna, boris = await api.friends()
    carl, dora, emil = await api.people(3)
    await api.befriend(anna, dora)
    bio = f"about me {HOSTILE.replace(chr(0x202E), '')}"
    patched = await anna.ask("PATCH", "/v1/profiles/me", json={"bio": bio, "presence": "nobody"})
    assert patched.status_code == 200, patched.text
    await boris.ask("PATCH", "/v1/profiles/me", json={"display_name": "Boris <b>", "bio": "bio of boris"})
    _, second, third = await anna.sends(boris, HOSTILE, "before the edit", "to be deleted")
    await anna.edit(boris, second["message_id"], "after the edit")
    await anna.delete(boris, third["message_id"])
    (answer,) = await boris.sends(anna, "a friend's text")
    path = f"/v1/conversations/{boris.user_id}/messages"
    await anna.ask("PUT", f"{path}/{answer['message_id']}/reaction", json={"emoji": "👍"})
    body = {"text": "a reply", "client_message_id": "reply", "reply_to": answer["message_id"]}
    await anna.ask("POST", path, json=body)
    await anna.ask("PATCH", f"/v1/conversations/{boris.user_id}", json={"draft": f"a draft {HOSTILE}", "pinned": True})
    await anna.ask("PUT", f"/v1/blocks/{carl.user_id}")
    await anna.sends(dora, "to someone who blocks me later")
    await dora.sends(anna, "an answer of dora")
    await dora.ask("PUT", f"/v1/blocks/{anna.user_id}")
    await dora.ask("POST", "/v1/reports", json={"user_id": anna.user_id, "reason": "spam", "comment": "dora's report"})
    report = {"user_id": boris.user_id, "reason": "spam", "message_ids": [answer["message_id"]], "comment": "my report"}
    await anna.ask("POST", "/v1/reports", json=report)
    await anna.add(emil)
    await api.again(anna, device=f"phone {HOSTILE}"[:90])
    await api.log_in(anna.email, "a wrong password")
    anna.written = anna.written.merge(boris.written).merge(dora.written)

    async def failed() -> object:
        return (await anna.get("/v1/sessions/history")).json()["failed_attempts"]

    await eventually(failed, "the failed login")
    archive = await download(anna, await ask(anna))

    assert msgspec.json.decode(archive.read("account.json")) == (await anna.get("/v1/users/me")).json()
    assert msgspec.json.decode(archive.read("profile.json")) == (await anna.get("/v1/profiles/me")).json()
    history = (await anna.get("/v1/sessions/history", params={"limit": 200})).json()
    sessions = [{key: value for key, value in one.items() if key != "current"} for one in history["items"]]
    assert read(archive, "sessions.json") == sessions
    assert len(sessions) == 2
    assert read(archive, "failed_logins.json") == history["failed_attempts"]
    for name, route in (("friends", "/v1/friends"), ("blocks", "/v1/blocks"), ("conversations", "/v1/conversations")):
        shown = items(await anna.get(route, params={"limit": 200}))
        assert read(archive, f"{name}.json") == shown
        assert shown
    notified = items(await anna.get("/v1/notifications", params={"limit": 200}))
    in_copy = read(archive, "notifications.json")
    # The alert about the copy may come before it is made.
    assert [one for one in in_copy if one["kind"] != "data_export"] == [
        one for one in notified if one["kind"] not in {"data_export"}
    ]
    messages = read(archive, f"conversations/{boris.user_id}.json")
    assert messages == await anna.messages(boris, after=0, limit=200)
    assert [message["text"] for message in messages] == [HOSTILE, "after the edit", "", "a friend's text", "a reply"]
    assert messages[-1]["reply_to"]["text"] == "a friend's text"
    assert messages[3]["reactions"] == [{"emoji": "👍", "user_ids": [anna.user_id]}]
    (to_dora,) = read(archive, "closed_conversations.json")
    assert (to_dora["user_id"], to_dora["text"]) == (dora.user_id, "to someone who blocks me later")
    (filed,) = read(archive, "reports.json")
    assert {name: filed[name] for name in report} == report
    contents = msgspec.json.decode(archive.read("contents.json"))
    expected = {"account.json", "profile.json", "contents.json", "index.html"}
    for listed in contents["lists"]:
        assert listed["items"] == sum(len(read(archive, file)) for file in listed["files"])
        expected |= {*listed["files"], *(file.replace(".json", ".html") for file in listed["files"])}
    assert set(archive.namelist()) == expected
    everything = "".join(archive.read(name).decode() for name in archive.namelist())
    for other in (boris, carl, dora, emil):
        assert other.email not in everything
    for private in ("before the edit", "to be deleted", "dora's report", "an answer of dora", "bio of boris"):
        assert private not in everything
    pages = "".join(archive.read(name).decode() for name in archive.namelist() if name.endswith(".html"))
    for shown_text in ("Boris &lt;b&gt;", "after the edit", "a draft", "my report", "about me"):
        assert shown_text in pages
    assert "<script" not in pages


async def test_a_copy_is_for_its_owner_once_a_day_and_every_step_is_in_the_audit(api: Api) -> None:
    anna, boris = await api.friends()
    both = await asyncio.gather(*(anna.ask("POST", "/v1/users/me/exports") for _ in range(2)))
    accepted, refused = sorted(both, key=lambda response: response.status_code)
    assert accepted.status_code == 202
    assert_problem(refused, 429, "rate_limited")
    assert 86_000 < int(refused.headers["Retry-After"]) <= 86_400
    export_id = accepted.json()["export_id"]
    path = f"/v1/users/me/exports/{export_id}"
    await download(anna, export_id)
    (listed,) = items(await anna.get("/v1/users/me/exports"))
    assert (listed["export_id"], listed["state"]) == (export_id, "ready")
    assert items(await boris.get("/v1/users/me/exports")) == []
    assert_problem(await boris.get(path), 404, "data_export_not_found")
    assert_problem(await anna.get("/v1/users/me/exports/not-an-id"), 404, "data_export_not_found")
    assert_problem(await api.http.get(path), 401, "unauthenticated")
    assert_problem(await anna.ask("POST", "/v1/users/me/exports"), 429, "rate_limited")
    elsewhere = await api.again(anna)
    assert (await elsewhere.get(path)).status_code == 200
    await elsewhere.ask("DELETE", "/v1/sessions/current")

    async def ended() -> bool:
        return (await elsewhere.get(path)).status_code == 401

    await eventually(ended, "the session's end known to the gateway")

    alert = await eventually(lambda: api.mail_to(anna.email, "A copy of your data was requested"), "the alert")
    assert "/#/not-me/" in alert
    mail = await eventually(lambda: api.mail_to(anna.email, "The copy of your data is ready"), "the mail")
    assert "/#/settings/data" in mail
    assert export_id not in mail
    assert "Token" not in mail
    stored = lines(api.system, "events", "--stream", "AUTH", "--id", anna.user_id)
    steps = [one["type"].partition(".")[2] for one in stored if one["type"].startswith("data_export.")]
    assert steps == ["requested", "made", "downloaded", "downloaded"]
    shown = api.system.vestnik("aggregate", "data_export", anna.user_id, "--json")
    assert {anna.session_id, elsewhere.session_id} <= set(re.findall(r"[0-9a-f-]{36}", shown.stdout)), shown.stderr
    audit = lines(api.system, "audit", "sessions", "--user", anna.user_id, "--alerts")
    assert [row["session_id"] for row in audit if row["reason"] == "data_export"] == [anna.session_id]


async def test_a_copy_is_made_although_its_process_and_the_store_are_killed(fragile_api: Api) -> None:
    api, system = fragile_api, fragile_api.system
    anna, boris = await api.friends()
    await anna.sends(boris, *(f"text {number}" for number in range(20)))
    exports = {person.user_id: await ask(person) for person in (anna, boris)}
    for part in ("auth", "nats"):
        killed = system.serving(part)
        for process in killed:
            process.kill()

        def back(part: str = part, killed: object = killed) -> bool:
            gone = killed if isinstance(killed, list) else []
            return len(set(system.serving(part)) - set(gone)) == len(gone) and system.is_ready()

        await asyncio.to_thread(wait_until, back, f"{part} back")
    for person, other in ((anna, boris), (boris, anna)):
        archive = await download(person, exports[person.user_id], within=300)
        assert len(read(archive, f"conversations/{other.user_id}.json")) == 20
