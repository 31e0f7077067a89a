"""The suites that the `eventsourcing` library publishes for recorders and factories, run on Vestnik's with a server.

What does not apply, of all its suites:

| suite or test | why not |
|---|---|
| `TrackingRecorderTestCase` | tracking objects belong into the transaction of the rows they stand for: PostgreSQL |
| `ProcessRecorderTestCase` | the same: an application that follows another tracks what it has processed |
| `InfrastructureFactoryTestCase.test_create_tracking_recorder` | the same; refused with `NotSupportedError` |
| `InfrastructureFactoryTestCase.test_create_process_recorder` | the same; refused with `NotSupportedError` |
| `EventSourcedProjectionTestCase` | its projection is an application with a process recorder; the same |
| `EventCountersViewTestCase` | it tests a view; views have a persistence module of their own |
| `TaggedDecisionCountersProjectionTestCase`, `DCB…` | a condition over many subjects is not safe on a cluster |
"""

import pytest
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    NotSupportedError,
    ProcessRecorder,
    TrackingRecorder,
)
from eventsourcing.tests import persistence as suites
from eventsourcing.utils import Environment

from streams.persistence.aggregate_recorder import JetStreamAggregateRecorder
from streams.persistence.application_recorder import JetStreamApplicationRecorder
from streams.recorder import JetStreamFactory
from tests.conformance.on_jetstream import OnJetStream


class TestAggregateRecorder(OnJetStream, suites.AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return self.factory_of().aggregate_recorder()


class TestSnapshotRecorder(OnJetStream, suites.AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return self.factory_of().aggregate_recorder(purpose="snapshots")


class TestApplicationRecorder(OnJetStream, suites.ApplicationRecorderTestCase[ApplicationRecorder]):
    def create_recorder(self) -> ApplicationRecorder:
        return self.factory_of().application_recorder()

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestApplicationRecorderWithTextIds(OnJetStream, suites.ApplicationRecorderTestCase[ApplicationRecorder]):
    def new_originator_id(self) -> str:
        return f"some * odd > id.{super().new_originator_id()}"

    def create_recorder(self) -> ApplicationRecorder:
        self.environment["ORIGINATOR_ID_TYPE"] = "text"
        return self.factory_of().application_recorder()

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestNotificationIds(OnJetStream, suites.NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> ApplicationRecorder:
        return self.factory_of().application_recorder()


class TestFactory(OnJetStream, suites.InfrastructureFactoryTestCase[JetStreamFactory]):
    @pytest.fixture(autouse=True)
    def _environment(self, _streams_of_its_own: None) -> None:
        self.env = Environment("Suite", self.environment)

    def expected_factory_class(self) -> type[JetStreamFactory]:
        return JetStreamFactory

    def expected_aggregate_recorder_class(self) -> type[AggregateRecorder]:
        return JetStreamAggregateRecorder

    def expected_application_recorder_class(self) -> type[ApplicationRecorder]:
        return JetStreamApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[TrackingRecorder]:
        raise NotImplementedError

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        raise NotImplementedError

    def expected_process_recorder_class(self) -> type[ProcessRecorder]:
        raise NotImplementedError

    def test_create_tracking_recorder(self) -> None:
        with pytest.raises(NotSupportedError, match=r"eventsourcing\.postgres"):
            self.factory.tracking_recorder()

    def test_create_process_recorder(self) -> None:
        with pytest.raises(NotSupportedError, match=r"eventsourcing\.postgres"):
            self.factory.process_recorder()
