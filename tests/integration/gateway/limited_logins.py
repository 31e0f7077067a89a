"""Logins whose limits do not refill during a test."""

import time

from contracts.errors import InvalidCredentials
from contracts.rpc.vestnik.auth.v1 import LoginResponse
from contracts.rpc.vestnik.session.v1 import Tokens
from tests.integration.gateway.conftest import Harness

BODY = {"login": "Anna", "password": "correct horse"}
LOGGED_IN = {"login": LoginResponse(tokens=Tokens(), device_token="known")}
WRONG = {"login": InvalidCredentials()}


def stop_the_clock(*harnesses: Harness) -> None:
    """Freezes the limits' clock, so that nothing is refilled, however slow the machine is."""
    # A whole number, with which the sums come out exactly; time that goes on makes good for what they lack.
    at = float(round(time.monotonic()))
    for harness in harnesses:
        limiter = harness.context.limiter
        assert limiter is not None
        limiter._clock = lambda: at


async def log_in(harness: Harness, **headers: str) -> int:
    return (await harness.client.post("/v1/sessions", json=BODY, headers=headers)).status_code


async def burn(harness: Harness) -> None:
    """Wrong passwords until the login takes no more."""
    harness.script.answers = dict(WRONG)
    assert [await log_in(harness) for _ in range(11)] == [401] * 10 + [429]
