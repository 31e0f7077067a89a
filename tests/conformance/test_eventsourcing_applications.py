"""The suites that the `eventsourcing` library publishes for applications and projections, on JetStream.

What does not apply is listed in test_eventsourcing_recorders.py.
"""

import pytest
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.tests import application, projection

from tests.conformance.on_jetstream import OnJetStream


class TestExampleApplication(OnJetStream, application.ExampleApplicationTestCase):
    expected_factory_topic = "streams.recorder:JetStreamFactory"


@pytest.mark.filterwarnings("always::DeprecationWarning:eventsourcing.tests.application")
class TestApplication(OnJetStream, application.ApplicationTestCase):
    """Also the library's cache of aggregates, brought forward while many writers contend."""


class CountersInMemory(POPOTrackingRecorder, projection.EventCountersView):
    def __init__(self) -> None:
        super().__init__()
        self._created = 0
        self._subsequent = 0

    def get_created_event_counter(self) -> int:
        return self._created

    def get_subsequent_event_counter(self) -> int:
        return self._subsequent

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        self.insert_tracking(tracking)
        self._created += 1

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        self.insert_tracking(tracking)
        self._subsequent += 1


class TestProjection(OnJetStream, projection.AggregateEventCountersProjectionTestCase):
    view_class = CountersInMemory
    # The view is the library's own: each projection has a persistence module of its own.
    env = {"EVENTCOUNTERS_PERSISTENCE_MODULE": "eventsourcing.popo"}  # noqa: RUF012 - as the suite has it
