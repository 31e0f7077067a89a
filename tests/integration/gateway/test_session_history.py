"""The history of sessions, and the failed logins beside it."""

import pytest
from grpclib import GRPCError, Status

from contracts.errors import DeadlineExceeded, ReadModelBehind
from contracts.rpc.vestnik.auth import v1 as auth
from contracts.rpc.vestnik.session import v1 as session
from tests.integration.gateway.conftest import Harness
from tests.integration.gateway.route_cases.case import AT, PEER, WROTE


@pytest.mark.parametrize("error", [ReadModelBehind(), GRPCError(Status.UNIMPLEMENTED), DeadlineExceeded()])
async def test_a_history_has_its_sessions_while_auth_cannot_say_which_logins_failed(
    harness: Harness, error: Exception
) -> None:
    past = session.PastSession(session_id=PEER, device="phone", created_at=AT, last_refreshed_at=AT)
    answered = session.ListHistoryResponse(sessions=[past], position=WROTE)
    harness.script.answers = {"list_history": answered, "list_failed_logins": error}

    answer = await harness.client.get("/v1/sessions/history", headers=harness.signed_in)

    assert answer.status_code == 200, answer.text
    assert ([one["session_id"] for one in answer.json()["items"]], answer.json()["failed_attempts"]) == ([PEER], None)
    # What a position waits for are the sessions.
    harness.script.answers["list_history"] = ReadModelBehind()
    answer = await harness.client.get("/v1/sessions/history", headers=harness.signed_in)
    assert (answer.status_code, answer.json()["code"]) == (503, "read_model_behind")


async def test_the_first_step_of_the_login_on_the_page_before_is_left_out_and_no_other(harness: Harness) -> None:
    first_steps = [
        auth.FailedLogin(at=AT, since=AT, reason="code_required", device=device, address="192.0.2.1", count=1)
        for device in ("phone", "thief's phone")
    ]
    newer = session.PastSession(session_id=PEER, device="phone", address="192.0.2.1", created_at=AT + 20_000)
    harness.script.answers = {
        "list_history": session.ListHistoryResponse(position=WROTE, before=newer.created_at, newer=newer),
        "list_failed_logins": auth.ListFailedLoginsResponse(failures=first_steps),
    }

    answer = await harness.client.get("/v1/sessions/history?cursor=any", headers=harness.signed_in)

    assert [one["device"] for one in answer.json()["failed_attempts"]] == ["thief's phone"]
