"""The acts and reads of operators: each has a test that it is recorded."""

from contracts.events.operator_actions import ACTIONS, LOOKS
from tests.e2e.test_recorded_acts import ACTS, ACTS_ELSEWHERE, ACTS_ON_PAGE, LOOKS_BY_COMMAND, LOOKS_ON_PAGE


def test_every_act_and_look_has_a_test_that_it_is_recorded() -> None:
    assert ACTIONS.keys() - ACTS.keys() - ACTS_ON_PAGE - ACTS_ELSEWHERE == set()
    assert LOOKS.keys() - LOOKS_BY_COMMAND.keys() - LOOKS_ON_PAGE == set()
