"""The gRPC methods that create keys of personal data, and keep them from destruction."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.personal_data.key_ids import KEY_ID
from contracts.rpc.vestnik.auth.v1 import (
    AuthServiceBase,
    CreateDataKeysRequest,
    CreateDataKeysResponse,
    PlaceHoldRequest,
    PlaceHoldResponse,
    ReleaseHoldRequest,
    ReleaseHoldResponse,
)
from contracts.values.field_types import Id
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.auth.data_keys.creation import DataKeyCreation
from services.auth.data_keys.holds import Holds

_KeyId = Annotated[str, Meta(max_length=128, pattern=KEY_ID)]


class _KeyIds(msgspec.Struct, frozen=True):
    key_ids: Annotated[tuple[_KeyId, ...], Meta(min_length=1, max_length=100)]


class _Person(msgspec.Struct, frozen=True):
    user_id: Id


class _Hold(_Person, frozen=True):
    reason: Annotated[str, Meta(min_length=1, max_length=1_000)]


class DataKeyServer(AuthServiceBase):
    def __init__(self, data_keys: DataKeyCreation, holds: Holds) -> None:
        self._data_keys = data_keys
        self._holds = holds

    async def create_data_keys(self, message: CreateDataKeysRequest) -> CreateDataKeysResponse:
        request = validated(_KeyIds, {"key_ids": message.key_ids})
        await self._data_keys.create(request.key_ids)
        return CreateDataKeysResponse()

    async def place_hold(self, message: PlaceHoldRequest) -> PlaceHoldResponse:
        request = validated(_Hold, {"user_id": message.user_id, "reason": message.reason})
        return PlaceHoldResponse(
            placed=await self._holds.place(request.user_id, request.reason, current().provenance())
        )

    async def release_hold(self, message: ReleaseHoldRequest) -> ReleaseHoldResponse:
        request = validated(_Person, {"user_id": message.user_id})
        return ReleaseHoldResponse(released=await self._holds.release(request.user_id, current().provenance()))
