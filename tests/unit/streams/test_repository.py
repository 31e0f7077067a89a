"""The error of an aggregate that lacks events."""

import pytest

from contracts.errors import HistoryLost
from infra.rpc.authorization import failure_of
from infra.rpc.error_mapping import from_grpc
from streams.repository import BrokenHistory


def test_a_caller_learns_that_events_are_missing_and_not_which(caplog: pytest.LogCaptureFixture) -> None:
    error = BrokenHistory("vestnik.contact.friendship.1 ends at 4, but was read up to 9: events are gone")
    answered = from_grpc(failure_of(error, "/a.Service/Method"))
    assert type(answered) is HistoryLost
    assert (answered.status, answered.retry_after) == (503, 60)
    assert "friendship" not in answered.detail
    assert "friendship.1 ends at 4" in caplog.text
