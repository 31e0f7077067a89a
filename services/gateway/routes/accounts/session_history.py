"""Route for the caller's session history: origin of each login, when and why each session ended."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.rpc.vestnik.session.v1 import ListHistoryRequest, PastSession
from contracts.values.field_types import Id
from services.gateway.http.endpoint import AnyEndpoint, DocumentedResponse, Endpoint, NoBody, Page, Request, Response
from services.gateway.http.query_params import PageQuery
from services.gateway.routes.timestamps import Time, shown


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
            "`password_reset`, `expired`, `operator`; null while the session is active."
        ),
    ]
    current: Annotated[bool, Meta(description="Whether this is the session of the request.")]


async def list_history(incoming: Request[PageQuery, NoBody]) -> Response:
    session, query = incoming.context.remotes.session, incoming.query
    request = ListHistoryRequest(user_id=incoming.caller.user_id, limit=query.limit, cursor=query.cursor)
    answer = await session.read(session.stub.list_history, request)
    items = [_past_item(past, incoming.caller.session_id) for past in answer.sessions]
    return Response(body=Page(items, answer.next or None), position=answer.position)


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


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/sessions/history",
        tag="Sessions",
        summary="List the user's sessions, including ended ones",
        description="Newest first, with their origin, and when and why they ended.",
        handler=list_history,
        query=PageQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of sessions.", body=Page[PastSessionItem])},
        reads=True,
    ),
)
