"""Given the copies that a user requested, when another is requested, made or downloaded, then these events follow."""

from datetime import UTC, datetime, timedelta

import pytest

from contracts.errors import DataExportExpired, DataExportNotFound, DataExportNotMade, RateLimited
from contracts.events.data_export import (
    DataExportDownloaded,
    DataExportFailed,
    DataExportMade,
    DataExportRequested,
)
from contracts.events.event import Event
from contracts.subjects import BUCKETS, DATA_EXPORTS
from services.auth.data_export import domain
from services.auth.data_export.domain import INTERVAL, LIFETIME, DataExports

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
MOMENT = timedelta(milliseconds=1)
MADE = DataExportMade(export_id="one", file_id="file", parts=2, size=300_000)


def after(*events: Event, at: datetime = NOW) -> DataExports:
    state = DataExports()
    for event in events:
        state = domain.evolve(state, event, at)
    return state


REQUESTED = DataExportRequested(export_id="one", session_id="here", position="A:7")


def test_a_copy_is_requested_once_a_day_whatever_the_outcome_of_the_last() -> None:
    assert domain.decide_request(DataExports(), "one", "here", "A:7", NOW) == (REQUESTED,)
    for events in ((REQUESTED,), (REQUESTED, MADE), (REQUESTED, DataExportFailed(export_id="one", reason="too_large"))):
        with pytest.raises(RateLimited) as refusal:
            domain.decide_request(after(*events), "two", "here", "", NOW + INTERVAL - timedelta(seconds=90.5))
        assert refusal.value.retry_after == 91
        assert domain.decide_request(after(*events), "two", "", "", NOW + INTERVAL) == (
            DataExportRequested(export_id="two"),
        )


def test_only_the_first_file_that_is_complete_counts() -> None:
    assert domain.decide_made(after(REQUESTED), MADE, NOW) == (MADE,)
    assert domain.decide_made(after(REQUESTED, MADE), MADE, NOW) == ()
    assert domain.decide_fail(after(REQUESTED, MADE), "one", "too_large", NOW) == ()
    failed = DataExportFailed(export_id="one", reason="too_large")
    assert domain.decide_fail(after(REQUESTED), "one", "too_large", NOW) == (failed,)
    assert domain.decide_made(after(REQUESTED, failed), MADE, NOW) == ()
    assert domain.decide_made(DataExports(), MADE, NOW) == ()


def test_a_file_is_downloaded_for_a_day_and_recorded_once_per_session() -> None:
    ready = after(REQUESTED, MADE)
    (downloaded,) = domain.decide_download(ready, "one", "here", NOW + LIFETIME - MOMENT)
    assert downloaded == DataExportDownloaded(export_id="one", session_id="here")
    again = domain.evolve(ready, downloaded, NOW)
    assert domain.decide_download(again, "one", "here", NOW) == ()
    assert domain.decide_download(again, "one", "there", NOW) != ()
    with pytest.raises(DataExportExpired):
        domain.decide_download(again, "one", "here", NOW + LIFETIME)


def test_the_store_keeps_a_file_that_takes_hours_for_its_day_and_little_longer() -> None:
    kept = timedelta(hours=BUCKETS[DATA_EXPORTS].hours)
    assert timedelta(hours=2) <= kept - LIFETIME <= timedelta(hours=3)


def test_a_download_while_it_is_made_is_no_event_and_of_one_that_was_not_made_a_refusal() -> None:
    assert domain.decide_download(after(REQUESTED), "one", "here", NOW + LIFETIME - MOMENT) == ()
    failed = after(REQUESTED, DataExportFailed(export_id="one", reason=domain.TOO_LARGE))
    for state, at, detail in ((after(REQUESTED), NOW + LIFETIME, "could not be made"), (failed, NOW, "larger")):
        with pytest.raises(DataExportNotMade, match=detail):
            domain.decide_download(state, "one", "here", at)
    with pytest.raises(DataExportNotFound):
        domain.decide_download(failed, "two", "here", NOW)


def test_old_requests_are_forgotten() -> None:
    state = after(REQUESTED, MADE)
    later = domain.evolve(state, DataExportRequested(export_id="two"), NOW + timedelta(days=3))
    assert [export.export_id for export in later.recent] == ["two"]
    soon = domain.evolve(state, DataExportRequested(export_id="two"), NOW + INTERVAL)
    assert [export.state_at(NOW + INTERVAL) for export in soon.recent] == ["expired", "making"]
