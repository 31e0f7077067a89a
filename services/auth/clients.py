"""Clients of other services: session, for a login and the end of sessions, and messaging, for users' drafts and the age
of messages."""

from datetime import datetime

import msgspec

from contracts.envelope import Provenance
from contracts.events.user import PasswordChanged, PasswordVoided
from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import DeleteDraftsRequest, GetOldestMessageRequest, MessagingServiceStub
from contracts.rpc.vestnik.session.v1 import (
    CreateSessionRequest,
    EndSessionsRequest,
    ListHistoryRequest,
    RecordAlertRequest,
    RevokeSessionRequest,
    SessionServiceStub,
    Tokens,
)
from contracts.values.ids import new_id
from contracts.values.timestamps import from_unix_ms, to_unix_ms
from infra.rpc.call_context import Call, current
from infra.rpc.client import Client
from services.auth.domain import ERASURE_REQUESTED, NOT_ME

_TIMEOUT = 5.0
# What waits for a read model that may be up to 5 s behind, as end_sessions does.
_ENDING_TIMEOUT = 8.0
# The newest sessions of a user.
_NEWEST = 200


class Alerted(msgspec.Struct, frozen=True, kw_only=True):
    """The session service's response about an alert."""

    # Whether the owner of the account is alerted of the event.
    due: bool
    # Seconds until there is room for the alert in the list of notifications; 0: it is there, or covered by a later one.
    wait_seconds: int = 0
    # Of the session that it is about, as recorded; empty if there is none.
    device: str = ""
    address: str = ""


class Drafts:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._stub = client.stub(MessagingServiceStub)

    async def remove_of(self, user_id: str) -> None:
        """Removes all drafts of the user. Repeatable.

        Raises:
            Unavailable, DeadlineExceeded: some may be left.
        """
        await self._client.call(
            self._stub.delete_drafts,
            DeleteDraftsRequest(user_id=user_id),
            timeout=_TIMEOUT,
            idempotent=True,
            context=Call(request_id=new_id(), actor=user_id),
        )


class Messages:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._stub = client.stub(MessagingServiceStub)

    async def oldest(self) -> datetime | None:
        """The time at which the oldest message that is not deleted was sent; None if there is none.

        Raises:
            Unavailable, DeadlineExceeded, ReadModelBehind: it is not known now.
        """
        answer = await self._client.call(
            self._stub.get_oldest_message, GetOldestMessageRequest(), timeout=_ENDING_TIMEOUT, idempotent=True
        )
        return None if answer.sent_at is None else from_unix_ms(answer.sent_at)


class Sessions:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._stub = client.stub(SessionServiceStub)

    async def create(
        self,
        *,
        user_id: str,
        username: str,
        device: str,
        address: str,
        credential: int,
        new_device: bool,
        second_factor: bool,
        session_id: str = "",
    ) -> Tokens:
        """Creates a session; idempotent with a `session_id`. Without one each call creates another session.

        Raises:
            Unavailable, DeadlineExceeded: the session service does not answer.
        """
        # The user has just proved the password, so they are the actor.
        response = await self._client.call(
            self._stub.create_session,
            CreateSessionRequest(
                user_id=user_id,
                username=username,
                device=device,
                address=address,
                credential=credential,
                new_device=new_device,
                second_factor=second_factor,
                session_id=session_id,
            ),
            timeout=_TIMEOUT,
            idempotent=bool(session_id),
            context=msgspec.structs.replace(current(), actor=user_id),
        )
        assert response.tokens is not None
        return response.tokens

    async def end_older(
        self, *, user_id: str, event: PasswordChanged | PasswordVoided, provenance: Provenance
    ) -> Position:
        """Ends the sessions opened with an older credential; returns the position of the last end. Idempotent.

        Raises:
            Unavailable, DeadlineExceeded, ReadModelBehind: some of the sessions may not have ended.
        """
        change = event if isinstance(event, PasswordChanged) else None
        request = EndSessionsRequest(
            user_id=user_id,
            kept_session_id=(change and change.kept_session_id) or "",
            below_credential=event.generation,
            reason=change.reason if change is not None else NOT_ME,
        )
        return await self._end(request, provenance)

    async def end_all(self, *, user_id: str, reason: str, provenance: Provenance) -> Position:
        """Ends all sessions of the user; returns the position of the last end. Idempotent.

        Raises:
            Unavailable, DeadlineExceeded, ReadModelBehind: some of the sessions may not have ended.
        """
        return await self._end(EndSessionsRequest(user_id=user_id, reason=reason), provenance)

    async def _end(self, request: EndSessionsRequest, provenance: Provenance) -> Position:
        response = await self._client.call(
            self._stub.end_sessions,
            request,
            timeout=_ENDING_TIMEOUT,
            idempotent=True,
            context=Call(
                request_id=provenance.correlation_id or new_id(),
                traceparent=provenance.traceparent,
                actor=request.user_id,
                deadline=current().deadline,
            ),
        )
        return Position.decode(response.position)

    async def logged_in_between(self, user_id: str, after: datetime, before: datetime, position: Position) -> bool:
        """Whether the user has logged in after one time and before another, at least as of the position.

        Sessions that ended by the request to erase the account do not count: the clock that dated them may be ahead.

        Raises:
            Unavailable, DeadlineExceeded, ReadModelBehind: it is not known now.
        """
        answer = await self._client.call(
            self._stub.list_history,
            ListHistoryRequest(user_id=user_id, limit=_NEWEST),
            timeout=_ENDING_TIMEOUT,
            idempotent=True,
            context=Call(request_id=new_id(), actor=user_id, position=position),
        )
        return any(
            to_unix_ms(after) < session.created_at < to_unix_ms(before) and session.reason != ERASURE_REQUESTED
            for session in answer.sessions
        )

    async def record_alert(
        self,
        *,
        user_id: str,
        kind: str,
        about: str,
        about_at: datetime,
        session_id: str | None,
        position: Position,
        provenance: Provenance,
    ) -> Alerted:
        """Records that the owner of the account is notified of an event. Idempotent. `position`: of that event.

        Raises:
            Unavailable, DeadlineExceeded, ReadModelBehind: it may not be recorded.
        """
        response = await self._client.call(
            self._stub.record_alert,
            RecordAlertRequest(
                user_id=user_id, kind=kind, about=about, about_at=to_unix_ms(about_at), session_id=session_id or ""
            ),
            timeout=_ENDING_TIMEOUT,
            idempotent=True,
            context=Call(
                request_id=provenance.correlation_id or new_id(),
                traceparent=provenance.traceparent,
                actor=user_id,
                position=position,
            ),
        )
        return Alerted(
            due=response.due,
            wait_seconds=response.wait_seconds,
            device=response.device,
            address=response.address,
        )

    async def end(self, *, user_id: str, session_id: str, reason: str) -> None:
        """Ends one session.

        Raises:
            SessionNotFound: it has already ended.
            Unavailable, DeadlineExceeded: the session service does not answer.
        """
        await self._client.call(
            self._stub.revoke_session,
            RevokeSessionRequest(user_id=user_id, session_id=session_id, reason=reason),
            timeout=_TIMEOUT,
            idempotent=True,
            context=msgspec.structs.replace(current(), actor=user_id),
        )
