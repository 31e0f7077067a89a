"""Sessions of users, which the session service ends in an operator's name."""

from contracts.errors import SessionNotFound
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.rpc.vestnik.session.v1 import EndSessionsRequest, SessionServiceStub
from contracts.services import OPERATOR
from contracts.subjects import session
from infra.rpc.client import Client
from services.operator.actions.domain import Actor
from streams.log import Log

_TIMEOUT = 8.0


class Sessions:
    def __init__(self, client: Client, log: Log) -> None:
        self._client = client
        self._stub = client.stub(SessionServiceStub)
        self._log = log

    async def owner(self, session_id: str) -> str:
        """Returns the session's user.

        Raises:
            SessionNotFound: there is no such session.
            Unavailable: the event store cannot be reached.
        """
        last = await self._log.last(session(session_id))
        event = None if last is None else last.open().data
        if not isinstance(event, SessionCreated | SessionRefreshed | SessionRevoked):
            raise SessionNotFound
        return event.user_id

    async def end(self, operator: Actor, user_id: str, session_id: str, note: str) -> None:
        """Ends the session: every gateway refuses its tokens within a second.

        Raises:
            SessionNotFound: it has ended.
            Unavailable, DeadlineExceeded: the session service does not answer.
        """
        request = EndSessionsRequest(
            user_id=user_id, session_id=session_id, reason=OPERATOR, note=note, operator=operator.recorded_name
        )
        answer = await self._client.call(self._stub.end_sessions, request, timeout=_TIMEOUT, idempotent=False)
        if not answer.ended:
            # Another call has just ended it.
            raise SessionNotFound
