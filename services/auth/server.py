"""Auth over gRPC: checks every request, maps it to a command or a query, and maps the answer back."""

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import Invalid, Violation
from contracts.fields import Device, DisplayName, Email, Id, Username
from contracts.positions import Position
from contracts.rpc.vestnik.auth.v1 import (
    AuthServiceBase,
    GetUserRequest,
    GetUserResponse,
    LoginRequest,
    LoginResponse,
    RegisterRequest,
    RegisterResponse,
    ResendVerificationRequest,
    ResendVerificationResponse,
    User,
    VerifyEmailRequest,
    VerifyEmailResponse,
)
from contracts.subjects import AUTH
from contracts.times import to_unix_ms
from contracts.validation import validated
from infra.rpc.context import current
from services.auth.commands import Commands
from services.auth.login import Login
from services.auth.mail import address_of
from services.auth.passwords import accepted
from services.auth.queries import Queries

# Resending takes this long whether somebody waits for the mail or not, so that the time tells nothing.
_RESEND_SECONDS = 0.05


class _Registration(msgspec.Struct, frozen=True):
    email: Email
    username: Username
    display_name: DisplayName | None


class _Address(msgspec.Struct, frozen=True):
    email: Email


class _Token(msgspec.Struct, frozen=True):
    token: Annotated[str, Meta(min_length=1, max_length=2048)]


class _UserId(msgspec.Struct, frozen=True):
    user_id: Id


class _LoginTerms(msgspec.Struct, frozen=True):
    login: Annotated[str, Meta(min_length=1, max_length=254)]
    # Any length that a person can type: what cannot be a password is a wrong one.
    password: Annotated[str, Meta(min_length=1, max_length=1024)]
    device: Device
    address: Annotated[str, Meta(max_length=100, pattern=r"^[^\x00]*\Z")]


class AuthServer(AuthServiceBase):
    def __init__(self, commands: Commands, login: Login, queries: Queries) -> None:
        self._commands = commands
        self._login = login
        self._queries = queries

    async def register(self, message: RegisterRequest) -> RegisterResponse:
        asked = validated(
            _Registration,
            {"email": message.email, "username": message.username, "display_name": message.display_name},
        )
        _deliverable(asked.email)
        accepted(message.password)
        user = await self._commands.register(
            email=asked.email,
            username=asked.username,
            password=message.password,
            display_name=asked.display_name,
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
        asked = validated(
            _LoginTerms,
            {
                "login": message.login,
                "password": message.password,
                "device": message.device,
                "address": message.address,
            },
        )
        tokens = await self._login.login(
            login=asked.login, password=asked.password, device=asked.device, address=asked.address
        )
        return LoginResponse(tokens=tokens)

    async def verify_email(self, message: VerifyEmailRequest) -> VerifyEmailResponse:
        asked = validated(_Token, {"token": message.token})
        verified = await self._commands.verify_email(asked.token, current().provenance())
        return VerifyEmailResponse(user_id=verified.user_id, position=Position.at(AUTH, verified.sequence).encode())

    async def resend_verification(self, message: ResendVerificationRequest) -> ResendVerificationResponse:
        asked = validated(_Address, {"email": message.email})
        at_least = asyncio.create_task(asyncio.sleep(_RESEND_SECONDS))
        try:
            await self._commands.resend_verification(asked.email, current().provenance())
            await at_least
        finally:
            at_least.cancel()
        return ResendVerificationResponse()

    async def get_user(self, message: GetUserRequest) -> GetUserResponse:
        asked = validated(_UserId, {"user_id": message.user_id})
        call = current()
        # Without an actor the system itself asks, which may see what the user sees.
        if call.actor in (None, asked.user_id):
            user = await self._queries.own_user(asked.user_id, call.position)
        else:
            user = await self._queries.other_user(asked.user_id)
        return GetUserResponse(
            user=User(
                user_id=user.user_id,
                username=user.username,
                email=user.email,
                email_verified=user.email_verified,
                created_at=to_unix_ms(user.created_at),
            ),
            position=user.position.encode(),
        )


def _deliverable(email: str) -> None:
    try:
        address_of(email)
    except ValueError as error:
        raise Invalid(violations=(Violation("/email", "not an address that mail can be sent to"),)) from error
