"""Route for the caller's session history: origin of each login, why each session ended, and failed logins."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.rpc.vestnik.auth.v1 import FailedLogin, ListFailedLoginsRequest
from contracts.rpc.vestnik.session.v1 import ListHistoryRequest, PastSession
from contracts.values.field_types import Id
from services.gateway.http.endpoint import AnyEndpoint, DocumentedResponse, Endpoint, NoBody, Request, Response
from services.gateway.http.query_params import PageQuery
from services.gateway.routes.timestamps import Time, shown

# In milliseconds: the longest time from the password to the code of one login, and how much later than it happened a
# failure may have been recorded without its own time.
_TWO_STEPS_MS = 600_000
_RECORDED_MS = 5_000


class PastSessionItem(msgspec.Struct, frozen=True):
    session_id: Id
    device: str
    address: Annotated[
        str, Meta(description="Network address of the login, as much of it as is recorded; may be empty.")
    ]
    created_at: Time
    last_refreshed_at: Time
    ended_at: Annotated[Time | None, Meta(description="null while the session is active.")]
    reason: Annotated[
        str | None,
        Meta(
            description="Why it ended: `logout`, `revoked_elsewhere`, `refresh_token_reused`, `password_changed`, "
            "`password_reset`, `not_me`, `expired`, `operator`; null while the session is active."
        ),
    ]
    current: Annotated[bool, Meta(description="Whether this is the session of the request.")]


class FailedAttempt(msgspec.Struct, frozen=True):
    at: Time
    reason: Annotated[
        str,
        Meta(
            description="`wrong_password`, also at a change of the password; `email_not_verified`, after the right "
            "password; `wrong_code`; `code_required`, unless a login from the same device and address followed within "
            "ten minutes; `rate_limited`, without a check."
        ),
    ]
    device: str
    address: Annotated[
        str,
        Meta(description="Network address, as much of it as is recorded; empty if none is, or if there were several."),
    ]
    count: Annotated[int, Meta(description="How many attempts these are; more than 1 after many in an hour.")]
    since: Annotated[Time, Meta(description="When the first of them happened.")]


class SessionHistory(msgspec.Struct, frozen=True):
    """A page of sessions, and the failed logins of the same time."""

    items: list[PastSessionItem]
    next: str | None
    failed_attempts: Annotated[
        list[FailedAttempt],
        Meta(
            description="Failed logins to the account between the page's sessions, and after them on the first page: "
            "the newest 50, newest first. They appear about a second after the attempt."
        ),
    ]


async def list_history(incoming: Request[PageQuery, NoBody]) -> Response:
    session, auth, query = incoming.context.remotes.session, incoming.context.remotes.auth, incoming.query
    request = ListHistoryRequest(user_id=incoming.caller.user_id, limit=query.limit, cursor=query.cursor)
    answer = await session.read(session.stub.list_history, request)
    failed = await auth.read(
        auth.stub.list_failed_logins,
        ListFailedLoginsRequest(user_id=incoming.caller.user_id, since=answer.since, before=answer.before),
    )
    items = [_past_item(past, incoming.caller.session_id) for past in answer.sessions]
    attempts = [
        _failed_attempt(failure)
        for failure in failed.failures
        if not is_first_step(failure, answer.sessions, answer.before)
    ]
    return Response(body=SessionHistory(items, answer.next or None, attempts), position=answer.position)


def is_first_step(failure: FailedLogin, sessions: Sequence[PastSession], before: int | None) -> bool:
    """Whether the attempt is the first step of a login with two-step verification, which brought no code yet.

    `before`: when the login after the page's newest one was, of which nothing else is known here.
    """

    def precedes(at: int) -> bool:
        return -_RECORDED_MS <= at - failure.since <= _TWO_STEPS_MS

    if failure.reason != "code_required" or failure.count > 1:
        return False
    return (before is not None and precedes(before)) or any(
        precedes(session.created_at) and (session.device, session.address) == (failure.device, failure.address)
        for session in sessions
    )


def _past_item(session: PastSession, current_id: str) -> PastSessionItem:
    return PastSessionItem(
        session.session_id,
        session.device,
        session.address,
        shown(session.created_at),
        shown(session.last_refreshed_at),
        None if session.ended_at is None else shown(session.ended_at),
        session.reason or None,
        session.session_id == current_id,
    )


def _failed_attempt(failure: FailedLogin) -> FailedAttempt:
    return FailedAttempt(
        shown(failure.at), failure.reason, failure.device, failure.address, failure.count, shown(failure.since)
    )


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/sessions/history",
        tag="Sessions",
        summary="List the user's sessions, including ended ones",
        description="Newest first, with their origin, when and why they ended, and the failed logins between them.",
        handler=list_history,
        query=PageQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of sessions.", body=SessionHistory)},
        reads=True,
    ),
)
