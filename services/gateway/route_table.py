"""Table of all routes, and those of `/openapi.json` and `/asyncapi.json`."""

from dataclasses import replace
from functools import cache

import msgspec

from infra.submodules import submodules
from services.gateway.http.endpoint import (
    JSON,
    AnyEndpoint,
    AppliedLimit,
    NoBody,
    NoQuery,
    Request,
    Response,
)
from services.gateway.limits import policies
from services.gateway.openapi import asyncapi, document
from services.gateway.routes import (
    conversations,
    dev_mail,
    message_changes,
    messages,
    notifications,
    presence,
    profiles,
    reactions,
    reads,
    system,
    tree_heads,
)
from services.gateway.routes.accounts import (
    account_deletion,
    browser_sessions,
    data_exports,
    email_change,
    not_me,
    passwords,
    session_history,
    sessions,
    totp,
    users,
)
from services.gateway.routes.contacts import blocks, friends, reports
from services.gateway.routes.live import routes
from services.gateway.routes.operators import routes as ops


async def describe(incoming: Request[NoQuery, NoBody]) -> Response:
    return Response(body=_document(), headers={"content-type": JSON, "cache-control": "no-cache"})


async def describe_live(incoming: Request[NoQuery, NoBody]) -> Response:
    return Response(body=_live_document(), headers={"content-type": JSON, "cache-control": "no-cache"})


@cache
def _live_document() -> bytes:
    return msgspec.json.encode(asyncapi.document(ENDPOINTS))


@cache
def _document() -> bytes:
    return msgspec.json.encode(document.document(ENDPOINTS))


def _limited(endpoint: AnyEndpoint) -> AnyEndpoint:
    """The endpoint with its limits; those of its class if it declares none."""
    if endpoint.limits:
        return endpoint
    of_class = policies.of_class(public=endpoint.public, writes=endpoint.writes)
    return replace(endpoint, limits=tuple(AppliedLimit(limit=limit) for limit in of_class))


_DECLARED: tuple[AnyEndpoint, ...] = (
    *users.ROUTES,
    *account_deletion.ROUTES,
    *email_change.ROUTES,
    *data_exports.ROUTES,
    *passwords.ROUTES,
    *totp.ROUTES,
    *not_me.ROUTES,
    *sessions.ROUTES,
    *session_history.ROUTES,
    *browser_sessions.ROUTES,
    *profiles.ROUTES,
    *friends.ROUTES,
    *blocks.ROUTES,
    *reports.ROUTES,
    *messages.ROUTES,
    *message_changes.ROUTES,
    *reactions.ROUTES,
    *conversations.ROUTES,
    *presence.ROUTES,
    *notifications.ROUTES,
    *(route for module in submodules(reads) for route in module.ROUTES),
    *routes.ROUTES,
    *ops.ROUTES,
    *system.ROUTES,
    *tree_heads.ROUTES,
    *dev_mail.ROUTES,
    system.operation(
        "/openapi.json",
        "This description",
        describe,
        answers=system.document_of("An OpenAPI 3.1 document.", JSON),
    ),
    system.operation(
        "/asyncapi.json",
        "Schemas of the live interface",
        describe_live,
        answers=system.document_of("An AsyncAPI 3.0 document.", JSON),
        description="Every event, command and answer of `GET /v1/events` and of the WebSocket.",
    ),
)

ENDPOINTS = tuple(_limited(endpoint) for endpoint in _DECLARED)
