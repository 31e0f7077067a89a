"""What the gateway refuses, and in which words: every error is a problem document with a stable code."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from contracts import errors
from contracts.errors import VestnikError, Violation
from contracts.rpc.vestnik.auth.v1 import LoginRequest, LoginResponse, RegisterResponse, User
from contracts.rpc.vestnik.session.v1 import Tokens
from contracts.values.ids import is_id
from tests.integration.gateway.conftest import Harness

PEER = "01890a5d-ac96-774b-bcce-b302099a8057"
MESSAGES = f"/v1/conversations/{PEER}/messages"
JSON = {"content-type": "application/json"}


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"/problems/{code}")
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == answer.request.url.path


@pytest.mark.parametrize(
    "raw", [b"\xff", b'{"text": "\xed\xa0\x80", "client_message_id": "a"}', b"", b"{", b'{"text":NaN}']
)
async def test_a_body_that_is_not_json_is_malformed(raw: bytes, harness: Harness) -> None:
    answer = await harness.client.post(MESSAGES, content=raw, headers={**harness.signed_in, **JSON})

    assert_problem(answer, 400, "malformed_json")


async def test_a_body_of_the_wrong_shape_says_where_it_is_wrong(harness: Harness) -> None:
    cases: dict[str, object] = {
        "/text": {"text": 1, "client_message_id": "a"},
        "/client_message_id": {"text": "a"},
        "/extra": {"text": "a", "client_message_id": "a", "extra": 1},
        "": [1],
    }
    for path, body in cases.items():
        answer = await harness.client.post(MESSAGES, json=body, headers=harness.signed_in)
        assert_problem(answer, 422, "invalid")
        assert [error["path"] for error in answer.json()["errors"]] == [path]
    for body in (
        {"text": "", "client_message_id": "a"},
        {"text": "x" * 4001, "client_message_id": "a"},
        {"text": "nul\0", "client_message_id": "a"},
        {"text": "a", "client_message_id": "no spaces"},
        {"text": "a", "client_message_id": "line\n"},
    ):
        answer = await harness.client.post(MESSAGES, json=body, headers=harness.signed_in)
        assert_problem(answer, 422, "invalid")


async def test_deep_nesting_does_no_harm(harness: Harness) -> None:
    for raw in (b"[" * 30_000 + b"]" * 30_000, b'{"text":' + b"[" * 30_000 + b"]" * 30_000 + b"}"):
        answer = await harness.client.post(MESSAGES, content=raw, headers={**harness.signed_in, **JSON})
        assert_problem(answer, 422, "invalid")


async def test_json_that_goes_wrong_behind_the_first_wrong_value_is_malformed(harness: Harness) -> None:
    answer = await harness.client.post(MESSAGES, content=b'{"text": 1, oops', headers={**harness.signed_in, **JSON})

    assert_problem(answer, 400, "malformed_json")


async def test_a_body_over_64_kib_is_refused_declared_or_not(harness: Harness) -> None:
    async def streamed() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    headers = {**harness.signed_in, **JSON}
    assert_problem(await harness.client.post(MESSAGES, content=b" " * 65_537, headers=headers), 413, "body_too_large")
    assert_problem(await harness.client.post(MESSAGES, content=streamed(), headers=headers), 413, "body_too_large")
    assert_problem(await harness.client.post(MESSAGES, content=b" " * 65_536, headers=headers), 400, "malformed_json")
    bodyless = await harness.client.request("PUT", f"/v1/friends/{PEER}", content=b" " * 65_537, headers=headers)
    assert_problem(bodyless, 413, "body_too_large")


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=latin-1", ""])
async def test_another_content_type_is_refused(content_type: str, harness: Harness) -> None:
    headers = {**harness.signed_in, "content-type": content_type}

    assert_problem(await harness.client.post(MESSAGES, content=b"{}", headers=headers), 415, "unsupported_media_type")


async def test_unknown_paths_and_unknown_methods_have_different_errors(harness: Harness) -> None:
    for path in ("/nothing", "/v1", "/v1/nothing", "/v1/users/", "/v1/events/", "/v1/profiles/a/b"):
        assert_problem(await harness.client.get(path), 404, "not_found")
    assert (await harness.client.get(f"{MESSAGES}%0A")).json()["code"] == "not_found"
    answer = await harness.client.put("/v1/users/me")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "DELETE, GET, HEAD"
    assert (await harness.client.post("/v1/sessions/current")).headers["allow"] == "DELETE"


async def test_ids_that_are_none_lead_nowhere(harness: Harness) -> None:
    for method, path, status, code in (
        ("GET", "/v1/profiles/nobody", 404, "profile_not_found"),
        ("PUT", "/v1/friends/nobody", 404, "user_not_found"),
        ("DELETE", "/v1/friends/%00", 404, "user_not_found"),
        ("DELETE", "/v1/sessions/nothing", 404, "session_not_found"),
        ("GET", "/v1/conversations/%F0%9F%91%8B/messages", 403, "not_friends"),
    ):
        answer = await harness.client.request(method, path, headers=harness.signed_in)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=", "limit=1&limit=2", "cursor=%00"])
async def test_query_parameters_out_of_bounds_are_named(query: str, harness: Harness) -> None:
    answer = await harness.client.get(f"/v1/conversations?{query}", headers=harness.signed_in)

    assert_problem(answer, 422, "invalid")
    assert answer.json()["errors"][0]["path"] == "/query/" + query.split("=")[0]


async def test_a_position_that_is_none_is_named(harness: Harness) -> None:
    headers = {**harness.signed_in, "vestnik-position": "§".encode("latin-1").decode("latin-1")}
    answer = await harness.client.get("/v1/conversations", headers=httpx.Headers(headers, encoding="latin-1"))

    assert_problem(answer, 422, "invalid")
    assert answer.json()["errors"][0]["path"] == "/header/Vestnik-Position"


async def test_a_password_has_eight_characters_and_no_more_bytes_than_there_may_be(harness: Harness) -> None:
    harness.script.answers = {"register": RegisterResponse(user=User(user_id=PEER))}
    for password, status in (("я" * 8, 201), ("я" * 512, 201), ("я" * 513, 422), ("я" * 7, 422), ("x" * 1_025, 422)):
        body = {"email": "anna@example.org", "username": "anna", "password": password}
        answer = await harness.client.post("/v1/users", json=body)
        assert answer.status_code == status
        if status == 422:
            assert answer.json()["errors"][0]["path"] == "/password"


async def test_every_error_of_a_service_reaches_the_client_with_its_code(
    harness: Harness, subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is unavailable is asked for again until then: right before another attempt, which could be cut off.
    monkeypatch.setattr("services.gateway.clients.REQUEST", 1.1)
    for code, kind in errors.BY_CODE.items():
        if kind is errors.Unauthenticated:
            continue  # from a service it means the gateway's own token: clients get 503
        with subtests.test(code):
            harness.script.answers = {"mark_seen": kind(violations=(Violation("/sequence", "too far"),))}
            answer = await harness.client.put(
                f"/v1/conversations/{PEER}/seen", json={"sequence": 1}, headers=harness.signed_in
            )
            assert_problem(answer, kind.status, code)
            assert answer.headers.get("retry-after") == ("1" if kind.status in (503, 504) else None)
            if kind.status == 401:
                assert answer.headers["www-authenticate"] == "Bearer"


async def test_an_error_inside_shows_nothing_of_itself(harness: Harness) -> None:
    harness.script.answers = {"get_user": RuntimeError("SELECT secret FROM 10.0.0.1")}

    answer = await harness.client.get("/v1/users/me", headers=harness.signed_in)

    assert_problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert answer.json()["detail"] == VestnikError().detail


async def test_a_service_that_is_down_makes_its_own_routes_unavailable(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Right before another attempt, which could be cut off.
    monkeypatch.setattr("services.gateway.clients.READ_SECONDS", 1.1)
    await harness.servers["auth"].drain(0)

    assert_problem(await harness.client.get("/v1/users/me", headers=harness.signed_in), 503, "unavailable")
    async with asyncio.timeout(60):
        while (ready := await harness.client.get("/readyz")).status_code == 200:
            await asyncio.sleep(0.05)
    assert ready.json()["missing"] == ["auth"]
    assert (await harness.client.get("/healthz")).status_code == 200


async def test_a_change_of_the_address_that_may_have_been_requested_is_not_requested_again(
    harness: Harness,
) -> None:
    harness.script.answers["request_email_change"] = errors.Unavailable(retry_after=1)
    wanted = {"email": "new@example.org", "password": "correct horse"}
    answer = await harness.client.put("/v1/users/me/email", json=wanted, headers=harness.signed_in)
    assert_problem(answer, 503, "unavailable")
    assert [method for method, *_ in harness.script.asked] == ["request_email_change"]


async def test_a_login_is_repeated_as_the_same_session_and_never_with_a_code_which_is_good_once(
    harness: Harness,
) -> None:
    answers: list[Exception | LoginResponse] = []

    async def next_answer() -> LoginResponse:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    harness.script.answers["login"] = next_answer
    for body, status in (({}, 201), ({"totp": "123456"}, 503)):
        harness.script.asked.clear()
        answers[:] = [errors.Unavailable(), LoginResponse(tokens=Tokens(), device_token="known")]
        answer = await harness.client.post("/v1/sessions", json={"login": "anna", "password": "correct horse", **body})
        assert answer.status_code == status
        logins = [request for _, request, _ in harness.script.asked if isinstance(request, LoginRequest)]
        assert len(logins) == (2 if status == 201 else 1)
        assert len({login.session_id for login in logins}) == 1
        assert is_id(logins[0].session_id)


async def test_a_service_that_is_slow_is_not_waited_for_for_ever(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.clients.READ_SECONDS", 0.3)

    async def never() -> User:
        await asyncio.Event().wait()
        raise AssertionError

    harness.script.answers = {"get_user": never}

    assert_problem(await harness.client.get("/v1/users/me", headers=harness.signed_in), 504, "deadline_exceeded")


async def test_more_requests_than_can_run_at_once_are_refused_with_retry_after(harness: Harness) -> None:
    harness.context.load.most = 0

    answer = await harness.client.get("/v1/users/me", headers=harness.signed_in)

    assert_problem(answer, 503, "overloaded")
    assert answer.headers["retry-after"] == "1"


async def test_a_strange_request_id_is_replaced(harness: Harness) -> None:
    for request_id in ("a b", "x" * 129, "<script>"):
        answer = await harness.client.get("/healthz", headers={"x-request-id": request_id})
        assert answer.headers["x-request-id"] != request_id
    assert json.loads((await harness.client.get("/healthz")).text) == {"status": "ok"}
