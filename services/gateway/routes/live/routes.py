"""Routes for live events: server-sent events and the WebSocket upgrade."""

from contracts.errors import Forbidden, Invalid, RateLimited, UpgradeRequired, Violation
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoBody,
    Request,
    Response,
)
from services.gateway.limits import policies
from services.gateway.routes.live.query import EventsQuery
from services.gateway.routes.live.sse import ServerSentEvents

MEDIA_TYPE = "text/event-stream"
_HEADERS = {"content-type": MEDIA_TYPE, "cache-control": "no-store", "x-accel-buffering": "no"}
_DESCRIPTION = """\
Server-sent events about the user of the token, in order and each once: `message.sent`, `message.edited`, \
`message.deleted`, `reaction.changed`, `message.seen`, `conversation.updated`, `friendship.created`, \
`friendship.accepted`, `friendship.removed`, `block.changed`, `profile.updated` of friends, `session.revoked`; with \
`notifications=true` also `notification.created` and `notification.read`. `data` is one JSON object, described at \
`/asyncapi.json`. More types may be added: ignore unknown ones.

`typing`, `conversation.updated` with a `draft` and, after `GET /v1/presence`, `presence` are ephemeral: they have no \
`id` and are not sent again after a reconnect.

`id` is a position. A client that reconnects with the last one (`Last-Event-ID`, which browsers send automatically, \
or `since`) misses nothing, with any gateway and after any time. Heartbeats advance it too. The `Vestnik-Position` of \
a list can also be used: load the list, then follow from there. Without a position the stream starts with new events.

The stream lasts as long as its session, even beyond the access token that opened it. When the session is revoked or \
expires, `session.revoked` is sent and the stream ends; after that the token is refused. After any other end, such as \
that of a client that reads too slowly, the client reconnects.
"""

_WEBSOCKET = """\
The token is sent in `Authorization` or, because browsers cannot set that, as the subprotocol `bearer.<token>` next \
to `vestnik.v1`; never in the URL. Messages are JSON texts, described at `/asyncapi.json`.

From the server: `{"event", "id", "data"}` as in `GET /v1/events`, with `heartbeat` for an advanced position; and \
`{"answer", "status", "position", "body"}`, where `answer` is the `id` of a command.

From the client: `{"id", "command", "user_id", "message_id", "body"}`; `command` is `send`, `edit`, `delete`, `react`, \
`remove_reaction`, `seen`, `typing`, `update_conversation` or `read_notifications`, and `body` that of the REST route, \
with its checks, limits, errors and position. Up to 32 commands may be in flight; each is answered when it is done.
"""


async def follow(incoming: Request[EventsQuery, NoBody]) -> Response:
    live, query = incoming.context.live, incoming.query
    # A browser that reconnects still has `since` in the URL; the header holds the later position.
    last = incoming.headers.get("last-event-id")
    try:
        beginning = await live.prepare(
            incoming.caller, last or query.since, incoming.call.position, notified=query.notifications
        )
    except Invalid as error:
        if not last:
            raise
        raise Invalid(error.detail, violations=(Violation("/header/Last-Event-ID", "Not a position"),)) from error
    return Response(stream=ServerSentEvents(live, beginning), headers=_HEADERS)


async def upgrade(incoming: Request[EventsQuery, NoBody]) -> Response:
    """Answers a request without an upgrade; services/gateway/routes/live/websocket.py serves the others."""
    raise UpgradeRequired


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/events",
        tag="Live",
        summary="Live events",
        description=_DESCRIPTION,
        handler=follow,
        query=EventsQuery,
        body=NoBody,
        answers={
            200: DocumentedResponse(
                description="An endless stream of events.",
                media_type=MEDIA_TYPE,
                headers=("Cache-Control", "X-Accel-Buffering"),
            )
        },
        errors=(RateLimited,),
        limits=(AppliedLimit(limit=policies.LIVE_ADDRESS), AppliedLimit(limit=policies.LIVE)),
        request_headers=("Last-Event-ID",),
    ),
    Endpoint(
        method="GET",
        path="/v1/ws",
        tag="Live",
        summary="Live events and commands over a WebSocket",
        description=_WEBSOCKET,
        handler=upgrade,
        query=EventsQuery,
        body=NoBody,
        answers={101: DocumentedResponse(description="The connection is a WebSocket from now on.")},
        errors=(UpgradeRequired, Forbidden, RateLimited),
        limits=(AppliedLimit(limit=policies.LIVE_ADDRESS), AppliedLimit(limit=policies.LIVE)),
    ),
)
