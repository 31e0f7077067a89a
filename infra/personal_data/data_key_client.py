"""Client of auth for keys of personal data: what a service needs to seal its events."""

from collections.abc import Collection
from itertools import islice

from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, CreateDataKeysRequest
from infra.rpc.client import Client

_TIMEOUT = 3.0
# The most that auth creates in one call.
_MOST = 100


class DataKeyClient:
    def __init__(self, auth: Client) -> None:
        self._client = auth
        self._stub = auth.stub(AuthServiceStub)

    async def create(self, key_ids: Collection[str]) -> None:
        """Creates those of the keys that do not exist, up to 100 in a call. Idempotent.

        Raises:
            UserNotFound: one of them is for a user who does not exist, or was erased.
            Unavailable, DeadlineExceeded: auth or the store of keys does not answer; some may have been created.
        """
        rest = iter(key_ids)
        while batch := list(islice(rest, _MOST)):
            await self._client.call(
                self._stub.create_data_keys, CreateDataKeysRequest(key_ids=batch), timeout=_TIMEOUT, idempotent=True
            )
