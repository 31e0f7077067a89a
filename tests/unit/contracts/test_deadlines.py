"""The time limits of the parts are nested."""

from contracts import deadlines
from infra.settings import Settings
from infra.supervisor.service_program import BEYOND_DRAIN
from services.gateway.clients import READ_SECONDS


def test_each_part_has_less_time_than_the_one_that_waits_for_it() -> None:
    assert deadlines.EVENT_STORE < deadlines.REQUEST
    assert READ_SECONDS < deadlines.REQUEST
    assert Settings().drain_seconds > deadlines.REQUEST
    assert BEYOND_DRAIN > 0
