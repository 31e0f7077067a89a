"""Auth's calls to session, and how long it waits for them."""

import time
from collections.abc import Callable
from typing import Any

from contracts.envelope import Provenance
from contracts.events.user import PasswordChanged
from contracts.rpc.vestnik.session.v1 import EndSessionsResponse
from contracts.values.ids import new_id
from infra.rpc.call_context import Call, enter
from infra.rpc.client import Client
from services.auth.clients import Sessions


class RecordingClient(Client):
    """Keeps the context of each call instead of making it."""

    def __init__(self) -> None:
        self.contexts: list[Call | None] = []

    def stub(self, kind: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - a generated stub
        return kind(self)

    async def call(self, method: object, request: object, **options: Any) -> Any:  # noqa: ANN401 - a generated answer
        self.contexts.append(options.get("context"))
        return EndSessionsResponse()


async def test_ending_older_sessions_takes_no_longer_than_the_request_that_it_is_for() -> None:
    client = RecordingClient()
    event = PasswordChanged(password_hash="", generation=2, kept_session_id=None, reason="password_changed")
    deadline = time.monotonic() + 3
    enter(Call(request_id=new_id(), deadline=deadline))
    await Sessions(client).end_older(user_id=new_id(), event=event, provenance=Provenance(correlation_id="request"))
    (context,) = client.contexts
    assert context is not None
    assert (context.request_id, context.deadline) == ("request", deadline)
