"""The table of all routes, with the one that describes the others."""

from functools import cache

import msgspec

from services.gateway import openapi
from services.gateway.endpoints import JSON, Answer, AnyEndpoint, Endpoint, Incoming, NoBody, NoQuery, Reply
from services.gateway.routes import conversations, friends, messages, meta, notifications, profiles, sessions, users


async def describe(incoming: Incoming[NoQuery, NoBody]) -> Reply:
    return Reply(body=_document(), headers={"content-type": JSON, "cache-control": "no-cache"})


@cache
def _document() -> bytes:
    return msgspec.json.encode(openapi.document(ENDPOINTS))


ENDPOINTS: tuple[AnyEndpoint, ...] = (
    *users.ROUTES,
    *sessions.ROUTES,
    *profiles.ROUTES,
    *friends.ROUTES,
    *messages.ROUTES,
    *conversations.ROUTES,
    *notifications.ROUTES,
    *meta.ROUTES,
    Endpoint(
        method="GET",
        path="/openapi.json",
        tag="Operation",
        summary="This description",
        handler=describe,
        query=NoQuery,
        body=NoBody,
        answers={200: Answer(description="An OpenAPI 3.1 document.", media_type=JSON)},
        public=True,
    ),
)
