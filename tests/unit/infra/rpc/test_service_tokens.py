"""Service tokens between machines whose clocks differ, or jump."""

import pytest

from contracts.errors import Unauthenticated
from infra.rpc.clock_skew import SKEW
from infra.rpc.service_tokens import LIFE, Issuer, Verifier
from infra.security.secrets import Secrets

START = 1_800_000_000.0


class Machine:
    """The clocks of one machine."""

    def __init__(self, wall: float = START) -> None:
        self.wall = wall
        self.monotonic = 50.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    return Secrets.create(tmp_path_factory.mktemp("secrets"))


def issuer(secrets: Secrets, machine: Machine) -> Issuer:
    return Issuer("messaging", secrets, clock=lambda: machine.wall, monotonic=lambda: machine.monotonic)


def verifier(secrets: Secrets, machine: Machine) -> Verifier:
    return Verifier("contact", secrets, clock=lambda: machine.wall, monotonic=lambda: machine.monotonic)


def bearer(tokens: Issuer) -> str:
    return f"Bearer {tokens.token('contact')}"


@pytest.mark.parametrize("skew", [-29.0, -6.0, 0.0, 6.0, 29.0])
def test_machines_whose_clocks_differ_by_less_than_half_a_minute_accept_each_others_tokens(
    secrets: Secrets, skew: float
) -> None:
    caller, callee = Machine(START + skew), Machine()
    tokens, verifying = issuer(secrets, caller), verifier(secrets, callee)
    for _ in range(40):
        assert verifying.credential(bearer(tokens)).service == "messaging"
        for machine in (caller, callee):
            machine.passes(LIFE / 10)
    assert SKEW.labels("messaging")._value.get() == skew


@pytest.mark.parametrize("skew", [-LIFE - 31.0, 32.0])
def test_tokens_of_a_machine_whose_clock_differs_more_are_refused_and_the_skew_is_measured(
    secrets: Secrets, skew: float
) -> None:
    caller, callee = Machine(START + skew), Machine()
    tokens, verifying = issuer(secrets, caller), verifier(secrets, callee)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            verifying.credential(bearer(tokens))
        for machine in (caller, callee):
            machine.passes(LIFE)
    assert SKEW.labels("messaging")._value.get() == skew


@pytest.mark.parametrize("jump", [-600.0, -100.0, 100.0, 600.0])
def test_a_token_from_before_a_jump_of_the_callers_clock_is_not_reused(secrets: Secrets, jump: float) -> None:
    """The clock was wrong before, and right afterwards."""
    caller, callee = Machine(START - jump), Machine()
    tokens, verifying = issuer(secrets, caller), verifier(secrets, callee)
    bearer(tokens)
    for machine in (caller, callee):
        machine.passes(1.0)
    caller.wall += jump
    assert verifying.credential(bearer(tokens)).service == "messaging"


def test_a_token_is_reused_no_longer_than_it_is_valid_while_the_callers_clock_is_back(secrets: Secrets) -> None:
    caller, callee = Machine(), Machine()
    tokens, verifying = issuer(secrets, caller), verifier(secrets, callee)
    bearer(tokens)
    for machine in (caller, callee):
        machine.passes(LIFE - 61)
    caller.wall -= LIFE - 62
    for machine in (caller, callee):
        machine.passes(100)
    assert verifying.credential(bearer(tokens)).service == "messaging"


def test_a_verified_token_expires_although_the_clock_stands_still(secrets: Secrets) -> None:
    callee = Machine()
    verifying = verifier(secrets, callee)
    token = bearer(issuer(secrets, Machine()))
    verifying.credential(token)
    callee.monotonic += LIFE - 1
    callee.wall += 1e6
    assert verifying.credential(token).service == "messaging"
    callee.monotonic += 2
    with pytest.raises(Unauthenticated):
        verifying.credential(token)
