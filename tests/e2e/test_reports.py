"""Reports: what operators see of a conversation, who sees it, and what stays."""

import asyncio
from typing import Any

from contracts.values.ids import new_id
from tests.e2e.operators import asked, operator
from tests.e2e.people import Api, Json, Person, assert_problem, eventually
from tests.sse_client import listening


async def report(one: Person, other: Person, *messages: Json, **fields: Any) -> str:  # noqa: ANN401 - JSON
    body = {"user_id": other.user_id, "reason": "harassment", "message_ids": [row["message_id"] for row in messages]}
    response = await one.ask("POST", "/v1/reports", json=body | fields)
    assert (response.status_code, set(response.json())) == (202, {"report_id"}), response.text
    report_id: str = response.json()["report_id"]
    return report_id


async def listed(olga: Person, report_id: str, *, settled: bool = False) -> Json:
    """The report's row of the list, once the read model has it."""

    async def row() -> Json | None:
        page = await asked(olga, f"reports?limit=500&settled={str(settled).lower()}")
        return next((item for item in page["items"] if item["report_id"] == report_id), None)

    row_in_list = await eventually(row, "the report in the list")
    assert row_in_list is not None
    return row_in_list


async def events_of(olga: Person, report_id: str) -> list[Json]:
    page = await asked(olga, f"events?stream=CONTACT&aggregate_id={report_id}")
    rows: list[Json] = page["items"][::-1]
    return rows


async def test_an_operator_reads_the_reported_texts_and_settles(api: Api) -> None:
    olga, (anna, boris) = await operator(api), await api.friends()
    first, second, third = await boris.sends(anna, "Pay me.", "Or else.", "Nice weather.")
    assert (await anna.ask("PUT", f"/v1/blocks/{boris.user_id}")).status_code == 204
    report_id = await report(anna, boris, second, first, comment="He threatens me.")
    row = await listed(olga, report_id)
    assert row == {
        "report_id": report_id,
        "reporter": {"user_id": anna.user_id, "username": anna.username},
        "reported": {"user_id": boris.user_id, "username": boris.username},
        "reason": "harassment",
        "messages": 2,
        "filed_at": row["filed_at"],
        "settled_at": None,
        "outcome": None,
        "settled_by": None,
    }
    texts = await asked(olga, f"report?id={report_id}")
    fields = ("message_id", "sequence", "sender_id", "sent_at", "text")
    assert texts["messages"] == [{field: message[field] for field in fields} for message in (first, second)]
    assert (texts["comment"], texts["note"], texts["expired_at"]) == ("He threatens me.", "", None)
    assert third["text"] not in str(texts)

    decision = {"id": report_id, "outcome": "upheld", "note": "A clear threat."}
    for _ in range(2):
        response = await olga.ask("POST", "/v1/ops/reports/settle", json=decision)
        assert (response.status_code, response.json()) == (200, {"report_id": report_id, "outcome": "upheld"})
    other = await olga.ask("POST", "/v1/ops/reports/settle", json=decision | {"outcome": "dismissed"})
    assert_problem(other, 409, "report_settled")
    settled = await listed(olga, report_id, settled=True)
    assert (settled["outcome"], settled["settled_by"]) == ("upheld", olga.username)
    assert (await asked(olga, f"report?id={report_id}"))["note"] == "A clear threat."

    events = await events_of(olga, report_id)
    assert [event["type"] for event in events] == ["report.filed", "report.viewed", "report.settled", "report.viewed"]
    assert [event["actor"] for event in events] == [anna.user_id, *[olga.user_id] * 3]
    assert {event["data"] is None for event in events} == {True}


async def test_the_same_report_again_is_one_report_until_it_is_settled(api: Api) -> None:
    olga, (anna, boris) = await operator(api), await api.friends()
    [message] = await boris.sends(anna, "Buy!")
    ids = await asyncio.gather(*(report(anna, boris, message, comment=str(number)) for number in range(4)))
    assert len(set(ids)) == 1
    assert await report(anna, boris, message, reason="spam") != ids[0]
    assert await report(boris, anna, message) != ids[0]
    assert await report(anna, boris) != ids[0]
    decision = {"id": ids[0], "outcome": "dismissed"}
    assert (await olga.ask("POST", "/v1/ops/reports/settle", json=decision)).status_code == 200
    again = await report(anna, boris, message)
    assert again != ids[0]
    assert await report(anna, boris, message) == again


async def test_a_reported_text_survives_its_deletion(api: Api) -> None:
    olga, (anna, boris) = await operator(api), await api.friends()
    edited, deleted, gone = await boris.sends(anna, "Pay me.", "Or else.", "Now.")
    thread = f"/v1/conversations/{anna.user_id}/messages"
    assert (await boris.ask("DELETE", f"{thread}/{gone['message_id']}")).status_code == 204
    anna.written = anna.written.merge(boris.written)
    report_id = await report(anna, boris, edited, deleted, gone)
    changed = await boris.ask("PATCH", f"{thread}/{edited['message_id']}", json={"text": "Good morning!"})
    assert changed.status_code == 200, changed.text
    assert (await boris.ask("DELETE", f"{thread}/{deleted['message_id']}")).status_code == 204
    texts = await asked(olga, f"report?id={report_id}")
    assert [message["text"] for message in texts["messages"]] == ["Pay me.", "Or else.", ""]


async def test_only_messages_of_the_two_are_reported(api: Api) -> None:
    (anna, boris), vera = await api.friends(), await api.person()
    await api.befriend(boris, vera)
    [foreign] = await boris.sends(vera, "Hello Vera")
    url = "/v1/reports"
    for body, status, code in (
        ({"user_id": boris.user_id, "message_ids": [foreign["message_id"]]}, 404, "message_not_found"),
        ({"user_id": boris.user_id, "message_ids": [new_id()]}, 404, "message_not_found"),
        ({"user_id": new_id()}, 404, "user_not_found"),
        ({"user_id": anna.user_id}, 422, "invalid"),
        ({"user_id": "somebody"}, 422, "invalid"),
        ({"user_id": boris.user_id, "message_ids": [new_id() for _ in range(21)]}, 422, "invalid"),
        ({"user_id": boris.user_id, "message_ids": ["*"]}, 422, "invalid"),
        ({"user_id": boris.user_id, "reason": "boredom"}, 422, "invalid"),
        ({"user_id": boris.user_id, "comment": "x" * 1001}, 422, "invalid"),
        ({"user_id": boris.user_id, "comment": "\x00"}, 422, "invalid"),
        ({"user_id": boris.user_id, "text": "Hello"}, 422, "invalid"),
    ):
        assert_problem(await anna.ask("POST", url, json={"reason": "spam", **body}), status, code)
    assert_problem(await api.http.post(url, json={}), 401, "unauthenticated")
    # A stranger may be reported too, without messages.
    await report(anna, vera, reason="impersonation")


async def test_reports_are_read_and_settled_by_operators_alone(api: Api) -> None:
    olga, (anna, boris) = await operator(api), await api.friends()
    [message] = await boris.sends(anna, "Buy!")
    report_id = await report(anna, boris, message)
    decision = {"id": report_id, "outcome": "upheld"}
    for person in (anna, boris):
        for path in ("reports", f"report?id={report_id}"):
            assert_problem(await person.get(f"/v1/ops/{path}"), 403, "not_an_operator")
        response = await person.ask("POST", "/v1/ops/reports/settle", json=decision)
        assert_problem(response, 403, "not_an_operator")
    assert [event["type"] for event in await events_of(olga, report_id)] == ["report.filed"]
    missing = new_id()
    assert_problem(await olga.get(f"/v1/ops/report?id={missing}"), 404, "not_found")
    response = await olga.ask("POST", "/v1/ops/reports/settle", json={**decision, "id": missing})
    assert_problem(response, 404, "not_found")
    for changed in ({"outcome": "maybe"}, {"id": "x"}, {"note": "x" * 1001}, {"more": 1}):
        response = await olga.ask("POST", "/v1/ops/reports/settle", json=decision | changed)
        assert_problem(response, 422, "invalid")
    assert_problem(await olga.get("/v1/ops/reports?before=nonsense"), 422, "invalid")


async def test_positions_that_cover_a_private_report_are_reached_by_everyone(api: Api) -> None:
    """A report is the last event of its stream, and only contact reads it."""
    olga, (anna, boris) = await operator(api), await api.friends()
    await boris.sends(anna, "Buy!")
    [filed] = await events_of(olga, await report(anna, boris))

    async def covering() -> str:
        position = (await anna.get("/v1/friends")).headers["Vestnik-Position"]
        return position if anna.sealed.open(position).sequence("CONTACT") >= filed["sequence"] else ""

    position = await eventually(covering, "a read model that has the report")
    anna.written = anna.written.merge(anna.sealed.open(position))
    assert (await anna.conversation(boris) or {})["unread_count"] == 1
    async with listening(api.system.url, anna.access_token, since=position) as stream:
        assert (await boris.remove(anna)).status_code == 204
        await stream.until(lambda stream: [event.type for event in stream.events] == ["friendship.removed"])


async def test_two_operators_settle_a_report_once(api: Api) -> None:
    olga, (anna, boris) = await operator(api), await api.friends()
    report_id = await report(anna, boris)
    responses = await asyncio.gather(
        *(
            olga.ask("POST", "/v1/ops/reports/settle", json={"id": report_id, "outcome": outcome})
            for outcome in ("upheld", "dismissed")
        )
    )
    assert sorted(response.status_code for response in responses) == [200, 409]
    assert [event["type"] for event in await events_of(olga, report_id)] == ["report.filed", "report.settled"]


async def test_the_list_of_reports_goes_on_page_by_page(api: Api) -> None:
    olga, anna, *others = await operator(api), *await api.people(4)
    ids = [await report(anna, other) for other in others]
    await listed(olga, ids[-1])
    before, report_ids = "", list[str]()
    while before is not None:
        page = await asked(olga, f"reports?limit=2&before={before}")
        assert len(page["items"]) <= 2
        report_ids += [row["report_id"] for row in page["items"]]
        before = page["older"]
    assert [report_id for report_id in report_ids if report_id in ids] == ids[::-1]
