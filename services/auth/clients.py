"""Calls to other services: session, which begins a session after a login."""

from contracts.rpc.vestnik.session.v1 import CreateSessionRequest, SessionServiceStub, Tokens
from infra.rpc.client import Client

_TIMEOUT = 5.0


class Sessions:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._stub = client.stub(SessionServiceStub)

    async def create(self, *, user_id: str, username: str, device: str, address: str) -> Tokens:
        """Begins a session. Not repeated when the answer is lost: each call begins another one.

        Raises:
            Unavailable, DeadlineExceeded: session does not answer.
        """
        response = await self._client.call(
            self._stub.create_session,
            CreateSessionRequest(user_id=user_id, username=username, device=device, address=address),
            timeout=_TIMEOUT,
        )
        assert response.tokens is not None
        return response.tokens
