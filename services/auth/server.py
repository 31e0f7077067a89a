"""gRPC server of auth: validates each request, runs a command or query, and maps the response."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import Invalid, Violation
from contracts.positions import Position
from contracts.rpc.vestnik.auth.v1 import (
    ChangePasswordRequest,
    ChangePasswordResponse,
    EndRegistrationRequest,
    EndRegistrationResponse,
    FailedLogin,
    GetRegistrationRequest,
    GetRegistrationResponse,
    GetUserRequest,
    GetUserResponse,
    ListFailedLoginsRequest,
    ListFailedLoginsResponse,
    LoginRequest,
    LoginResponse,
    RegisterRequest,
    RegisterResponse,
    ReportNotMeRequest,
    ReportNotMeResponse,
    RequestEmailChangeRequest,
    RequestEmailChangeResponse,
    RequestPasswordResetRequest,
    RequestPasswordResetResponse,
    ResendVerificationRequest,
    ResendVerificationResponse,
    ResetPasswordRequest,
    ResetPasswordResponse,
    UndoEmailChangeRequest,
    UndoEmailChangeResponse,
    User,
    VerifyEmailRequest,
    VerifyEmailResponse,
)
from contracts.subjects import AUTH
from contracts.values.field_types import (
    LANGUAGES,
    PAGE_LIMIT,
    Device,
    DisplayName,
    Email,
    Id,
    Language,
    PageLimit,
    Username,
)
from contracts.values.timestamps import from_unix_ms, to_unix_ms
from contracts.values.validation import validated
from contracts.values.visible_text import normalized
from infra.rpc.call_context import current
from services.auth.alerts.not_me import NotMeReports
from services.auth.commands import Commands
from services.auth.data_export.commands import DataExportCommands
from services.auth.data_export.server import DataExportServer
from services.auth.data_keys.creation import DataKeyCreation
from services.auth.data_keys.holds import Holds
from services.auth.data_keys.server import DataKeyServer
from services.auth.email_change.change import EmailChanges
from services.auth.email_change.undo import EmailChangeUndoing
from services.auth.erasure.commands import Erasures
from services.auth.erasure.server import ErasureServer
from services.auth.failures.queries import FailureQueries
from services.auth.login import Login
from services.auth.mail.templates import address_of
from services.auth.passwords.change import PasswordChanges
from services.auth.passwords.hashing import accepted
from services.auth.queries import Queries
from services.auth.registration import reserved_names
from services.auth.rpc_fields import NetworkAddress, TypedPassword
from services.auth.second_factor.commands import SecondFactors
from services.auth.second_factor.server import SecondFactorServer

# Minimum duration of a mail request, whether or not a mail is due, so that timing reveals nothing.
_ASKING_SECONDS = 0.05


class _Registration(msgspec.Struct, frozen=True):
    email: Email
    username: Username
    display_name: DisplayName | None
    language: Language


class _Address(msgspec.Struct, frozen=True):
    email: Email


class _Token(msgspec.Struct, frozen=True):
    token: Annotated[str, Meta(min_length=1, max_length=2048)]


class _Confirmation(_Token, frozen=True):
    password: TypedPassword | None
    address: NetworkAddress


class _UserId(msgspec.Struct, frozen=True):
    user_id: Id


class _Change(msgspec.Struct, frozen=True):
    user_id: Id
    session_id: Id
    current_password: TypedPassword
    address: NetworkAddress


class _EmailChange(_Address, frozen=True):
    user_id: Id
    password: TypedPassword
    address: NetworkAddress


class _LoginTerms(msgspec.Struct, frozen=True):
    login: Annotated[str, Meta(min_length=1, max_length=254)]
    password: TypedPassword
    device: Device
    address: NetworkAddress
    device_token: Annotated[str, Meta(max_length=256)]
    totp: Annotated[str, Meta(max_length=64)]
    session_id: Id | None


# Unix milliseconds, of the years 1970 to 9000.
_Milliseconds = Annotated[int, Meta(ge=0, le=221_845_392_000_000)]


class _FailureListing(msgspec.Struct, frozen=True):
    user_id: Id
    since: _Milliseconds | None
    before: _Milliseconds | None
    limit: PageLimit


class AuthServer(SecondFactorServer, DataKeyServer, DataExportServer, ErasureServer):
    def __init__(
        self,
        commands: Commands,
        login: Login,
        changes: PasswordChanges,
        second_factors: SecondFactors,
        email_changes: EmailChanges,
        email_undo: EmailChangeUndoing,
        queries: Queries,
        failures: FailureQueries,
        reports: NotMeReports,
        data_keys: DataKeyCreation,
        holds: Holds,
        data_exports: DataExportCommands,
        erasures: Erasures,
    ) -> None:
        SecondFactorServer.__init__(self, second_factors)
        DataKeyServer.__init__(self, data_keys, holds)
        DataExportServer.__init__(self, data_exports)
        ErasureServer.__init__(self, erasures)
        self._commands = commands
        self._login = login
        self._changes = changes
        self._email_changes = email_changes
        self._email_undo = email_undo
        self._queries = queries
        self._failures = failures
        self._reports = reports

    async def register(self, message: RegisterRequest) -> RegisterResponse:
        request = validated(
            _Registration,
            {
                "email": message.email,
                "username": message.username,
                "display_name": None if message.display_name is None else normalized(message.display_name),
                "language": message.language or LANGUAGES[0],
            },
        )
        _deliverable(request.email)
        _not_reserved(request.username)
        accepted(message.password)
        user = await self._commands.register(
            email=request.email,
            username=request.username,
            password=message.password,
            display_name=request.display_name,
            language=request.language,
            provenance=current().provenance(),
        )
        return RegisterResponse(
            user=User(
                user_id=user.user_id,
                username=user.username,
                email=user.email,
                email_verified=False,
                created_at=to_unix_ms(user.created_at),
            ),
            position=Position.at(AUTH, user.sequence).encode(),
        )

    async def login(self, message: LoginRequest) -> LoginResponse:
        request = validated(
            _LoginTerms,
            {
                "login": message.login,
                "password": message.password,
                "device": message.device,
                "address": message.address,
                "device_token": message.device_token,
                "totp": message.totp,
                "session_id": message.session_id or None,
            },
        )
        logged_in = await self._login.login(
            login=request.login,
            password=request.password,
            device=request.device,
            address=request.address,
            device_token=request.device_token,
            known_device_only=message.known_device_only,
            totp=request.totp,
            proved_device_only=message.proved_device_only,
            session_id=request.session_id or "",
        )
        return LoginResponse(
            tokens=logged_in.tokens,
            device_token=logged_in.device_token,
            erasure_cancelled=logged_in.erasure_cancelled,
        )

    async def verify_email(self, message: VerifyEmailRequest) -> VerifyEmailResponse:
        request = validated(
            _Confirmation, {"token": message.token, "password": message.password, "address": message.address}
        )
        verified = await self._commands.verify_email(
            request.token, current().provenance(), password=request.password, address=request.address
        )
        return VerifyEmailResponse(user_id=verified.user_id, position=Position.at(AUTH, verified.sequence).encode())

    async def get_registration(self, message: GetRegistrationRequest) -> GetRegistrationResponse:
        request = validated(_Token, {"token": message.token})
        registration = await self._commands.registration(request.token)
        return GetRegistrationResponse(
            username=registration.username,
            verified=registration.verified,
            needs_password=registration.needs_password,
            changes_user_id=registration.changes_user_id,
        )

    async def end_registration(self, message: EndRegistrationRequest) -> EndRegistrationResponse:
        request = validated(_Token, {"token": message.token})
        await self._commands.end_registration(request.token, current().provenance())
        return EndRegistrationResponse()

    async def resend_verification(self, message: ResendVerificationRequest) -> ResendVerificationResponse:
        request = validated(_Address, {"email": message.email})
        async with _taking(_ASKING_SECONDS):
            await self._commands.resend_verification(request.email, current().provenance())
        return ResendVerificationResponse()

    async def change_password(self, message: ChangePasswordRequest) -> ChangePasswordResponse:
        request = validated(
            _Change,
            {
                "user_id": message.user_id,
                "session_id": message.session_id,
                "current_password": message.current_password,
                "address": message.address,
            },
        )
        changed = await self._changes.change(
            user_id=request.user_id,
            current=request.current_password,
            new=message.new_password,
            session_id=request.session_id,
            provenance=current().provenance(),
            address=request.address,
        )
        return ChangePasswordResponse(position=changed.position.encode(), device_token=changed.device_token)

    async def request_password_reset(self, message: RequestPasswordResetRequest) -> RequestPasswordResetResponse:
        request = validated(_Address, {"email": message.email})
        async with _taking(_ASKING_SECONDS):
            await self._changes.request_reset(request.email, current().provenance())
        return RequestPasswordResetResponse()

    async def reset_password(self, message: ResetPasswordRequest) -> ResetPasswordResponse:
        request = validated(_Token, {"token": message.token})
        changed = await self._changes.reset(
            token=request.token, new=message.new_password, provenance=current().provenance()
        )
        return ResetPasswordResponse(
            user_id=changed.user_id, position=changed.position.encode(), device_token=changed.device_token
        )

    async def report_not_me(self, message: ReportNotMeRequest) -> ReportNotMeResponse:
        request = validated(_Token, {"token": message.token})
        reported = await self._reports.report(request.token, current().provenance())
        return ReportNotMeResponse(
            user_id=reported.user_id, reset_token=reported.reset_token, position=reported.position.encode()
        )

    async def request_email_change(self, message: RequestEmailChangeRequest) -> RequestEmailChangeResponse:
        request = validated(
            _EmailChange,
            {
                "user_id": message.user_id,
                "email": message.email,
                "password": message.password,
                "address": message.address,
            },
        )
        _deliverable(request.email)
        call = current()
        sequence = await self._email_changes.request(
            user_id=request.user_id,
            email=request.email,
            password=request.password,
            own_address=self._queries.own_address,
            position=call.position,
            provenance=call.provenance(),
            address=request.address,
        )
        return RequestEmailChangeResponse(position=Position.at(AUTH, sequence).encode())

    async def undo_email_change(self, message: UndoEmailChangeRequest) -> UndoEmailChangeResponse:
        request = validated(_Token, {"token": message.token})
        undone = await self._email_undo.undo(request.token, current().provenance())
        return UndoEmailChangeResponse(user_id=undone.user_id, position=undone.position.encode())

    async def get_user(self, message: GetUserRequest) -> GetUserResponse:
        request = validated(_UserId, {"user_id": message.user_id})
        call = current()
        # Only users see their own address. Other services may call without an actor, or with the actor of their caller.
        if call.caller == "gateway" and call.actor == request.user_id:
            user = await self._queries.own_user(request.user_id, call.position)
        else:
            user = await self._queries.other_user(request.user_id)
        return GetUserResponse(
            user=User(
                user_id=user.user_id,
                username=user.username,
                email=user.email,
                email_verified=user.email_verified,
                created_at=to_unix_ms(user.created_at),
                totp=user.totp,
            ),
            position=user.position.encode(),
        )

    async def list_failed_logins(self, message: ListFailedLoginsRequest) -> ListFailedLoginsResponse:
        request = validated(
            _FailureListing,
            {
                "user_id": message.user_id,
                "since": message.since,
                "before": message.before,
                "limit": message.limit or PAGE_LIMIT,
            },
        )
        rows = await self._failures.of_user(
            request.user_id,
            since=None if request.since is None else from_unix_ms(request.since),
            before=None if request.before is None else from_unix_ms(request.before),
            limit=request.limit,
        )
        return ListFailedLoginsResponse(
            failures=[
                FailedLogin(
                    at=to_unix_ms(row.at),
                    reason=row.reason,
                    device=row.device or "",
                    address=row.address or "",
                    count=row.count,
                    since=to_unix_ms(row.since),
                )
                for row in rows
            ]
        )


@asynccontextmanager
async def _taking(seconds: float) -> AsyncIterator[None]:
    """Makes the block take at least this long, unless it raises."""
    at_least = asyncio.create_task(asyncio.sleep(seconds))
    try:
        yield
        await at_least
    finally:
        at_least.cancel()


def _deliverable(email: str) -> None:
    try:
        address_of(email)
    except ValueError as error:
        raise Invalid(violations=(Violation("/email", "not an address that mail can be sent to"),)) from error


def _not_reserved(username: str) -> None:
    if reserved_names.is_reserved(username):
        raise Invalid(violations=(Violation("/username", "is reserved", reserved_names.CODE),))
