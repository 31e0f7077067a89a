"""What the routes of the operators' page have in common; the operator's service refuses other accounts."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from contracts.errors import NotAnOperator, NotFound, ReauthenticationRequired, SecondFactorRequired, VestnikError
from contracts.rpc.vestnik.operator.v1 import Document, OperatorServiceStub
from infra.rpc.call_context import ClientSession, enter
from services.gateway.clients import ServiceClient
from services.gateway.http.endpoint import AppliedLimit, DocumentedResponse, Endpoint, Handler, Request, Response
from services.gateway.limits import policies

B = TypeVar("B")
Q = TypeVar("Q")
S = TypeVar("S", bound=msgspec.Struct)
_TAG = "Operators"
_WHO = (
    "Only for accounts added with `vestnik operators add`, after a login with a second factor in the last 12 hours "
    "(`VESTNIK_OPERATOR_TOTP`), and if they looked at or did something in the last 30 minutes. "
)
_UNATTENDED = "Vestnik-Unattended"
Limit = Annotated[int, Meta(ge=1, le=500, description="Maximum number of items.")]
Since = Annotated[str, Meta(max_length=40, description="RFC 3339: from this time on.")]
Until = Annotated[str, Meta(max_length=40, description="RFC 3339: before this time.")]
# As the services record it: more exact than the milliseconds of the other routes.
Time = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, with up to six decimals of a second.",
        examples=["2026-01-31T12:00:00.123456Z"],
        extra_json_schema={"format": "date-time"},
    ),
]


def operator_client(incoming: Request[Q, B]) -> ServiceClient[OperatorServiceStub]:
    """The client of the operator's service, whose calls for this request then carry the caller's session and address.

    Raises:
        NotFound: this deployment has no operators' page.
    """
    operator = incoming.context.remotes.operator
    if operator is None:
        raise NotFound
    caller = incoming.caller
    session = ClientSession(
        session_id=caller.session_id,
        address=incoming.address,
        logged_in_at=caller.logged_in_at,
        second_factor=caller.second_factor,
        unattended=_UNATTENDED in incoming.headers,
    )
    enter(msgspec.structs.replace(incoming.call, session=session))
    return operator


def reply(document: Document, kind: type[S]) -> Response:
    """Converts the document to its schema; fields outside the schema are left out."""
    return Response(body=msgspec.json.decode(document.json, type=kind))


def operator_route(
    method: str,
    path: str,
    summary: str,
    handler: Handler[Q, B],
    query: type[Q],
    body: type[B],
    answer: type[msgspec.Struct],
    description: str = "",
    errors: tuple[type[VestnikError], ...] = (),
) -> Endpoint[Q, B]:
    return Endpoint(
        method=method,
        path=f"/v1/ops/{path}",
        tag=_TAG,
        summary=summary,
        description=_WHO + description,
        handler=handler,
        query=query,
        body=body,
        answers={200: DocumentedResponse(description=f"{summary}.", body=answer)},
        errors=(NotAnOperator, SecondFactorRequired, ReauthenticationRequired, NotFound, *errors),
        request_headers=(_UNATTENDED,),
        limits=(AppliedLimit(limit=policies.READ_ADDRESS), AppliedLimit(limit=policies.OPS)),
    )
