"""Who did and saw what as an operator: to see that is a look, too."""

from typing import Annotated

import msgspec
from msgspec import Meta
from nats.aio.client import Client as NATS

from contracts.errors import Invalid, Violation
from contracts.events.operator_actions import ACTIONS, LOOKS
from contracts.rpc.vestnik.operator.v1 import Document, ListOperatorActionsRequest
from contracts.values.validation import validated
from infra.history.operator_audit import Query
from infra.security.operator_accounts import Operators
from services.operator.actions import page
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Recorder
from services.operator.handlers.documents import Limit, as_text, document, moment


class _Actions(msgspec.Struct, frozen=True):
    limit: Limit
    operator: Annotated[str, Meta(max_length=80, pattern=r"^[^\x00]*\Z")]


class OperatorActionHandlers:
    def __init__(self, nc: NATS, recorder: Recorder, operators: Operators) -> None:
        self._nc = nc
        self._recorder = recorder
        self._operators = operators

    async def list(self, message: ListOperatorActionsRequest, actor: Actor) -> Document:
        request = validated(_Actions, {"limit": message.limit, "operator": message.operator.strip()})
        if message.action and message.action not in ACTIONS and message.action not in LOOKS:
            raise Invalid(violations=(Violation("/action", "Neither an act nor a look"),))
        if message.only not in ("", "acts", "looks"):
            raise Invalid(violations=(Violation("/only", "Not `acts` or `looks`"),))
        query = Query(
            operator=request.operator or None,
            action=message.action or None,
            since=moment(message.since, "/since"),
            until=moment(message.until, "/until"),
            acts=message.only != "looks",
            looks=message.only != "acts",
        )
        looked_for = {
            "operator": self._operators.id_of(request.operator),
            "action": message.action,
            "only": message.only,
            "since": as_text(query.since),
            "until": as_text(query.until),
        }
        await self._recorder.look(actor, "operators", filter_=looked_for)
        return document(await page.newest(self._nc, query, limit=request.limit, cursor=message.before))
