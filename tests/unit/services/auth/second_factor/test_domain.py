"""Given a second factor, when it is set up, used or ended, then these events or that refusal follow."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from contracts.errors import InvalidTotp, TotpAlreadyOn, TotpNotBegun
from contracts.events.event import Event
from contracts.events.second_factor import (
    RecoveryCodeUsed,
    SealedSecret,
    SecondFactorState,
    TotpBegun,
    TotpConfirmed,
    TotpRemoved,
    TotpUsed,
)
from services.auth.second_factor import domain
from services.auth.second_factor.domain import AppCode, RecoveryCode

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
SECRET, RESEALED = SealedSecret(key="aa", ciphertext="1"), SealedSecret(key="bb", ciphertext="2")
OFF = SecondFactorState()
ON = SecondFactorState(generation=1, secret=SECRET, on_since=NOW, counter=100, recovery_codes=("one", "two"))


def code(*counters: int, secret: SealedSecret = SECRET) -> AppCode:
    return AppCode(counters=counters, secret=secret)


def after(*events: Event) -> SecondFactorState:
    return domain.evolve(OFF, events[-1], NOW)


def test_a_set_up_changes_nothing_until_it_is_confirmed() -> None:
    (begun,) = domain.decide_begin(OFF, SECRET, NOW, 1)
    assert isinstance(begun, TotpBegun)
    assert not domain.is_on(begun.state)
    (confirmed,) = domain.decide_confirm(begun.state, code(7), ("one",), NOW, "here", 1)
    expected = SecondFactorState(generation=1, secret=SECRET, on_since=NOW, counter=7, recovery_codes=("one",))
    assert confirmed == TotpConfirmed(session_id="here", state=expected)
    assert domain.is_on(after(begun, confirmed))


def test_a_second_set_up_replaces_the_first() -> None:
    (first,) = domain.decide_begin(OFF, SECRET, NOW, 1)
    assert isinstance(first, TotpBegun)
    (second,) = domain.decide_begin(first.state, RESEALED, NOW, 1)
    assert after(second).begun == RESEALED


def test_a_set_up_that_was_not_begun_has_lapsed_or_is_on_is_not_confirmed() -> None:
    (begun,) = domain.decide_begin(OFF, SECRET, NOW, 1)
    for state, at in ((OFF, NOW), (ON, NOW), (after(begun), NOW + domain.SET_UP_TIME)):
        with pytest.raises(TotpNotBegun):
            domain.decide_confirm(state, code(7), (), at, "", 1)
    with pytest.raises(TotpAlreadyOn):
        domain.decide_begin(ON, RESEALED, NOW, 1)


def test_a_recovery_code_confirms_nothing() -> None:
    (begun,) = domain.decide_begin(OFF, SECRET, NOW, 1)
    with pytest.raises(InvalidTotp):
        domain.decide_confirm(after(begun), RecoveryCode(digest="one"), (), NOW, "", 1)


def test_a_code_is_good_once_and_voids_all_earlier_ones() -> None:
    (used,) = domain.decide_use(ON, code(101, secret=RESEALED))
    assert used == TotpUsed(state=msgspec.structs.replace(ON, counter=101, secret=RESEALED))
    for counter in (101, 100, 1):
        with pytest.raises(InvalidTotp):
            domain.decide_use(after(used), code(counter))
    assert domain.decide_use(after(used), code(102))


def test_of_two_steps_with_one_code_the_unused_one_counts() -> None:
    (used,) = domain.decide_use(ON, code(100, 101))
    assert after(used).counter == 101


def test_a_recovery_code_is_good_once_and_leaves_the_others() -> None:
    (used,) = domain.decide_use(ON, RecoveryCode(digest="one"))
    assert used == RecoveryCodeUsed(state=msgspec.structs.replace(ON, recovery_codes=("two",)))
    for digest in ("one", "three", ""):
        with pytest.raises(InvalidTotp):
            domain.decide_use(after(used), RecoveryCode(digest=digest))


def test_without_a_second_factor_no_code_is_used_up() -> None:
    assert domain.decide_use(OFF, code(1)) == domain.decide_use(OFF, RecoveryCode(digest="one")) == ()


@pytest.mark.parametrize("proof", [code(101), RecoveryCode(digest="one")])
def test_the_end_leaves_nothing_but_the_generation(proof: domain.Proof) -> None:
    (removed,) = domain.decide_end(ON, proof, "here")
    assert removed == TotpRemoved(reason="user", session_id="here", state=SecondFactorState(generation=2))
    assert domain.decide_end(after(removed), proof, "here") == ()
    (begun,) = domain.decide_begin(after(removed), RESEALED, NOW, 1)
    (confirmed,) = domain.decide_confirm(after(begun), code(1, secret=RESEALED), (), NOW, "", 1)
    assert after(confirmed).generation == 3


def test_only_a_code_ends_it() -> None:
    for wrong in (code(100), RecoveryCode(digest="three")):
        with pytest.raises(InvalidTotp):
            domain.decide_end(ON, wrong, "here")


def test_an_operator_or_the_mailbox_owner_removes_it_without_a_code() -> None:
    (removed,) = domain.decide_remove(ON, "operator")
    assert removed == TotpRemoved(reason="operator", state=SecondFactorState(generation=2))
    assert domain.decide_remove(after(removed), "operator") == ()


@pytest.mark.parametrize(
    ("since", "until", "removed"), [(-1, 1, True), (0, 1, True), (-1, 0, True), (1, 2, False), (-2, -1, False)]
)
def test_a_second_factor_turned_on_outside_the_time_range_stays(since: int, until: int, removed: bool) -> None:
    between = (NOW + timedelta(seconds=since), NOW + timedelta(seconds=until))
    assert bool(domain.decide_remove(ON, "not_me", between)) is removed


def test_another_password_ends_a_set_up() -> None:
    (begun,) = domain.decide_begin(OFF, SECRET, NOW, 1)
    with pytest.raises(TotpNotBegun):
        domain.decide_confirm(after(begun), code(7), (), NOW, "", 2)


def test_a_device_is_remembered_for_thirty_days_of_one_generation() -> None:
    proved = NOW - timedelta(days=30)
    assert domain.is_remembered(ON, 1, proved + timedelta(seconds=1), NOW)
    assert not domain.is_remembered(ON, 1, proved, NOW)
    for state, generation in ((ON, 0), (ON, 2), (SecondFactorState(generation=2), 2), (OFF, 0)):
        assert not domain.is_remembered(state, generation, NOW, NOW)
