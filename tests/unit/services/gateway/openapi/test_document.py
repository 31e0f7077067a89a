"""The OpenAPI document: complete, consistent in itself, and true to the public interface."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import msgspec
import pytest

from contracts.errors import BY_CODE
from contracts.values.field_types import Id
from infra.submodules import submodules
from services.gateway.http.endpoint import path_of
from services.gateway.openapi import document
from services.gateway.route_table import ENDPOINTS
from services.gateway.routes import reads

DOCUMENT = msgspec.json.decode(msgspec.json.encode(document.document(ENDPOINTS)))

# Every route of the public interface with its success statuses and its own error codes.
OPERATORS = {"not_an_operator", "not_found"}
LOGIN_ERRORS = {"invalid_credentials", "totp_required", "invalid_totp", "email_not_verified"}
ROUTES: dict[str, tuple[set[int], set[str]]] = {
    "POST /v1/users": ({201}, {"username_taken"}),
    "POST /v1/users/verify-email": (
        {204},
        {"token_expired", "invalid_token", "password_required", "invalid_credentials"},
    ),
    "POST /v1/users/verify-email/registration": ({200}, {"token_expired", "invalid_token"}),
    "POST /v1/users/verify-email/not-me": ({204}, {"token_expired", "invalid_token"}),
    "POST /v1/users/resend-verification": ({202}, set()),
    "GET /v1/users/me": ({200}, set()),
    "DELETE /v1/users/me": ({202}, {"invalid_credentials"}),
    "POST /v1/users/me/exports": ({202}, set()),
    "GET /v1/users/me/exports": ({200}, set()),
    "GET /v1/users/me/exports/{export_id}": (
        {200, 202},
        {"data_export_not_found", "data_export_expired", "data_export_failed"},
    ),
    "PUT /v1/users/me/email": ({202}, {"invalid_credentials"}),
    "POST /v1/users/undo-email-change": ({204}, {"token_expired", "invalid_token"}),
    "PUT /v1/users/me/password": ({204}, {"invalid_credentials"}),
    "POST /v1/users/me/totp": ({200}, {"invalid_credentials", "totp_already_on"}),
    "POST /v1/users/me/totp/confirm": ({200}, {"invalid_totp", "totp_not_begun"}),
    "DELETE /v1/users/me/totp": ({204}, {"invalid_credentials", "invalid_totp"}),
    "POST /v1/users/password-reset": ({202}, set()),
    "POST /v1/users/not-me": ({200}, {"token_expired", "invalid_token"}),
    "POST /v1/users/password-reset/confirm": ({204}, {"token_expired", "invalid_token"}),
    "POST /v1/sessions": ({201}, LOGIN_ERRORS),
    "POST /v1/sessions/refresh": ({200}, {"invalid_refresh_token", "refresh_token_reused"}),
    "POST /v1/browser/sessions": ({201}, LOGIN_ERRORS),
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
        {"user_not_found", "self_friendship", "blocked", "request_too_soon", "too_many_pending_requests"},
    ),
    "DELETE /v1/friends/{user_id}": ({204}, set()),
    "GET /v1/friends": ({200}, set()),
    "PUT /v1/blocks/{user_id}": ({204}, {"user_not_found", "self_block"}),
    "DELETE /v1/blocks/{user_id}": ({204}, {"user_not_found", "self_block"}),
    "GET /v1/blocks": ({200}, set()),
    "POST /v1/reports": ({202}, {"user_not_found", "message_not_found"}),
    "POST /v1/conversations/{user_id}/messages": (
        {200, 201},
        {"not_friends", "user_not_found", "message_not_found", "client_message_id_reused"},
    ),
    "PATCH /v1/conversations/{user_id}/messages/{message_id}": (
        {200},
        {"not_friends", "not_sender", "message_not_found", "message_deleted", "edit_window_over", "too_many_changes"},
    ),
    "DELETE /v1/conversations/{user_id}/messages/{message_id}": (
        {204},
        {"not_friends", "not_sender", "message_not_found", "edit_window_over"},
    ),
    "GET /v1/conversations/{user_id}/messages": ({200}, {"not_friends"}),
    "GET /v1/messages": ({200}, set()),
    "GET /v1/presence": ({200}, set()),
    "PUT /v1/conversations/{user_id}/typing": ({204}, {"not_friends"}),
    "PUT /v1/conversations/{user_id}/messages/{message_id}/reaction": (
        {204},
        {"not_friends", "message_not_found", "message_deleted", "too_many_changes"},
    ),
    "DELETE /v1/conversations/{user_id}/messages/{message_id}/reaction": (
        {204},
        {"not_friends", "message_not_found", "message_deleted"},
    ),
    "PUT /v1/conversations/{user_id}/seen": ({204}, {"not_friends", "message_not_found"}),
    "GET /v1/conversations": ({200}, set()),
    "GET /v1/conversations/unread": ({200}, set()),
    "PATCH /v1/conversations/{user_id}": ({204}, {"not_friends"}),
    "GET /v1/notifications": ({200}, set()),
    "GET /v1/events": ({200}, {"rate_limited"}),
    "GET /v1/ws": ({101}, {"upgrade_required", "forbidden", "rate_limited"}),
    "GET /v1/notifications/unread": ({200}, set()),
    "POST /v1/notifications/read": ({204}, set()),
    "GET /v1/ops/status": ({200}, OPERATORS),
    "GET /v1/ops/rates": ({200}, OPERATORS),
    "GET /v1/ops/events": ({200}, OPERATORS),
    "GET /v1/ops/session-events": ({200}, OPERATORS),
    "POST /v1/ops/sessions/end": ({200}, OPERATORS | {"session_not_found"}),
    "GET /v1/ops/operators": ({200}, OPERATORS),
    "GET /v1/ops/person": ({200}, OPERATORS),
    "GET /v1/ops/event": ({200}, OPERATORS),
    "GET /v1/ops/aggregate": ({200}, OPERATORS),
    "GET /v1/ops/dead-letters": ({200}, OPERATORS),
    "GET /v1/ops/dead-letter": ({200}, OPERATORS),
    "POST /v1/ops/dead-letters/retry": ({200}, OPERATORS),
    "POST /v1/ops/dead-letters/discard": ({200}, OPERATORS),
    "GET /v1/ops/anomalies": ({200}, OPERATORS),
    "GET /v1/ops/reports": ({200}, OPERATORS),
    "GET /v1/ops/report": ({200}, OPERATORS),
    "POST /v1/ops/reports/settle": ({200}, OPERATORS | {"report_settled"}),
    "GET /v1/ops/maintenance": ({200}, OPERATORS),
    "POST /v1/ops/maintenance": ({200}, OPERATORS | {"maintenance_under_way"}),
    "POST /v1/ops/maintenance/cancel": ({200}, OPERATORS),
    "POST /v1/ops/projections": ({200}, OPERATORS | {"maintenance_under_way"}),
    "GET /healthz": ({200}, set()),
    "GET /readyz": ({200, 503}, set()),
    "GET /metrics": ({200}, set()),
    "GET /openapi.json": ({200}, set()),
    "GET /asyncapi.json": ({200}, set()),
    "GET /docs": ({200}, set()),
    "GET /dev/mail": ({200}, {"not_found", "invalid"}),
    "GET /.well-known/jwks.json": ({200}, set()),
    "GET /.well-known/vestnik/heads": ({200}, {"not_found"}),
}
PUBLIC = {
    "POST /v1/users",
    "POST /v1/users/verify-email",
    "POST /v1/users/verify-email/registration",
    "POST /v1/users/verify-email/not-me",
    "POST /v1/users/resend-verification",
    "POST /v1/users/undo-email-change",
    "POST /v1/users/password-reset",
    "POST /v1/users/not-me",
    "POST /v1/users/password-reset/confirm",
    "POST /v1/sessions",
    "POST /v1/sessions/refresh",
    "POST /v1/browser/sessions",
    "POST /v1/browser/sessions/refresh",
    "GET /v1/profiles/{user_id}",
}

# Names that clients are generated with.
OPERATIONS = {
    "blocks_block",
    "blocks_list",
    "blocks_unblock",
    "browser_log_in",
    "browser_log_out",
    "browser_refresh",
    "conversations_count_unread",
    "conversations_list",
    "conversations_mark_seen",
    "conversations_update",
    "events_follow",
    "friends_add",
    "friends_list",
    "friends_remove",
    "messages_list",
    "messages_search",
    "messages_send",
    "notifications_count_unread",
    "notifications_list",
    "notifications_mark_read",
    "profiles_get",
    "profiles_get_me",
    "profiles_search",
    "profiles_update_me",
    "reports_report",
    "sessions_end_current",
    "sessions_end_one",
    "sessions_end_others",
    "sessions_list",
    "sessions_list_history",
    "sessions_log_in",
    "sessions_refresh",
    "system_describe",
    "system_describe_live",
    "system_health",
    "system_metrics",
    "system_ready",
    "users_change_password",
    "users_end_registration",
    "users_get_me",
    "users_get_registration",
    "users_register",
    "users_request_password_reset",
    "users_resend_verification",
    "users_reset_password",
    "users_verify_email",
    "ws_upgrade",
}


def operation(route: str) -> dict[str, Any]:
    method, path = route.split(" ")
    body: dict[str, Any] = DOCUMENT["paths"][path][method.lower()]
    return body


def codes(described: dict[str, Any]) -> set[str]:
    error_codes: set[str] = set()
    for status, shared in described["responses"].items():
        answer = resolved(shared)
        assert int(status) < 400 or "$ref" in shared or status in {"503"}, "routes share their errors"
        for schema in answer.get("content", {}).get("application/problem+json", {}).values():
            assert schema["$ref"] == "#/components/schemas/Problem"
            error_codes |= set(schema["properties"]["code"]["enum"])
    return error_codes


def resolved(described: dict[str, Any]) -> dict[str, Any]:
    target: Any = DOCUMENT if "$ref" in described else described
    for step in described.get("$ref", "").removeprefix("#/").split("/") if "$ref" in described else ():
        target = target[step]
    assert isinstance(target, dict)
    return target


def test_nothing_but_the_public_interface_is_described() -> None:
    described = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    shown = {f"{route.method} {route.path}" for module in submodules(reads) for route in module.ROUTES}
    assert described - shown == set(ROUTES) | {"GET /docs/docs.js", "GET /docs/docs.css"}


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_is_described_with_its_statuses_and_codes(route: str) -> None:
    described, (successes, own_codes) = operation(route), ROUTES[route]

    assert {int(status) for status in described["responses"] if int(status) < 400} | (successes & {503}) == successes
    assert own_codes <= codes(described) <= set(BY_CODE)
    if route.split(" ")[1].startswith("/v1/"):
        assert {"invalid", "unavailable"} <= codes(described)
        assert ("unauthenticated" not in codes(described)) == (route in PUBLIC)
        assert described["security"] == ([] if route in PUBLIC else [{"bearerAuth": []}])
    if "requestBody" in described:
        assert {"malformed_json", "body_too_large", "unsupported_media_type"} <= codes(described)


@pytest.mark.parametrize(
    ("path", "method", "status", "has_position"),
    [
        ("/v1/friends", "get", "200", True),
        ("/v1/friends/{user_id}", "put", "201", True),
        ("/v1/presence", "get", "200", False),
        ("/v1/conversations/{user_id}/typing", "put", "204", False),
    ],
)
def test_only_a_response_about_what_is_stored_has_a_position(
    path: str, method: str, status: str, has_position: bool
) -> None:
    assert ("Vestnik-Position" in DOCUMENT["paths"][path][method]["responses"][status]["headers"]) is has_position


def test_every_reference_leads_somewhere_and_every_pattern_is_portable() -> None:
    for key, value in walk(DOCUMENT):
        if key == "$ref":
            target: Any = DOCUMENT
            for step in value.removeprefix("#/").split("/"):
                target = target[step]
        if key == "pattern":
            assert r"\Z" not in value
            re.compile(value)


def test_operations_have_names_of_their_own_and_all_path_parameters() -> None:
    names = []
    for path, methods in DOCUMENT["paths"].items():
        for described in methods.values():
            names.append(described["operationId"])
            parameters = [resolved(parameter) for parameter in described["parameters"]]
            declared = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))
    assert len(names) == len(set(names))
    assert set(names) >= OPERATIONS, "names of operations are names of functions in generated clients: they stay"


class _Key(msgspec.Struct, frozen=True):
    day: date
    user_id: Id


def test_parameters_in_the_path_have_the_types_of_the_key() -> None:
    route = next(endpoint for endpoint in ENDPOINTS if endpoint.path == "/v1/friends" and endpoint.method == "GET")
    keyed = replace(route, path=path_of("/v1/days", _Key), path_types=_Key)
    assert keyed.path == "/v1/days/{day}/{user_id}"
    described = document.document([keyed])["paths"][keyed.path]["get"]["parameters"]
    schemas = {parameter["name"]: parameter["schema"] for parameter in described if parameter.get("in") == "path"}
    assert schemas["day"] == {"type": "string", "format": "date"}
    assert "pattern" in schemas["user_id"]


def test_a_response_that_routes_share_has_one_meaning() -> None:
    responses = DOCUMENT["components"]["responses"]
    assert len({msgspec.json.encode(response) for response in responses.values()}) == len(responses)
    for route in ROUTES:
        for status, shared in operation(route)["responses"].items():
            if "$ref" in shared:
                kinds = [BY_CODE[code] for code in codes({"responses": {status: shared}})]
                assert {kind.status for kind in kinds} == {int(status)}


def test_the_server_is_the_one_that_serves_the_document() -> None:
    assert [server["url"] for server in DOCUMENT["servers"]] == ["/"]


def walk(node: object) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)
