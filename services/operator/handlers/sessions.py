"""The login audit, which is a look, and the end of a session by an operator, which is an act."""

from typing import Annotated, get_args

import msgspec
from msgspec import Meta

from contracts.errors import Invalid, Unavailable, Violation
from contracts.events.login_failure import FailureReason
from contracts.rpc.vestnik.operator.v1 import Document, EndSessionRequest, ListSessionEventsRequest
from contracts.values.addresses import Network, parse_network
from contracts.values.field_types import Id
from contracts.values.validation import validated
from infra.history.login_audit import ENDS, Query
from infra.operator_errors import OperatorError
from services.operator.actions.domain import UNKNOWN_NAME, Actor
from services.operator.actions.recorder import Recorder
from services.operator.handlers.documents import Limit, as_text, document, moment
from services.operator.history.queries import HistoryQueries
from services.operator.logins.audit import newest
from services.operator.logins.queries import LoginQueries
from services.operator.logins.sessions import Sessions
from services.operator.people import People
from services.operator.queries import PersonQueries
from services.operator.read_models import ReadModels

_REASONS = (*ENDS, *get_args(FailureReason))


class _Logins(msgspec.Struct, frozen=True):
    limit: Limit
    user: Annotated[str, Meta(max_length=64, pattern=r"^[^\x00]*\Z")]
    session: Id | None
    device: Annotated[str, Meta(max_length=100, pattern=r"^[^\x00]*\Z")]


class _End(msgspec.Struct, frozen=True):
    session_id: Id
    # As the session service accepts a note.
    reason: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class SessionHandlers:
    def __init__(self, read_models: ReadModels, sessions: Sessions, recorder: Recorder) -> None:
        self._history = HistoryQueries(read_models)
        self._logins = LoginQueries(read_models)
        self._people = People(PersonQueries(read_models), self._history)
        self._sessions = sessions
        self._recorder = recorder

    async def events(self, message: ListSessionEventsRequest, actor: Actor) -> Document:
        request = validated(
            _Logins,
            {
                "limit": message.limit,
                "user": message.user,
                "session": message.session_id.strip().lower() or None,
                "device": message.device,
            },
        )
        query = Query(
            user=request.user.strip() or None,
            since=moment(message.since, "/since"),
            until=moment(message.until, "/until"),
            refreshes=message.refreshes,
            network=_network(message.address.strip()),
            device=request.device or None,
            reason=_reason(message.reason),
        )
        looked_for = {
            "user": await self._recorded_as(query.user) if query.user else "",
            "session": request.session or "",
            "since": as_text(query.since),
            "until": as_text(query.until),
            "address": "" if query.network is None else str(query.network),
            "device": request.device,
            "reason": query.reason or "",
            "failures": "yes" if message.failures else "",
            "refreshes": "yes" if message.refreshes else "",
        }
        await self._recorder.look(actor, "sessions", filter_=looked_for)
        try:
            page = await newest(
                self._history,
                self._logins,
                query,
                limit=request.limit,
                cursor=message.before,
                session_id=request.session,
                failures=message.failures,
            )
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure
        return document(page)

    async def _recorded_as(self, user: str) -> str:
        """The account's id for a recorded look; `UNKNOWN_NAME` if the username is no account's."""
        try:
            return await self._people.id_of(user) or UNKNOWN_NAME
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure

    async def end(self, message: EndSessionRequest, actor: Actor) -> Document:
        request = validated(_End, {"session_id": message.session_id, "reason": " ".join(message.reason.split())})
        user_id = await self._sessions.owner(request.session_id)
        details = {"session": request.session_id}
        async with self._recorder.acting(
            actor, "sessions.revoke", target=user_id, details=details, reason=request.reason
        ):
            await self._sessions.end(actor, user_id, request.session_id, request.reason)
        return document(EndedSession(session_id=request.session_id, user_id=user_id))


class EndedSession(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    user_id: str


def _reason(text: str) -> str | None:
    if text and text not in _REASONS:
        raise Invalid(violations=(Violation("/reason", f"Not one of {', '.join(_REASONS)}"),))
    return text or None


def _network(text: str) -> Network | None:
    network = parse_network(text) if text else None
    if text and network is None:
        raise Invalid(violations=(Violation("/address", "Neither an IP address nor a network"),))
    return network
