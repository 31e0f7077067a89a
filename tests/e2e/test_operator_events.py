"""What operators see of events, aggregates and people: nothing personal, nothing secret."""

import json

from contracts.values.ids import is_id, new_id, pair_id
from tests.e2e.operators import asked, operator
from tests.e2e.people import Api, Json, assert_problem, eventually
from tests.fix_system import one_replica


@one_replica
async def test_events_come_without_what_is_personal_or_private(api: Api) -> None:
    person = await operator(api)
    anna, boris = await api.friends()
    begun = (await asked(person, "events?limit=1"))["newer"]
    (sent,) = await anna.sends(boris, "Meet me at the bridge.")
    listed = await asked(person, f"events?stream=messaging&aggregate_id={sent['conversation_id']}&after={begun}")
    (event,) = listed["items"]
    assert (event["type"], event["version"], event["data"]["text"]) == ("message.sent", 1, "•••")
    assert event["data"]["message_id"] == sent["message_id"]
    assert is_id(event["correlation_id"])
    assert "request_id" not in event
    body = {"text": "Once more", "client_message_id": "c"}
    path = f"/v1/conversations/{boris.user_id}/messages"
    await anna.ask("POST", path, json=body, headers={"X-Request-Id": "order-7"})
    listed = await asked(person, f"events?stream=messaging&aggregate_id={sent['conversation_id']}&after={begun}")
    assert [one.get("request_id") for one in listed["items"]] in ([None, "order-7"], ["order-7", None])
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


async def test_a_person_is_looked_up_without_what_is_personal(api: Api) -> None:
    person = await operator(api)
    anna, boris = await api.friends()
    await anna.sends(boris, "Meet me at the bridge.", "Or at the mill.")

    async def counted() -> Json | None:
        account = await asked(person, f"person?user={boris.username}")
        return account if (account["conversations"] or {}).get("unread") == 2 else None

    account = await eventually(counted, "the counts")
    assert account is not None
    assert account == await asked(person, f"person?user={boris.user_id}")
    assert (account["user_id"], account["username"], account["email_verified"]) == (boris.user_id, boris.username, True)
    assert (account["sessions"]["active"], account["friends"]["accepted"], account["unknown"]) == (1, 1, [])
    assert (account["conversations"]["open"], account["conversations"]["messages"]) == (1, 2)
    profile = (await api.http.get(f"/v1/profiles/{boris.user_id}")).json()
    assert account["profile"]["display_name"] == profile["display_name"]
    pair = {"aggregate_id": pair_id(anna.user_id, boris.user_id), "with_user_id": anna.user_id}
    assert {"stream": "CONTACT", "kind": "friendship", **pair} in account["aggregates"]
    assert {"stream": "MESSAGING", "kind": "conversation", **pair} in account["aggregates"]
    assert (await asked(person, f"events?aggregate_id={pair['aggregate_id']}&type=message.sent"))["items"]
    shown = json.dumps(account)
    assert not any(word in shown for word in ("@", "bridge", "mill", "$2b$"))
    unconfirmed = await api.register()
    unverified = await asked(person, f"person?user={unconfirmed['username']}")
    assert (unverified["user_id"], unverified["email_verified"], unverified["profile"]) == (
        unconfirmed["user_id"],
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
    pages = {kind: await asked(person, f"aggregate?kind={kind}&id={one}") for kind, one in ids.items()}
    for kind, page in pages.items():
        assert (page["kind"], page["aggregate_id"]) == (kind, ids[kind])
        versions = [one["event"]["version"] for one in page["items"]]
        assert versions == list(range(page["last_version"], 0, -1))
        events = await asked(person, f"events?aggregate_id={ids[kind]}&stream={page['stream']}")
        assert [one for one in events["items"] if one["subject"] == page["items"][0]["event"]["subject"]] == [
            one["event"] for one in page["items"]
        ]
    assert [one["state"]["status"] for one in pages["friendship"]["items"]] == ["accepted", "requested"]
    assert [one["state"] for one in pages["conversation"]["items"]] == [{"last_sequence": 2}, {"last_sequence": 1}]
    assert pages["profile"]["items"][0]["state"]["bio"] == "•••"
    assert pages["credential"]["items"][0]["state"]["hashed"]["password_hash"] == "•••"
    shown = json.dumps(pages)
    assert not any(word in shown for word in ("bridge", "mill", "$2b$"))
    first = await asked(person, f"aggregate?kind=conversation&id={pair.upper()}&version=1")
    assert (first["items"], first["last_version"]) == (pages["conversation"]["items"][1:], 2)
    assert (await asked(person, f"aggregate?kind=conversation&id={pair}&limit=1"))["items"] == pages["conversation"][
        "items"
    ][:1]
    at = pages["friendship"]["items"][1]["event"]["at"]
    assert (await asked(person, f"aggregate?kind=friendship&id={pair}&at={at}"))["items"] == pages["friendship"][
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
        trace = await asked(person, f"event?id={sent['message_id']}")
        states = {model["projection"]: model["state"] for model in trace["read_models"]}
        readers = ("conversations", "notifications", "analytics", "message_search")
        return trace if {states[name] for name in readers} == {"applied"} else None

    trace = await eventually(applied, "the read models")
    assert trace is not None
    event, message = trace["event"], trace["message"]
    assert (event["type"], event["data"]["text"]) == ("message.sent", "•••")
    assert (message["sender_id"], message["recipient_id"], message["sequence"]) == (anna.user_id, boris.user_id, 1)
    assert (message["stored"], message["open"], message["seen_at"]) == (True, True, None)
    assert message["notification"]
    assert all(model["checkpoint"] >= event["sequence"] and not model["letters"] for model in trace["read_models"])
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
        return any((model["projection"], model["state"]) == ("analytics", "ignored") for model in states)

    await eventually(ignored, "the end of a session")
    for query in (f"id={new_id()}", "id=nothing", "stream=messaging&sequence=999999999"):
        assert_problem(await person.get(f"/v1/ops/event?{query}"), 404, "not_found")
    for query in ("stream=nobody&sequence=1", "stream=messaging"):
        assert_problem(await person.get(f"/v1/ops/event?{query}"), 422, "invalid")
