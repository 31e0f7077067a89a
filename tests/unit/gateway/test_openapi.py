"""The OpenAPI document: complete, consistent in itself, and true to the public interface."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from contracts.errors import BY_CODE
from services.gateway import openapi
from services.gateway.table import ENDPOINTS

DOCUMENT = msgspec.json.decode(msgspec.json.encode(openapi.document(ENDPOINTS)))

# Every route of the public interface with its success statuses and its own error codes.
OPERATORS = {"not_an_operator", "not_found"}
ROUTES: dict[str, tuple[set[int], set[str]]] = {
    "POST /v1/users": ({201}, {"username_taken"}),
    "POST /v1/users/verify-email": ({204}, {"token_expired", "invalid_token", "password_required"}),
    "POST /v1/users/verify-email/registration": ({200}, {"token_expired", "invalid_token"}),
    "POST /v1/users/verify-email/not-me": ({204}, {"token_expired", "invalid_token"}),
    "POST /v1/users/resend-verification": ({202}, set()),
    "GET /v1/users/me": ({200}, set()),
    "PUT /v1/users/me/password": ({204}, {"invalid_credentials"}),
    "POST /v1/users/password-reset": ({202}, set()),
    "POST /v1/users/password-reset/confirm": ({204}, {"token_expired", "invalid_token"}),
    "POST /v1/sessions": ({201}, {"invalid_credentials", "email_not_verified"}),
    "POST /v1/sessions/refresh": ({200}, {"invalid_refresh_token", "refresh_token_reused"}),
    "POST /v1/browser/sessions": ({201}, {"invalid_credentials", "email_not_verified"}),
    "POST /v1/browser/sessions/refresh": ({200}, {"invalid_refresh_token", "refresh_token_reused", "forbidden"}),
    "DELETE /v1/browser/sessions/current": ({204}, {"session_not_found"}),
    "GET /v1/sessions": ({200}, set()),
    "GET /v1/sessions/history": ({200}, set()),
    "DELETE /v1/sessions/{session_id}": ({204}, {"session_not_found"}),
    "DELETE /v1/sessions/current": ({204}, {"session_not_found"}),
    "DELETE /v1/sessions": ({204}, set()),
    "GET /v1/profiles/{user_id}": ({200, 304}, {"profile_not_found"}),
    "GET /v1/profiles/me": ({200, 304}, {"profile_not_found"}),
    "GET /v1/profiles": ({200}, set()),
    "PATCH /v1/profiles/me": ({200}, {"stale_profile"}),
    "PUT /v1/friends/{user_id}": (
        {200, 201},
        {"user_not_found", "self_friendship", "request_too_soon", "too_many_pending_requests"},
    ),
    "DELETE /v1/friends/{user_id}": ({204}, set()),
    "GET /v1/friends": ({200}, set()),
    "POST /v1/conversations/{user_id}/messages": (
        {200, 201},
        {"not_friends", "user_not_found", "client_message_id_reused"},
    ),
    "GET /v1/conversations/{user_id}/messages": ({200}, {"not_friends"}),
    "PUT /v1/conversations/{user_id}/seen": ({204}, {"not_friends", "message_not_found"}),
    "GET /v1/conversations": ({200}, set()),
    "GET /v1/notifications": ({200}, set()),
    "GET /v1/events": ({200}, {"rate_limited"}),
    "GET /v1/ws": ({101}, {"upgrade_required", "forbidden", "rate_limited"}),
    "GET /v1/notifications/unread": ({200}, set()),
    "POST /v1/notifications/read": ({204}, set()),
    "GET /v1/ops/status": ({200}, OPERATORS),
    "GET /v1/ops/events": ({200}, OPERATORS),
    "GET /v1/ops/session-events": ({200}, OPERATORS),
    "GET /v1/ops/dead-letters": ({200}, OPERATORS),
    "GET /v1/ops/dead-letter": ({200}, OPERATORS),
    "POST /v1/ops/dead-letters/retry": ({200}, OPERATORS),
    "POST /v1/ops/dead-letters/discard": ({200}, OPERATORS),
    "GET /healthz": ({200}, set()),
    "GET /readyz": ({200, 503}, set()),
    "GET /metrics": ({200}, set()),
    "GET /openapi.json": ({200}, set()),
    "GET /docs": ({200}, set()),
    "GET /dev/mail": ({200}, {"not_found"}),
    "GET /.well-known/jwks.json": ({200}, set()),
}
PUBLIC = {
    "POST /v1/users",
    "POST /v1/users/verify-email",
    "POST /v1/users/verify-email/registration",
    "POST /v1/users/verify-email/not-me",
    "POST /v1/users/resend-verification",
    "POST /v1/users/password-reset",
    "POST /v1/users/password-reset/confirm",
    "POST /v1/sessions",
    "POST /v1/sessions/refresh",
    "POST /v1/browser/sessions",
    "POST /v1/browser/sessions/refresh",
    "GET /v1/profiles/{user_id}",
}


def operation(route: str) -> dict[str, Any]:
    method, path = route.split(" ")
    found: dict[str, Any] = DOCUMENT["paths"][path][method.lower()]
    return found


def codes(described: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for answer in described["responses"].values():
        for schema in answer.get("content", {}).get("application/problem+json", {}).values():
            found |= set(schema["allOf"][1]["properties"]["code"]["enum"])
    return found


def test_nothing_but_the_public_interface_is_described() -> None:
    described = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == set(ROUTES) | {"GET /docs/docs.js", "GET /docs/docs.css"}


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_is_described_with_its_statuses_and_codes(route: str) -> None:
    described, (successes, own_codes) = operation(route), ROUTES[route]

    assert {int(status) for status in described["responses"] if int(status) < 400} | (successes & {503}) == successes
    assert own_codes <= codes(described) <= set(BY_CODE)
    if route.split(" ")[1].startswith("/v1/"):
        assert {"invalid", "unavailable"} <= codes(described)
        assert ("unauthenticated" not in codes(described)) == (route in PUBLIC)
        assert ({} in described["security"]) == (route in PUBLIC)
    if "requestBody" in described:
        assert {"malformed_json", "body_too_large", "unsupported_media_type"} <= codes(described)


def test_every_reference_leads_somewhere_and_every_pattern_is_portable() -> None:
    for key, value in walk(DOCUMENT):
        if key == "$ref":
            at: Any = DOCUMENT
            for step in value.removeprefix("#/").split("/"):
                at = at[step]
        if key == "pattern":
            assert r"\Z" not in value
            re.compile(value)


def test_operations_have_names_of_their_own_and_all_path_parameters() -> None:
    names = []
    for path, methods in DOCUMENT["paths"].items():
        for described in methods.values():
            names.append(described["operationId"])
            declared = {each["name"] for each in described["parameters"] if each["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))
    assert len(names) == len(set(names))


def walk(at: object) -> Iterator[tuple[str, Any]]:
    if isinstance(at, dict):
        for key, value in at.items():
            yield key, value
            yield from walk(value)
    elif isinstance(at, list):
        for value in at:
            yield from walk(value)
