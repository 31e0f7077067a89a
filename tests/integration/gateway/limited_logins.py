"""Logins whose limits do not refill during a test."""

import time

from contracts.errors import InvalidCredentials
from contracts.rpc.vestnik.auth.v1 import LoginResponse
from contracts.rpc.vestnik.session.v1 import Tokens
from tests.integration.gateway.conftest import Stage

BODY = {"login": "Anna", "password": "correct horse"}
LOGGED_IN = {"login": LoginResponse(tokens=Tokens(), device_token="known")}
WRONG = {"login": InvalidCredentials()}


def stop_the_clock(*stages: Stage) -> None:
    """Freezes the limits' clock, so that nothing is refilled, however slow the machine is."""
    # A whole number, with which the sums come out exactly; time that goes on makes good for what they lack.
    at = float(round(time.monotonic()))
    for stage in stages:
        limiter = stage.context.limiter
        assert limiter is not None
        limiter._clock = lambda: at


async def log_in(stage: Stage, **headers: str) -> int:
    return (await stage.client.post("/v1/sessions", json=BODY, headers=headers)).status_code


async def burn(stage: Stage) -> None:
    """Wrong passwords until the login takes no more."""
    stage.script.answers = dict(WRONG)
    assert [await log_in(stage) for _ in range(11)] == [401] * 10 + [429]
