"""The event log as a persistence module of the `eventsourcing` library: `PERSISTENCE_MODULE=streams.recorder`.

The library's own `Application`, `Repository` and `ProjectionRunner` use JetStream through it, with the same code that
the services use to append and read. Tracking objects are not stored here: they belong in the transaction that writes
the rows they track, so a view has its own persistence module (docs/howto).
"""

import re
from threading import Lock
from typing import NoReturn, TypeVar
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    NotSupportedError,
    ProcessRecorder,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic, strtobool

from streams.jetstream.tls import Tls
from streams.persistence.aggregate_recorder import JetStreamAggregateRecorder
from streams.persistence.application_recorder import JetStreamApplicationRecorder
from streams.persistence.mapper import AsOriginatorId
from streams.persistence.snapshot_recorder import JetStreamSnapshotRecorder
from streams.persistence.sync_bridge import Bridge
from streams.topology import ensure_stream, event_stream

_EVENTS = "events"

R = TypeVar("R", bound=JetStreamAggregateRecorder)


class JetStreamFactory(InfrastructureFactory[TrackingRecorder]):
    """Makes recorders on JetStream, with settings like those of the library's factories.

    The name of each setting may begin with the application's name.
    """

    # Comma-separated servers. The only setting without a default; Vestnik's own name for it is accepted, too.
    NATS_URL = "NATS_URL"
    VESTNIK_NATS_URL = "VESTNIK_NATS_URL"
    # PEM files: the authority to trust, a client certificate and its key. `VESTNIK_NATS_CA` … are accepted, too.
    NATS_CA = "NATS_CA"
    NATS_CERTIFICATE = "NATS_CERTIFICATE"
    NATS_KEY = "NATS_KEY"
    # The stream of the events; by default the application's name. Snapshots are in `<stream>_SNAPSHOTS`.
    NATS_STREAM = "NATS_STREAM"
    # Subjects are `<prefix>.<originator id>`; by default the stream's name in lower case.
    NATS_SUBJECT_PREFIX = "NATS_SUBJECT_PREFIX"
    # Prefix of reply subjects, where the user's permissions name one; `_INBOX` by default.
    NATS_INBOX_PREFIX = "NATS_INBOX_PREFIX"
    # Replicas of each stream; 1 by default.
    NATS_REPLICAS = "NATS_REPLICAS"
    # Seconds for which an operation of the event store is retried; 10 by default.
    NATS_TIMEOUT = "NATS_TIMEOUT"
    # `uuid` (the default) or `text`.
    ORIGINATOR_ID_TYPE = "ORIGINATOR_ID_TYPE"
    # Whether missing streams are created; yes by default. The library's name for this setting.
    CREATE_TABLE = "CREATE_TABLE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        """
        Raises:
            EnvironmentError: a setting is missing or invalid.
        """
        super().__init__(env)
        self._servers = self.env.get(self.NATS_URL) or self.env.get(self.VESTNIK_NATS_URL) or ""
        if not self._servers:
            raise OSError(f"{self.NATS_URL} is not set: the NATS servers that hold the events")
        default = re.sub(r"[^A-Za-z0-9_-]", "_", self.env.name).upper() or "STORED"
        self._stream = self.env.get(self.NATS_STREAM) or default
        self._prefix = self.env.get(self.NATS_SUBJECT_PREFIX) or self._stream.lower()
        self._replicas = int(self._number(self.NATS_REPLICAS, 1))
        self._patience = self._number(self.NATS_TIMEOUT, 10)
        self._as_originator_id = self._originator_ids()
        self._opening = Lock()
        self._bridge: Bridge | None = None

    def aggregate_recorder(self, purpose: str = _EVENTS) -> AggregateRecorder:
        """
        Raises:
            OperationalError: the event store is unreachable.
            ProgrammingError: the stream has settings that a stream of events must not have.
        """
        return self._recorder(JetStreamAggregateRecorder if purpose == _EVENTS else JetStreamSnapshotRecorder, purpose)

    def application_recorder(self) -> ApplicationRecorder:
        """As `aggregate_recorder`."""
        topic = self.env.get(self.APPLICATION_RECORDER_TOPIC)
        kind: type[JetStreamApplicationRecorder] = resolve_topic(topic) if topic else JetStreamApplicationRecorder
        return self._recorder(kind, _EVENTS)

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> NoReturn:
        raise NotSupportedError(
            "a view keeps its tracking objects beside its rows: give the projection a persistence module of its own,"
            " <PROJECTION NAME>_PERSISTENCE_MODULE=eventsourcing.postgres"
        )

    def process_recorder(self) -> ProcessRecorder:
        raise NotSupportedError(
            "an application that follows another keeps tracking objects beside its events: give it a persistence"
            " module of its own, <APPLICATION NAME>_PERSISTENCE_MODULE=eventsourcing.postgres"
        )

    def close(self) -> None:
        """Closes the connection of all recorders made here; recorders made afterwards use a new one."""
        with self._opening:
            bridge, self._bridge = self._bridge, None
        if bridge is not None:
            bridge.close()

    def _recorder(self, kind: type[R], purpose: str) -> R:
        suffix = "" if purpose == _EVENTS else f"_{purpose}"
        stream, prefix = self._stream + suffix.upper(), self._prefix + suffix
        bridge = self._connected()
        recorder = kind(
            bridge, stream=stream, prefix=prefix, as_originator_id=self._as_originator_id, patience=self._patience
        )
        if strtobool(self.env.get(self.CREATE_TABLE) or "yes"):
            settings = event_stream(
                stream, recorder.every_subject, f"{purpose} of {self.env.name}", replicas=self._replicas
            )
            bridge.call(ensure_stream(bridge.client, settings, patience=self._patience))
        return recorder

    def _connected(self) -> Bridge:
        with self._opening:
            if self._bridge is None:
                self._bridge = Bridge(
                    self._servers,
                    name=self.env.name or "eventsourcing",
                    patience=self._patience,
                    inbox_prefix=self.env.get(self.NATS_INBOX_PREFIX) or "_INBOX",
                    tls=Tls(*map(self._path, (self.NATS_CA, self.NATS_CERTIFICATE, self.NATS_KEY))),
                )
            return self._bridge

    def _path(self, name: str) -> str:
        return self.env.get(name) or self.env.get(f"VESTNIK_{name}") or ""

    def _number(self, name: str, default: float) -> float:
        text = self.env.get(name) or str(default)
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if number <= 0:
            raise OSError(f"{name} must be a number above 0, not {text!r}")
        return number

    def _originator_ids(self) -> AsOriginatorId:
        kind = (self.env.get(self.ORIGINATOR_ID_TYPE) or "uuid").lower()
        if kind not in ("uuid", "text"):
            raise OSError(f"{self.ORIGINATOR_ID_TYPE} must be 'uuid' or 'text', not {kind!r}")
        return UUID if kind == "uuid" else str
