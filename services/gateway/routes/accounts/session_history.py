"""Route for the caller's session history: origin of each login, why each session ended, and failed logins."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import VestnikError
from contracts.rpc.vestnik.auth.v1 import FailedLogin, ListFailedLoginsRequest
from contracts.rpc.vestnik.session.v1 import ListHistoryRequest, ListHistoryResponse, PastSession
from contracts.values.field_types import Id
from services.gateway.http.endpoint import AnyEndpoint, DocumentedResponse, Endpoint, NoBody, Request, Response
from services.gateway.http.query_params import PageQuery
from services.gateway.routes.timestamps import Time, shown

log = logging.getLogger(__name__)

# Seconds that a page of sessions waits for its failed logins.
_PATIENCE = 5.0
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
            "`password_reset`, `not_me`, `erasure_requested`, `expired`, `operator`; null while the session is active. "
            "More may be added."
        ),
    ]
    current: Annotated[bool, Meta(description="Whether this is the session of the request.")]


class FailedAttempt(msgspec.Struct, frozen=True):
    at: Time
    reason: Annotated[
        str,
        Meta(
            description="`wrong_password`, also where a logged-in user has to confirm it; `email_not_verified`, after "
            "the right password; `wrong_code`; `code_required`, unless a login from the same device and address "
            "followed within ten minutes (always if no address is recorded); `rate_limited`, without a check."
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
        list[FailedAttempt] | None,
        Meta(
            description="Failed logins to the account between the page's sessions, and after them on the first page: "
            "the newest 50, newest first. They appear about a second after the attempt. Attempts without a device "
            "token that are refused for the limit of their login are not recorded. null: not known at the moment; the "
            "sessions are."
        ),
    ]


async def list_history(incoming: Request[PageQuery, NoBody]) -> Response:
    session, query = incoming.context.remotes.session, incoming.query
    request = ListHistoryRequest(user_id=incoming.caller.user_id, limit=query.limit, cursor=query.cursor)
    answer = await session.read(session.stub.list_history, request)
    items = [_past_item(past, incoming.caller.session_id) for past in answer.sessions]
    attempts = await _failed_attempts(incoming, answer)
    return Response(body=SessionHistory(items, answer.next or None, attempts), position=answer.position)


async def _failed_attempts(
    incoming: Request[PageQuery, NoBody], page: ListHistoryResponse
) -> list[FailedAttempt] | None:
    """The failed logins of the page's time; None if auth cannot say. They have no position to wait for."""
    auth = incoming.context.remotes.auth
    request = ListFailedLoginsRequest(user_id=incoming.caller.user_id, since=page.since, before=page.before)
    try:
        async with asyncio.timeout(_PATIENCE):
            failed = await auth.read(auth.stub.list_failed_logins, request)
    except (VestnikError, TimeoutError) as error:
        # Auth's read model is being built, auth is down, or it is of an earlier release.
        log.warning("a history of sessions was answered without failed logins: %r", error)
        return None
    logins = [*page.sessions, page.newer] if page.newer is not None else page.sessions
    return [_failed_attempt(failure) for failure in failed.failures if not is_first_step(failure, logins)]


def is_first_step(failure: FailedLogin, logins: Sequence[PastSession]) -> bool:
    """Whether the attempt is the first step of one of these logins, with two-step verification but without a code.

    Without an address nothing shows that both came from one device.
    """
    if failure.reason != "code_required" or failure.count > 1 or not failure.address:
        return False
    return any(
        -_RECORDED_MS <= login.created_at - failure.since <= _TWO_STEPS_MS
        and (login.device, login.address) == (failure.device, failure.address)
        for login in logins
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
        description="Newest first, with their origin, when and why they ended, and the failed logins between them: "
        "`failed_attempts` is null while those cannot be read.",
        handler=list_history,
        query=PageQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of sessions.", body=SessionHistory)},
        reads=True,
    ),
)
