"""Routes of what operators did and looked at, and of what documented rules found unusual."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.rpc.vestnik.operator.v1 import ListAnomaliesRequest, ListOperatorActionsRequest
from services.gateway.http.endpoint import AnyEndpoint, NoBody, Request, Response
from services.gateway.routes.operators.operator_route import (
    Limit,
    Since,
    Time,
    Until,
    operator_client,
    operator_route,
    reply,
)


class OperatorAction(msgspec.Struct, frozen=True, kw_only=True):
    at: Time
    operator: str
    operator_id: Annotated[str | None, Meta(description="The account; null on the command line.")]
    channel: Annotated[str, Meta(description="`page` or `command_line`; more may be added.")]
    address: Annotated[
        str, Meta(description="The client's, as `VESTNIK_AUDIT_ADDRESS` says; on the command line the machine's name.")
    ]
    action: Annotated[str | UnsetType, Meta(description="The act; absent for a look.")] = UNSET
    what: Annotated[str | UnsetType, Meta(description="What was looked at; absent for an act.")] = UNSET
    target: Annotated[str, Meta(description="What it is about, such as a read model or an id; may be empty.")]
    details: Annotated[dict[str, str] | UnsetType, Meta(description="Of an act.")] = UNSET
    filter: Annotated[dict[str, str] | UnsetType, Meta(description="Of a look.")] = UNSET
    reason: str
    outcome: Annotated[
        str | None,
        Meta(
            description="Of an act: `done`, `failed` or `cancelled`; null for a look, and for an act that is under way "
            "or was interrupted."
        ),
    ]
    error: Annotated[str | UnsetType, Meta(description="Why an act failed.")] = UNSET


class OperatorActions(msgspec.Struct, frozen=True, kw_only=True):
    items: list[OperatorAction]
    older: Annotated[str | None, Meta(description="For `before`: the position of older ones; null if there are none.")]
    unreadable: Annotated[int, Meta(description="Number of events that this release cannot read.")]


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    at: Annotated[Time, Meta(description="Of the last event that belongs to it.")]
    since: Annotated[Time, Meta(description="Of the first.")]
    rule: Annotated[
        str,
        Meta(
            description="`account_failures`, `address_failures`, `new_network`, `operator_exports` or "
            "`operator_looks`; more may be added."
        ),
    ]
    user_id: Annotated[str | None, Meta(description="The account that it is about.")]
    username: str | None
    address: Annotated[str | None, Meta(description="An address or a network.")]
    operator: Annotated[str | None, Meta(description="A username, or the login name on the machine.")]
    operator_id: Annotated[str | None, Meta(description="The operator's account; null for the command line.")]
    count: Annotated[int, Meta(description="Number of failed logins, looks or exports.")]
    reason: Annotated[
        str | None, Meta(description="How the password was changed: `password_changed` or `password_reset`.")
    ]


class Anomalies(msgspec.Struct, frozen=True):
    items: list[Anomaly]
    older: Annotated[str | None, Meta(description="For `before`: the next page; null if there is none.")]


class OperatorsQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 100
    operator: Annotated[
        str, Meta(max_length=80, description="Only this operator: a username, a login name or an account's id.")
    ] = ""
    action: Annotated[str, Meta(max_length=64, description="Only this act or look, such as `sessions.revoke`.")] = ""
    only: Annotated[
        Literal["", "acts", "looks"], Meta(description="Only what was done, or only what was looked at.")
    ] = ""
    since: Since = ""
    until: Until = ""
    before: Annotated[str, Meta(max_length=256, description="`older` of the previous page.")] = ""


class AnomaliesQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 100
    rule: Annotated[str, Meta(max_length=64, description="Only those that this rule found.")] = ""
    since: Since = ""
    until: Until = ""
    before: Annotated[str, Meta(max_length=1024, description="`older` of the previous page.")] = ""


async def operators(incoming: Request[OperatorsQuery, NoBody]) -> Response:
    operator, query = operator_client(incoming), incoming.query
    request = ListOperatorActionsRequest(
        user_id=incoming.caller.user_id,
        operator=query.operator,
        action=query.action,
        only=query.only,
        since=query.since,
        until=query.until,
        limit=query.limit,
        before=query.before,
    )
    return reply(await operator.command(operator.stub.list_operator_actions, request, repeatable=True), OperatorActions)


async def anomalies(incoming: Request[AnomaliesQuery, NoBody]) -> Response:
    operator, query = operator_client(incoming), incoming.query
    request = ListAnomaliesRequest(
        user_id=incoming.caller.user_id,
        rule=query.rule,
        since=query.since,
        until=query.until,
        limit=query.limit,
        before=query.before,
    )
    return reply(await operator.command(operator.stub.list_anomalies, request, repeatable=True), Anomalies)


ROUTES: tuple[AnyEndpoint, ...] = (
    operator_route(
        "GET",
        "operators",
        "Who did what, and who looked at what, as an operator",
        operators,
        OperatorsQuery,
        NoBody,
        OperatorActions,
        "Newest first, straight from the stream, as `vestnik audit operators`. Each view is recorded itself.",
    ),
    operator_route(
        "GET",
        "anomalies",
        "What documented rules found unusual",
        anomalies,
        AnomaliesQuery,
        NoBody,
        Anomalies,
        "Newest first, from the read model `anomalies`: many failed logins, a login from a new network close to a "
        "password change, many looks or exports by one operator.",
    ),
)
