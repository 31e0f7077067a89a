"""A page that has not changed is not carried again, and is shown only when messaging has said so for this request."""

import msgspec
import pytest

from contracts.errors import NotFriends
from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import GetMessagesRequest, GetMessagesResponse
from contracts.values.ids import new_id
from tests.integration.gateway.conftest import Harness

PEER = new_id()
PATH = f"/v1/conversations/{PEER}/messages"
UNCHANGED = GetMessagesResponse(unchanged=True, position=Position.at("MESSAGING", 9).encode())


def page(version: str, text: str, *, more: bool = False) -> GetMessagesResponse:
    items = msgspec.json.encode([{"sequence": 3, "text": text}])
    position = Position.at("MESSAGING", 7).encode()
    return GetMessagesResponse(items=items, last=3, more=more, version=version, position=position)


def known(harness: Harness) -> str:
    request = harness.script.asked[-1][1]
    assert isinstance(request, GetMessagesRequest)
    return request.known


async def read(
    harness: Harness, answer: GetMessagesResponse, query: dict[str, int] | None = None, *, user_id: str = ""
) -> dict[str, object]:
    harness.script.answers = {"get_messages": answer}
    headers = {"authorization": f"Bearer {harness.token(user_id=user_id)}"}
    response = await harness.client.get(PATH, params=query or {}, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, object] = response.json()
    return body | {"position": harness.sealed.open(response.headers["vestnik-position"]).sequence("MESSAGING")}


async def test_a_page_is_shown_again_where_messaging_says_that_it_has_not_changed(harness: Harness) -> None:
    first = await read(harness, page("v1", "one", more=True))
    assert known(harness) == ""
    again = await read(harness, UNCHANGED)
    assert known(harness) == "v1"
    assert again == {**first, "position": 9}
    assert first["next"]
    assert (await read(harness, page("v2", "two")))["items"] == [{"sequence": 3, "text": "two"}]
    assert (await read(harness, UNCHANGED))["items"] == [{"sequence": 3, "text": "two"}]
    assert known(harness) == "v2"


async def test_nobody_is_shown_a_page_that_messaging_refuses(harness: Harness) -> None:
    await read(harness, page("v1", "secret"))
    for user_id in ("", new_id()):
        harness.script.answers = {"get_messages": NotFriends()}
        headers = {"authorization": f"Bearer {harness.token(user_id=user_id)}"}
        refused = await harness.client.get(PATH, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_friends")
        assert "secret" not in refused.text
    assert (await harness.client.get(PATH)).status_code == 401


@pytest.mark.parametrize("query", [{"limit": 20}, {"before": 9}, {"after": 1}])
async def test_another_page_is_asked_for_as_such(query: dict[str, int], harness: Harness) -> None:
    await read(harness, page("v1", "one"))
    await read(harness, page("", "other"), query)
    assert known(harness) == ""


async def test_a_page_of_another_conversation_is_not_mistaken_for_this_one(harness: Harness) -> None:
    await read(harness, page("v1", "one"))
    await read(harness, page("v1", "other"), user_id=new_id())
    assert known(harness) == ""


async def test_a_page_that_may_lack_something_is_not_kept(harness: Harness) -> None:
    await read(harness, page("", "one"))
    await read(harness, page("", "two"))
    assert known(harness) == ""


async def test_unchanged_is_no_answer_to_who_has_nothing(harness: Harness) -> None:
    harness.script.answers = {"get_messages": UNCHANGED}
    broken = await harness.client.get(PATH, headers=harness.signed_in)
    assert (broken.status_code, broken.json()["code"]) == (500, "internal")
