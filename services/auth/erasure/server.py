"""The gRPC methods that erase an account: for its user, and for an operator."""

import msgspec

from contracts.rpc.vestnik.auth.v1 import (
    AuthServiceBase,
    DeleteAccountRequest,
    DeleteAccountResponse,
    EraseAccountRequest,
    EraseAccountResponse,
)
from contracts.values.field_types import Id
from contracts.values.timestamps import to_unix_ms
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.auth.erasure.commands import Erasures
from services.auth.rpc_fields import NetworkAddress, TypedPassword


class _Deletion(msgspec.Struct, frozen=True):
    user_id: Id
    password: TypedPassword
    address: NetworkAddress


class _Account(msgspec.Struct, frozen=True):
    user_id: Id


class ErasureServer(AuthServiceBase):
    def __init__(self, erasures: Erasures) -> None:
        self._erasures = erasures

    async def delete_account(self, message: DeleteAccountRequest) -> DeleteAccountResponse:
        request = validated(
            _Deletion, {"user_id": message.user_id, "password": message.password, "address": message.address}
        )
        requested = await self._erasures.request(
            user_id=request.user_id,
            password=request.password,
            address=request.address,
            provenance=current().provenance(),
        )
        return DeleteAccountResponse(erased_at=to_unix_ms(requested.erase_at), position=requested.position.encode())

    async def erase_account(self, message: EraseAccountRequest) -> EraseAccountResponse:
        request = validated(_Account, {"user_id": message.user_id})
        erasure = await self._erasures.erase(request.user_id, "operator", current().provenance())
        return EraseAccountResponse(
            erased=erasure.erased,
            free_at=None if erasure.free_at is None else to_unix_ms(erasure.free_at),
            position=erasure.position.encode(),
        )
