"""What every suite of the `eventsourcing` library needs here: streams of its own on a real server."""

import gc
from collections.abc import Iterator
from unittest import TestCase
from uuid import uuid4

import pytest
from eventsourcing.utils import Environment

from infra.embedded.nats_server import NatsServer
from streams.recorder import JetStreamFactory


class OnJetStream(TestCase):
    """A suite with an environment in which `streams.recorder` is the persistence module."""

    environment: dict[str, str]

    @pytest.fixture(autouse=True)
    def _streams_of_its_own(self, shared_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        self.environment = {
            "PERSISTENCE_MODULE": "streams.recorder",
            "NATS_URL": shared_nats_server.url,
            "NATS_STREAM": f"SUITE_{uuid4().hex[:12]}",
        }
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        yield
        # The library's users drop their applications without closing them.
        gc.collect()

    def factory_of(self, name: str = "") -> JetStreamFactory:
        """A factory that is closed after the test."""
        factory = JetStreamFactory(Environment(name, self.environment))
        self.addCleanup(factory.close)
        return factory
