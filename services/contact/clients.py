"""Checks that a user exists with a verified address. A yes holds until the user is erased; only auth can say no."""

from typing import Protocol

from contracts.errors import UserNotFound
from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, GetUserRequest
from infra.rpc.client import Client
from projections.engine.erased_users import ErasedUsers
from streams.lru_cache import LruCache

_REMEMBERED = 200_000
_TIMEOUT = 3.0


class Contacts(Protocol):
    """Users as contacts, in the read model."""

    async def is_verified(self, user_id: str) -> bool: ...


class People:
    def __init__(self, contacts: Contacts, auth: Client, erased: ErasedUsers) -> None:
        """`erased`: the users who were erased, whom the read model may still have."""
        self._contacts = contacts
        self._erased = erased
        self._auth = auth
        self._stub = auth.stub(AuthServiceStub)
        self._known: LruCache[str, bool] = LruCache(_REMEMBERED)

    async def is_erased(self, user_id: str) -> bool:
        """
        Raises:
            Unavailable: that is not known yet.
        """
        return await self._erased.has(user_id)

    async def known(self, user_id: str) -> bool:
        """Whether the user exists with a verified address, from the cache, the read model, or auth."""
        if await self.is_erased(user_id):
            return False
        if self._known.get(user_id):
            return True
        if not (await self._contacts.is_verified(user_id) or await self._ask(user_id)):
            return False
        self._known.put(user_id, True)
        return True

    async def _ask(self, user_id: str) -> bool:
        try:
            await self._auth.call(
                self._stub.get_user, GetUserRequest(user_id=user_id), timeout=_TIMEOUT, idempotent=True
            )
        except UserNotFound:
            return False
        return True
