"""The filters of the login audit that are refused before anything is read."""

from typing import cast

import pytest

from contracts.errors import Invalid
from contracts.rpc.vestnik.operator.v1 import ListSessionEventsRequest
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Recorder
from services.operator.handlers.sessions import SessionHandlers
from services.operator.logins.sessions import Sessions
from services.operator.read_models import ReadModels


@pytest.mark.parametrize("reason", ["nothing", "logout ", "Logout", "operator: why", "\x00"])
async def test_a_reason_for_which_no_session_ends_and_no_login_fails_is_refused(reason: str) -> None:
    handlers = SessionHandlers(cast(ReadModels, None), cast(Sessions, None), cast(Recorder, None))
    with pytest.raises(Invalid) as refused:
        await handlers.events(ListSessionEventsRequest(limit=10, reason=reason), cast(Actor, None))
    (violation,) = refused.value.violations
    assert violation.path == "/reason"
    assert "logout" in violation.message
    assert "wrong_password" in violation.message
