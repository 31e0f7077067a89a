"""The gRPC method that creates keys of personal data."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.personal_data.key_ids import KEY_ID
from contracts.rpc.vestnik.auth.v1 import AuthServiceBase, CreateDataKeysRequest, CreateDataKeysResponse
from contracts.values.validation import validated
from services.auth.data_keys.creation import DataKeyCreation

_KeyId = Annotated[str, Meta(max_length=128, pattern=KEY_ID)]


class _KeyIds(msgspec.Struct, frozen=True):
    key_ids: Annotated[tuple[_KeyId, ...], Meta(min_length=1, max_length=100)]


class DataKeyServer(AuthServiceBase):
    def __init__(self, data_keys: DataKeyCreation) -> None:
        self._data_keys = data_keys

    async def create_data_keys(self, message: CreateDataKeysRequest) -> CreateDataKeysResponse:
        request = validated(_KeyIds, {"key_ids": message.key_ids})
        await self._data_keys.create(request.key_ids)
        return CreateDataKeysResponse()
