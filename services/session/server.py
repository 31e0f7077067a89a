"""gRPC server of session: validates each request, runs a command or query, and maps the response."""

from collections.abc import AsyncIterator
from math import ceil
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts import envelope
from contracts.errors import Invalid, SessionNotFound, UserNotFound, Violation
from contracts.events.session import SessionRevoked
from contracts.notification_kinds import ALERT_KINDS, NEW_DEVICE, LiveSessionEnd
from contracts.positions import Position
from contracts.rpc.vestnik.session.v1 import (
    BackfillRequest,
    ClientEvent,
    CreateSessionRequest,
    CreateSessionResponse,
    EndSessionsRequest,
    EndSessionsResponse,
    ListHistoryRequest,
    ListHistoryResponse,
    ListSessionsRequest,
    ListSessionsResponse,
    PastSession,
    RecordAlertRequest,
    RecordAlertResponse,
    RefreshSessionRequest,
    RefreshSessionResponse,
    RevokeSessionRequest,
    RevokeSessionResponse,
    Session,
    SessionServiceBase,
    Tokens,
    ValidateSessionRequest,
    ValidateSessionResponse,
)
from contracts.subjects import SESSION
from contracts.values.field_types import PAGE_LIMIT, Device, Id, PageLimit, Sequence, Username
from contracts.values.timestamps import from_unix_ms, to_unix_ms
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.session.alerts.domain import RecordAlert
from services.session.commands import Commands, IssuedTokens
from services.session.domain import CreateSession
from services.session.queries import Queries
from streams.log import Log

_LOGGED_OUT, _REVOKED_ELSEWHERE, _BY_OPERATOR = "logout", "revoked_elsewhere", "operator"
_OPERATOR = "operator"


Reason = Annotated[str, Meta(max_length=64, pattern=r"^[a-z_]*\Z")]


class _Creation(msgspec.Struct, frozen=True):
    user_id: Id
    username: Username
    device: Device
    address: Annotated[str, Meta(max_length=100, pattern=r"^[^\x00]*\Z")]
    credential: Annotated[int, Meta(ge=0)]
    session_id: Id | None


class _Refresh(msgspec.Struct, frozen=True):
    refresh_token: Annotated[str, Meta(min_length=1, max_length=2048)]


class _SessionId(msgspec.Struct, frozen=True):
    session_id: Id


class _Revocation(msgspec.Struct, frozen=True):
    user_id: Id
    session_id: Id
    reason: Reason


class _Ends(msgspec.Struct, frozen=True):
    reason: Reason
    below_credential: Annotated[int, Meta(ge=0)]
    user_id: Id | None = None
    username: Username | None = None
    session_id: Id | None = None
    kept_session_id: Id | None = None
    note: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")] | None = None
    # As long as the name of an act's operator (services/operator/actions/domain.py).
    operator: Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*\Z")] | None = None


class _Alert(msgspec.Struct, frozen=True):
    user_id: Id
    kind: Annotated[str, Meta(pattern=f"^({'|'.join(ALERT_KINDS)})\\Z")]
    about: Id
    about_at: Annotated[int, Meta(ge=0, lt=1 << 47)]
    session_id: Id | None


class _Listing(msgspec.Struct, frozen=True):
    user_id: Id
    limit: PageLimit


class _Backfill(msgspec.Struct, frozen=True):
    user_id: Id
    after: Sequence
    limit: Annotated[int, Meta(ge=0)]


class SessionServer(SessionServiceBase):
    def __init__(self, commands: Commands, queries: Queries, log: Log) -> None:
        self._commands = commands
        self._queries = queries
        self._log = log

    async def create_session(self, message: CreateSessionRequest) -> CreateSessionResponse:
        request = validated(
            _Creation,
            {
                "user_id": message.user_id,
                "username": message.username,
                "device": message.device,
                "address": message.address,
                "credential": message.credential,
                "session_id": message.session_id or None,
            },
        )
        command = CreateSession(
            user_id=request.user_id,
            username=request.username,
            device=request.device,
            address=request.address,
            credential=request.credential,
            new_device=message.new_device,
            second_factor=message.second_factor,
        )
        issued = await self._commands.create(command, current().provenance(), request.session_id or "")
        return CreateSessionResponse(tokens=_tokens(issued))

    async def validate_session(self, message: ValidateSessionRequest) -> ValidateSessionResponse:
        request = validated(_SessionId, {"session_id": message.session_id})
        owner = await self._commands.owner_of_active(request.session_id)
        return ValidateSessionResponse(active=owner is not None, user_id=owner or "")

    async def refresh_session(self, message: RefreshSessionRequest) -> RefreshSessionResponse:
        request = validated(_Refresh, {"refresh_token": message.refresh_token})
        issued = await self._commands.refresh(request.refresh_token, current().provenance())
        return RefreshSessionResponse(tokens=_tokens(issued))

    async def revoke_session(self, message: RevokeSessionRequest) -> RevokeSessionResponse:
        kept = message.all_but_session_id
        target = kept if kept is not None else message.session_id
        request = validated(
            _Revocation,
            {"user_id": message.user_id, "session_id": target or "", "reason": message.reason},
        )
        if kept is None:
            ends = [
                await self._commands.revoke(
                    request.user_id, request.session_id, request.reason or _LOGGED_OUT, current().provenance()
                )
            ]
        else:
            ends = await self._revoke_others(request)
        position = Position.at(SESSION, max(ends)).encode() if ends else ""
        return RevokeSessionResponse(revoked=len(ends), position=position)

    async def end_sessions(self, message: EndSessionsRequest) -> EndSessionsResponse:
        call = current()
        request = validated(
            _Ends,
            {
                "reason": message.reason,
                "below_credential": message.below_credential,
                "user_id": message.user_id,
                "username": message.username,
                "session_id": message.session_id or None,
                "kept_session_id": message.kept_session_id or None,
                "note": message.note or None,
                "operator": message.operator or None,
            },
        )
        everything = Position.at(SESSION, await self._log.end_of(SESSION))
        user_id = request.user_id or await self._user_called(request.username, everything)
        ids = await self._queries.active_ids(
            user_id,
            now=envelope.now(),
            position=everything,
            only=request.session_id,
            kept=request.kept_session_id,
            below_credential=request.below_credential or None,
        )
        if request.session_id is not None and not ids:
            raise SessionNotFound
        provenance, reason, note = call.provenance(), request.reason, None
        if call.caller == _OPERATOR:
            provenance = msgspec.structs.replace(provenance, actor=f"{_OPERATOR}:{request.operator or 'unknown'}")
            reason, note = _BY_OPERATOR, request.note
        ends = await self._commands.revoke_all(user_id, ids, reason or _REVOKED_ELSEWHERE, provenance, note)
        # A concurrent call may have ended some of them; the position must cover those ends too.
        end = await self._log.end_of(SESSION)
        return EndSessionsResponse(user_id=user_id, ended=list(ends), position=Position.at(SESSION, end).encode())

    async def record_alert(self, message: RecordAlertRequest) -> RecordAlertResponse:
        call = current()
        request = validated(
            _Alert,
            {
                "user_id": message.user_id,
                "kind": message.kind,
                "about": message.about,
                "about_at": message.about_at,
                "session_id": message.session_id or None,
            },
        )
        command = RecordAlert(
            user_id=request.user_id,
            kind=request.kind,
            about=request.about,
            about_at=from_unix_ms(request.about_at),
            session_id=request.session_id,
        )
        if not await self._is_due(command, call.position):
            return RecordAlertResponse()
        wait = await self._commands.record_alert(command, call.provenance(causation_id=request.about))
        if wait is None:
            return RecordAlertResponse()
        login = None
        if request.session_id is not None:
            login = await self._queries.login(request.user_id, request.session_id, call.position)
        return RecordAlertResponse(
            due=True,
            wait_seconds=ceil(wait.total_seconds()),
            device=login.device or "" if login is not None else "",
            address=login.address or "" if login is not None else "",
        )

    async def _is_due(self, command: RecordAlert, position: Position) -> bool:
        """Whether the alert is due: `new_device` is not at an account's first login, where every device is new."""
        if command.kind != NEW_DEVICE or command.session_id is None:
            return True
        return not await self._queries.is_first(command.user_id, command.session_id, position)

    async def list_history(self, message: ListHistoryRequest) -> ListHistoryResponse:
        request = validated(_Listing, {"user_id": message.user_id, "limit": message.limit or PAGE_LIMIT})
        position = current().position
        page = await self._queries.history(
            request.user_id, limit=request.limit, cursor=message.cursor, now=envelope.now(), position=position
        )
        newer = None
        if page.before is not None and page.newer_id is not None:
            login = await self._queries.login(request.user_id, page.newer_id, position)
            if login is not None:
                newer = PastSession(
                    session_id=page.newer_id,
                    device=login.device or "",
                    address=login.address or "",
                    created_at=to_unix_ms(page.before),
                )
        return ListHistoryResponse(
            sessions=[
                PastSession(
                    session_id=row.session_id,
                    device=row.device or "",
                    address=row.address or "",
                    created_at=to_unix_ms(row.created_at),
                    last_refreshed_at=to_unix_ms(row.last_refreshed_at),
                    ended_at=None if row.ended_at is None else to_unix_ms(row.ended_at),
                    reason=row.reason or "",
                )
                for row in page.sessions
            ],
            next=page.next,
            position=page.position.encode(),
            since=None if page.since is None else to_unix_ms(page.since),
            before=None if page.before is None else to_unix_ms(page.before),
            newer=newer,
        )

    async def list_sessions(self, message: ListSessionsRequest) -> ListSessionsResponse:
        request = validated(_Listing, {"user_id": message.user_id, "limit": message.limit or PAGE_LIMIT})
        page = await self._queries.active(
            request.user_id,
            limit=request.limit,
            cursor=message.cursor,
            now=envelope.now(),
            position=current().position,
        )
        return ListSessionsResponse(
            sessions=[
                Session(
                    session_id=row.session_id,
                    device=row.device or "",
                    address=row.address or "",
                    created_at=to_unix_ms(row.created_at),
                    last_refreshed_at=to_unix_ms(row.last_refreshed_at),
                )
                for row in page.sessions
            ],
            next=page.next,
            position=page.position.encode(),
        )

    async def backfill(self, message: BackfillRequest) -> AsyncIterator[ClientEvent]:
        request = validated(_Backfill, {"user_id": message.user_id, "after": message.after, "limit": message.limit})
        async for row in self._queries.backfill(
            request.user_id, after=request.after, limit=request.limit, position=current().position
        ):
            yield ClientEvent(
                type=SessionRevoked.TYPE,
                sequence=row.sequence,
                data=msgspec.json.encode(LiveSessionEnd(row.session_id, row.reason)),
            )

    async def _revoke_others(self, request: _Revocation) -> list[int]:
        """Ends every session but the one named, including those created elsewhere just before."""
        everything = Position.at(SESSION, await self._log.end_of(SESSION))
        others = await self._queries.active_ids(
            request.user_id, kept=request.session_id, now=envelope.now(), position=everything
        )
        ends = await self._commands.revoke_all(
            request.user_id, others, request.reason or _REVOKED_ELSEWHERE, current().provenance()
        )
        return list(ends.values())

    async def _user_called(self, username: str | None, position: Position) -> str:
        if username is None:
            raise Invalid(violations=(Violation("/user_id", "the user is missing"),))
        user_id = await self._queries.user_called(username, position)
        if user_id is None:
            raise UserNotFound(f"No one has ever logged in as {username}.")
        return user_id


def _tokens(issued: IssuedTokens) -> Tokens:
    return Tokens(
        user_id=issued.user_id,
        session_id=issued.session_id,
        access_token=issued.access_token,
        expires_in=issued.expires_in,
        refresh_token=issued.refresh_token,
        position=Position.at(SESSION, issued.sequence).encode(),
    )
