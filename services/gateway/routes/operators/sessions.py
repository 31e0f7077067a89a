"""Routes of who logged in and how sessions ended, and of ending one."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import SessionNotFound
from contracts.rpc.vestnik.operator.v1 import EndSessionRequest, ListSessionEventsRequest
from contracts.values.field_types import Id
from services.gateway.http.endpoint import AnyEndpoint, NoBody, NoQuery, Request, Response
from services.gateway.routes.operators.operator_route import (
    Limit,
    Since,
    Time,
    Until,
    operator_client,
    operator_route,
    reply,
)


class SessionEvent(msgspec.Struct, frozen=True, kw_only=True):
    at: Time
    event: str
    user_id: Annotated[str | None, Meta(description="null: a failed login that no account has.")]
    username: str | None
    session_id: Annotated[str | None, Meta(description="null: a failed login.")]
    device: str | None
    address: str | None
    reason: Annotated[
        str | None, Meta(description="Why the session ended, or why the login failed; null for other events.")
    ]
    count: Annotated[int | None, Meta(description="How many failed logins it stands for; null for other events.")]
    new_device: Annotated[
        bool | None,
        Meta(description="Whether the login came without the `device_token` of an earlier one; null: a failed login."),
    ]
    second_factor: Annotated[
        bool | None,
        Meta(description="Whether it proved a second factor, also earlier on the same device; null: a failed login."),
    ]


class EndedSession(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    user_id: str


class SessionEvents(msgspec.Struct, frozen=True, kw_only=True):
    items: list[SessionEvent]
    older: Annotated[str | None, Meta(description="For `before`: the position of older ones; null if there are none.")]
    unreadable: Annotated[
        bool, Meta(description="Whether some events could not be applied, so that entries may be missing.")
    ]


class LoginsQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 100
    user: Annotated[str, Meta(max_length=64, description="Only this user: a username or an id.")] = ""
    since: Since = ""
    until: Until = ""
    refreshes: Annotated[bool, Meta(description="Refreshes too.")] = False
    failures: Annotated[bool, Meta(description="Failed logins too.")] = False
    address: Annotated[str, Meta(max_length=64, description="Only from this IP address or network.")] = ""
    device: Annotated[str, Meta(max_length=100, description="Only devices whose description contains this.")] = ""
    reason: Annotated[
        str, Meta(max_length=32, description="Only ends, and failed logins, for this reason; `operator`: any operator.")
    ] = ""
    session: Annotated[str, Meta(max_length=36, description="Only this session.")] = ""
    before: Annotated[str, Meta(max_length=256, description="`older` of the previous page.")] = ""


class EndSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    session_id: Id
    reason: Annotated[
        str, Meta(min_length=1, max_length=200, description="Recorded permanently, with the operator's name.")
    ]


async def session_events(incoming: Request[LoginsQuery, NoBody]) -> Response:
    operator, query = operator_client(incoming), incoming.query
    request = ListSessionEventsRequest(
        user_id=incoming.caller.user_id,
        user=query.user,
        since=query.since,
        until=query.until,
        refreshes=query.refreshes,
        limit=query.limit,
        before=query.before,
        failures=query.failures,
        address=query.address,
        device=query.device,
        reason=query.reason,
        session_id=query.session,
    )
    return reply(await operator.command(operator.stub.list_session_events, request, repeatable=True), SessionEvents)


async def end_session(incoming: Request[NoQuery, EndSession]) -> Response:
    operator, body = operator_client(incoming), incoming.body
    request = EndSessionRequest(user_id=incoming.caller.user_id, session_id=body.session_id, reason=body.reason)
    return reply(await operator.command(operator.stub.end_session, request, repeatable=False), EndedSession)


ROUTES: tuple[AnyEndpoint, ...] = (
    operator_route(
        "GET",
        "session-events",
        "Who logged in, and how sessions ended",
        session_events,
        LoginsQuery,
        NoBody,
        SessionEvents,
        "Newest first, from the read models `session_audit` and `login_failures`; `vestnik audit sessions` reads the "
        "streams. Each view is recorded with its operator.",
    ),
    operator_route(
        "POST",
        "sessions/end",
        "The ended session",
        end_session,
        NoQuery,
        EndSession,
        EndedSession,
        "All gateways refuse its tokens within a second. Recorded with the reason and the operator's name.",
        (SessionNotFound,),
    ),
)
