"""An operator who ends a session is named by the account's id, and learns whether they have ended it."""

from unittest.mock import AsyncMock, Mock

import pytest

from contracts.errors import SessionNotFound
from contracts.rpc.vestnik.session.v1 import EndSessionsRequest, EndSessionsResponse
from services.operator.actions.domain import Actor
from services.operator.logins.sessions import Sessions

ANNA = Actor(name="anna", user_id="01890a5d-ac96-774b-bcce-b302099a8057", channel="page", address="192.0.2.7")
OWNER, SESSION = "01890a5d-ac96-774b-bcce-b302099a8058", "01890a5d-ac96-774b-bcce-b302099a8059"


async def test_the_end_of_a_session_names_the_operators_account_and_not_the_username() -> None:
    client = Mock(call=AsyncMock(return_value=EndSessionsResponse(user_id=OWNER, ended=[SESSION])))
    await Sessions(client, Mock()).end(ANNA, OWNER, SESSION, "a lost phone")
    assert client.call.await_args is not None
    request = client.call.await_args.args[1]
    assert isinstance(request, EndSessionsRequest)
    assert (request.operator, request.note) == (ANNA.user_id, "a lost phone")


async def test_of_two_operators_who_end_a_session_at_the_same_time_one_has_not_ended_it() -> None:
    client = Mock(call=AsyncMock(return_value=EndSessionsResponse(user_id=OWNER, ended=[])))
    with pytest.raises(SessionNotFound):
        await Sessions(client, Mock()).end(ANNA, OWNER, SESSION, "a lost phone")
