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
Server-sent events about the user of the token, in order and each once: `message.sent`, `message.seen`, \
`friendship.created`, `friendship.accepted`, `friendship.removed`, `profile.updated` of friends, `session.revoked`; \
with `notifications=true` also `notification.created` and `notification.read`. `data` is one JSON object, described \
at `/asyncapi.json`. More types may come: ignore those that you do not know.

`id` is a position. A client that comes again with the last one (`Last-Event-ID`, which browsers send by themselves, \
or `since`) misses nothing, through whichever gateway and however long it was away. Heartbeats move it on too. The \
`Vestnik-Position` of a list does as well: load the list, then follow from there. Without a position it begins now.

The stream lives as long as its session, also beyond the access token that opened it. When the session is revoked or \
runs out, `session.revoked` comes and the stream ends; then the token is refused. Every other end, such as of a client \
that takes its events too slowly, is one to come again from.
"""

_WEBSOCKET = """\
The token comes in `Authorization`, or, since browsers cannot set that, as the subprotocol `bearer.<token>` beside \
`vestnik.v1`; never in the address. Messages are JSON texts, described at `/asyncapi.json`.

Down: `{"event", "id", "data"}` as in `GET /v1/events`, with `heartbeat` for a position that moved on; and \
`{"answer", "status", "position", "body"}`, where `answer` is the `id` of a command.

Up: `{"id", "command", "user_id", "body"}`; `command` is `send`, `seen` or `read_notifications`, and `body` that of \
the REST route, with its checks, limits, errors and position. Up to 32 may be at work at once; they are answered as \
they are done.
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
        summary="What happens, as it happens",
        description=_DESCRIPTION,
        handler=follow,
        query=EventsQuery,
        body=NoBody,
        answers={
            200: DocumentedResponse(
                description="Events, without an end.",
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
        summary="The same over a WebSocket, with commands upward",
        description=_WEBSOCKET,
        handler=upgrade,
        query=EventsQuery,
        body=NoBody,
        answers={101: DocumentedResponse(description="The connection is a WebSocket from here on.")},
        errors=(UpgradeRequired, Forbidden, RateLimited),
        limits=(AppliedLimit(limit=policies.LIVE_ADDRESS), AppliedLimit(limit=policies.LIVE)),
    ),
)
