"""Behaviour common to all routes: problems, headers, bodies, content types, pages."""

import asyncio
import base64
import json
from uuid import uuid4

import httpx
import pytest

from contracts.values.ids import is_id
from tests.e2e.people import Api, assert_problem
from tests.fix_system import one_replica

pytestmark = one_replica

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v1/nothing", "/v2/users", "/v1/users/", "/v1/conversations", "/%00"]
)
async def test_an_unknown_path_is_not_found(api: Api, path: str) -> None:
    person = await api.person()
    if path == "/v1/conversations":
        path += "/a/b/c"
    assert_problem(await person.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/users"),
        ("PUT", "/v1/users/me"),
        ("PUT", "/v1/sessions"),
        ("POST", "/v1/profiles/me"),
        ("POST", "/v1/friends"),
        ("POST", "/openapi.json"),
    ],
)
async def test_a_wrong_method_is_named_with_the_right_ones(api: Api, method: str, path: str) -> None:
    response = await api.http.request(method, path)
    assert_problem(response, 405, "method_not_allowed")
    assert method not in response.headers["Allow"].split(", ")


@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b'{"email": "a\xff"}', b"\x00"])
async def test_what_is_not_json_is_refused(api: Api, body: bytes) -> None:
    response = await api.http.post("/v1/users", content=body, headers=JSON)
    assert_problem(response, 400, "malformed_json")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"{}", b"1e999", b"[" * 30_000])
async def test_json_of_another_shape_is_not_valid(api: Api, body: bytes) -> None:
    response = await api.http.post("/v1/users", content=body, headers=JSON)
    assert response.status_code in {400, 422}
    assert response.json()["code"] in {"malformed_json", "invalid"}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"])
async def test_another_content_type_is_refused(api: Api, kind: str) -> None:
    content = json.dumps(api.registration())
    response = await api.http.post("/v1/users", content=content, headers={"Content-Type": kind})
    assert_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
async def test_the_content_type_may_be_written_otherwise(api: Api, kind: str) -> None:
    content = json.dumps(api.registration())
    response = await api.http.post("/v1/users", content=content, headers={"Content-Type": kind})
    assert response.status_code == 201


async def test_a_body_of_64_kib_is_read_and_a_larger_one_is_not(api: Api) -> None:
    content = json.dumps(api.registration()).encode()
    largest = content + b" " * (64 * 1024 - len(content))
    assert (await api.http.post("/v1/users", content=largest, headers=JSON)).status_code == 201
    assert_problem(await api.http.post("/v1/users", content=largest + b" ", headers=JSON), 413, "body_too_large")


async def test_a_body_that_does_not_say_its_size_is_cut_off_at_the_same_limit(api: Api) -> None:
    async def pieces() -> object:
        for _ in range(100):
            yield b" " * 1024

    response = await api.http.post("/v1/users", content=pieces(), headers=JSON)  # type: ignore[arg-type]  # an async iterator of bytes
    assert_problem(response, 413, "body_too_large")


async def test_an_unknown_field_is_refused(api: Api) -> None:
    anna, boris = await api.friends()
    body = {"text": "x", "client_message_id": "c", "priority": 1}
    response = await anna.ask("POST", f"/v1/conversations/{boris.user_id}/messages", json=body)
    assert_problem(response, 422, "invalid")


async def test_every_response_has_a_request_id_of_its_own(api: Api) -> None:
    paths = ["/healthz", "/openapi.json", "/v1/users/me", "/nothing"]
    answers = [await api.http.get(path) for path in paths]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert all(ids)


async def test_a_sane_request_id_is_kept_and_another_is_not(api: Api) -> None:
    sane = f"my-request_{uuid4().hex}"
    response = await api.http.get("/healthz", headers={"X-Request-Id": sane})
    assert response.headers["X-Request-Id"] == sane
    for wild in ("x" * 1000, "two words", "<script>"):
        response = await api.http.get("/healthz", headers={"X-Request-Id": wild})
        assert response.headers["X-Request-Id"] != wild


async def test_the_request_id_is_in_the_events_it_caused(api: Api) -> None:
    anna, boris = await api.friends()
    tag = f"request-{uuid4().hex}"
    body = {"text": "traced", "client_message_id": "c"}
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"X-Request-Id": tag, "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    sent = await anna.ask("POST", f"/v1/conversations/{boris.user_id}/messages", json=body, headers=headers)
    shown = await asyncio.to_thread(
        api.system.vestnik, "events", "--json", "--id", sent.json()["conversation_id"], "--type", "message.sent"
    )
    assert shown.returncode == 0, shown.stderr
    (event,) = [json.loads(line) for line in shown.stdout.splitlines()]
    # Ours, which nobody else can choose, and beside it the client's.
    assert is_id(event["correlation_id"])
    assert event["request_id"] == tag
    assert event["actor"] == anna.user_id
    assert event["traceparent"].split("-")[1] == trace


async def test_a_page_has_a_limit_and_an_opaque_cursor(api: Api) -> None:
    person = await api.person()
    for path in ("/v1/sessions", "/v1/friends", "/v1/conversations", "/v1/notifications"):
        for query in ({"limit": "0"}, {"limit": "201"}, {"limit": "many"}, {"cursor": "not-a-cursor!"}):
            assert_problem(await person.get(path, params=query), 422, "invalid")
        assert (await person.get(path, params={"limit": "200"})).status_code == 200


async def test_a_cursor_made_by_hand_is_refused_by_every_list(api: Api) -> None:
    person = await api.person()
    time = "2026-01-01T00:00:00Z"
    for path, key, second in [
        ("/v1/sessions", "at", "id"),
        ("/v1/friends", "since", "friend_id"),
        ("/v1/conversations", "activity_at", "peer_id"),
        ("/v1/notifications", "at", "notification_id"),
        ("/v1/profiles?query=a", "term", "user_id"),
    ]:
        forged = [{key: time, second: wrong} for wrong in ("x", "", "\0", f"{person.user_id}x", 1)]
        forged += [{key: "\0", second: person.user_id}, {}]
        for cursor in forged:
            text = base64.urlsafe_b64encode(json.dumps(cursor).encode()).rstrip(b"=").decode()
            answer = await person.get(path, params=httpx.URL(path).params.set("cursor", text))
            problem = assert_problem(answer, 422, "invalid")
            assert [error["path"] for error in problem["errors"]] == ["/query/cursor"], path


async def test_what_is_no_id_is_nobodys(api: Api) -> None:
    person = await api.person()
    body = {"text": "x", "client_message_id": "c"}
    for wrong in ("x", "%F0%9F%A6%89", "%00", "x" * 2000, person.user_id.upper() + "0"):
        messages = f"/v1/conversations/{wrong}/messages"
        for answer, statuses in [
            (await person.get(messages), {403, 404}),
            (await person.ask("POST", messages, json=body), {404}),
            (await person.ask("PUT", f"/v1/friends/{wrong}"), {404}),
            (await person.get(f"/v1/profiles/{wrong}"), {404}),
            (await person.ask("DELETE", f"/v1/sessions/{wrong}"), {404}),
        ]:
            assert answer.status_code in statuses, f"{answer.request.method} {answer.request.url}: {answer.text}"


async def test_no_error_shows_an_internal(api: Api) -> None:
    person = await api.person()
    answers = [
        await api.http.post("/v1/users", content=b"{", headers=JSON),
        await person.get("/v1/nothing"),
        await person.ask("PUT", f"/v1/friends/{person.user_id}"),
        await person.get("/v1/friends", params={"cursor": "AAAA"}),
    ]
    for answer in answers:
        for internal in ("Traceback", "SELECT", "vestnik.", "127.0.0.1", "psycopg", "msgspec"):
            assert internal not in answer.text


async def test_the_public_pages_are_there_without_a_token(api: Api) -> None:
    for path, kind in [
        ("/healthz", ""),
        ("/readyz", ""),
        ("/metrics", "text/plain"),
        ("/openapi.json", "application/json"),
        ("/docs", "text/html"),
        ("/.well-known/jwks.json", "application/"),
        ("/.well-known/vestnik/heads", "application/json"),
    ]:
        response = await api.http.get(path)
        assert response.status_code == 200, path
        assert response.headers["Content-Type"].startswith(kind)


async def test_the_page_of_the_documentation_fetches_nothing_from_outside(api: Api) -> None:
    page = (await api.http.get("/docs")).text
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


async def test_one_bad_request_does_not_disturb_the_next(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.system.url, verify=False, timeout=60) as http:
        for _ in range(3):
            assert (await http.post("/v1/users", content=b" " * 70_000, headers=JSON)).status_code == 413
            assert (await http.post("/v1/users", json=api.registration())).status_code == 201
