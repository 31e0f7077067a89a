"""Parameters of the lists of messages: cursors in either direction, and what is no search."""

import pytest

from contracts.rpc.vestnik.messaging import v1 as messaging
from tests.integration.gateway.conftest import Harness
from tests.integration.gateway.route_cases.case import PEER
from tests.integration.gateway.route_cases.conversations import ITEMS_JSON


async def test_messages_are_paged_with_a_cursor_in_the_direction_asked_for(harness: Harness) -> None:
    harness.script.answers = {"get_messages": messaging.GetMessagesResponse(items=ITEMS_JSON, last=4, more=True)}
    path = f"/v1/conversations/{PEER}/messages"
    for parameters, wanted in (({}, (4, None)), ({"before": 9}, (4, None)), ({"after": 0}, (None, 4))):
        first = await harness.client.get(path, params=parameters, headers=harness.signed_in)
        following = first.json()["next"]
        assert (
            await harness.client.get(path, params={"cursor": following}, headers=harness.signed_in)
        ).status_code == 200
        request = harness.script.asked[-1][1]
        assert isinstance(request, messaging.GetMessagesRequest)
        assert (request.before, request.after) == wanted
    refused = await harness.client.get(path, params={"before": 1, "after": 1}, headers=harness.signed_in)
    assert refused.json()["errors"][0]["path"] == "/query/after"
    assert (await harness.client.get(path, params={"cursor": "abc"}, headers=harness.signed_in)).status_code == 422


@pytest.mark.parametrize(
    ("query_string", "parameter"),
    [
        ("", "query"),
        ("query=", "query"),
        ("query=a%00b", "query"),
        ("query=" + "a" * 201, "query"),
        ("query=" + "%D0%B6" * 1_000, "query"),
        ("query=a&query=b", "query"),
        ("query=a&user_id=anna", "user_id"),
        ("query=a&user_id=", "user_id"),
        ("query=a&limit=201", "limit"),
        ("query=a&cursor=%27", "cursor"),
    ],
)
async def test_a_search_that_is_no_search_asks_no_service(query_string: str, parameter: str, harness: Harness) -> None:
    harness.script.answers = {}
    asked = len(harness.script.asked)
    refused = await harness.client.get(f"/v1/messages?{query_string}", headers=harness.signed_in)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == f"/query/{parameter}"
    assert len(harness.script.asked) == asked
