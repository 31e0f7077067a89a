"""The gRPC methods that set up, end and reset the second factor."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.positions import Position
from contracts.rpc.vestnik.auth.v1 import (
    AuthServiceBase,
    BeginTotpRequest,
    BeginTotpResponse,
    ConfirmTotpRequest,
    ConfirmTotpResponse,
    EndTotpRequest,
    EndTotpResponse,
    ResetTotpRequest,
    ResetTotpResponse,
)
from contracts.subjects import AUTH
from contracts.values.field_types import Id
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.auth.rpc_fields import NetworkAddress, TypedPassword
from services.auth.second_factor.commands import SecondFactors
from services.auth.second_factor.domain import BY_OPERATOR


class _TotpSetUp(msgspec.Struct, frozen=True):
    user_id: Id
    password: TypedPassword
    address: NetworkAddress


class _TotpCode(msgspec.Struct, frozen=True):
    user_id: Id
    code: Annotated[str, Meta(min_length=1, max_length=64)]
    session_id: Id
    address: NetworkAddress


class _TotpEnd(_TotpCode, frozen=True):
    password: TypedPassword


class _Account(msgspec.Struct, frozen=True):
    user_id: Id


class SecondFactorServer(AuthServiceBase):
    def __init__(self, second_factors: SecondFactors) -> None:
        self._second_factors = second_factors

    async def begin_totp(self, message: BeginTotpRequest) -> BeginTotpResponse:
        request = validated(
            _TotpSetUp, {"user_id": message.user_id, "password": message.password, "address": message.address}
        )
        begun = await self._second_factors.begin(
            user_id=request.user_id,
            password=request.password,
            address=request.address,
            provenance=current().provenance(),
        )
        return BeginTotpResponse(secret=begun.secret, otpauth_uri=begun.otpauth_uri, qr_code=begun.qr_code)

    async def confirm_totp(self, message: ConfirmTotpRequest) -> ConfirmTotpResponse:
        request = validated(
            _TotpCode,
            {
                "user_id": message.user_id,
                "code": message.code,
                "session_id": message.session_id,
                "address": message.address,
            },
        )
        confirmed = await self._second_factors.confirm(
            user_id=request.user_id,
            code=request.code,
            session_id=request.session_id,
            address=request.address,
            provenance=current().provenance(),
        )
        return ConfirmTotpResponse(
            recovery_codes=confirmed.recovery_codes,
            device_token=confirmed.device_token,
            position=confirmed.position.encode(),
        )

    async def end_totp(self, message: EndTotpRequest) -> EndTotpResponse:
        request = validated(
            _TotpEnd,
            {
                "user_id": message.user_id,
                "password": message.password,
                "code": message.code,
                "session_id": message.session_id,
                "address": message.address,
            },
        )
        position = await self._second_factors.end(
            user_id=request.user_id,
            password=request.password,
            code=request.code,
            session_id=request.session_id,
            address=request.address,
            provenance=current().provenance(),
        )
        return EndTotpResponse(position=position.encode())

    async def reset_totp(self, message: ResetTotpRequest) -> ResetTotpResponse:
        request = validated(_Account, {"user_id": message.user_id})
        removed = await self._second_factors.remove(
            request.user_id, reason=BY_OPERATOR, provenance=current().provenance()
        )
        position = Position.at(AUTH, removed.sequence)
        return ResetTotpResponse(removed=bool(removed.events), position=position.encode())
