"""The streams and their settings as code, applied when a service starts.

Streams are the source of truth, so no setting is changed if that could lose or reorder an event, even if the settings
here differ: a dangerous difference stops the start with an error that names it.
"""

import asyncio
import logging
from collections.abc import Iterable
from itertools import count, islice
from typing import Any, Self

import msgspec
from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.subjects import (
    BUCKETS,
    LIMITS,
    LIMITS_FILTER,
    QUORUM,
    QUORUM_FILTER,
    STREAMS,
    all_of,
    key_of,
    stream_of_bucket,
)
from streams.jetstream.api import STREAM_IN_USE, STREAM_NOT_FOUND, JetStream, Refused, StreamInfo
from streams.jetstream.requests import Denied, RequestFailed

log = logging.getLogger(__name__)
# How long the server keeps each id: longer than an append is retried. Later the append's condition prevents duplicates.
_DUPLICATE_WINDOW = 30_000_000_000
# Of the stream of rate limits: no window is longer, and at the size limit old counts are dropped first.
_LIMITS_AGE = 25 * 3600 * 1_000_000_000
_LIMITS_BYTES = 64 * 1024 * 1024
# Of the stream of quorum evidence: messages of ended processes expire.
_QUORUM_AGE = 60 * 1_000_000_000
_QUORUM_BYTES = 1024 * 1024
_HOUR = 3600 * 1_000_000_000
# Settings that are updated where they differ: none of them affects a stored event.
_SAFE = {"description", "duplicate_window", "allow_direct", "allow_atomic"}
# Also safe for the stream of rate limits and for buckets other than that of keys: their messages expire anyway.
_SAFE_WHERE_EXPIRING = {"max_age", "max_bytes", "allow_msg_ttl"}
_EXPIRING = {LIMITS, *(stream_of_bucket(bucket) for bucket, kept in BUCKETS.items() if not kept.holds_keys)}
# Set when a stream is created; operators may change it.
_FREE = {"compression"}
# Seconds between two attempts to prepare a bucket.
_BUCKET_PAUSE = 1.0
_INFO = msgspec.json.Decoder(StreamInfo)


class DangerousStream(Exception):
    """A stream has a setting that must not be changed automatically."""

    def __init__(self, stream: str, setting: str, present: object, required: object) -> None:
        self.stream = stream
        self.setting = setting
        self.found = present
        self.wanted = required
        super().__init__(
            f"stream {stream} has {setting} = {present!r} instead of {required!r};"
            " changing it could lose events, so it must be changed by hand"
        )


class StreamMissing(Exception):
    """A stream did not appear in time; the owning service creates it on its start."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(f"there is no stream {stream}; {STREAMS.get(stream, 'no service')} creates it when it starts")


class StreamForbidden(PermissionError):
    """This user of the event store may not create or change a stream."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(
            f"no right to create or change the stream {stream}; run `vestnik streams` with a user that has it"
        )


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """The servers that may store a stream; without cluster and tags, any."""

    # The name of a cluster.
    cluster: str = ""
    # A server must have all of these tags.
    tags: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses `CLUSTER`, `CLUSTER/TAG,TAG`, or `/TAG,TAG`; empty: anywhere."""
        cluster, _, tags = text.partition("/")
        return cls(cluster=cluster.strip(), tags=tuple(tag.strip() for tag in tags.split(",") if tag.strip()))

    def settings(self) -> dict[str, Any]:
        return ({"cluster": self.cluster} if self.cluster else {}) | ({"tags": list(self.tags)} if self.tags else {})


ANYWHERE = Placement()


def settings_of(stream: str, *, replicas: int, placement: Placement = ANYWHERE) -> dict[str, Any]:
    """The settings of one of the streams in `STREAMS`."""
    settings = event_stream(stream, all_of(stream), f"Events of {STREAMS[stream]}", replicas=replicas)
    return settings | ({"placement": placement.settings()} if placement != ANYWHERE else {})


def event_stream(name: str, subject: str, description: str, *, replicas: int) -> dict[str, Any]:
    """The settings of any stream of events; `subject` is the pattern of its subjects."""
    return {
        "name": name,
        "description": description,
        "subjects": [subject],
        "storage": "file",
        "compression": "none",
        "retention": "limits",
        "discard": "new",
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "num_replicas": replicas,
        "duplicate_window": _DUPLICATE_WINDOW,
        "allow_direct": True,
        "allow_atomic": True,
        "allow_rollup_hdrs": False,
        "allow_msg_ttl": False,
        "deny_delete": True,
        "deny_purge": True,
        "sealed": False,
    }


def settings_of_limits(*, replicas: int, placement: Placement = ANYWHERE) -> dict[str, Any]:
    """The settings of the stream in which gateways share their rate-limit counts: expiring and bounded.

    Each message has its own TTL. Stored on disk, since a stream in memory is lost with its server, and then only a
    user with the right to create streams could restore it.
    """
    return {
        "name": LIMITS,
        "description": "Uses of rate limits, shared between gateways",
        "subjects": [LIMITS_FILTER],
        "storage": "file",
        "compression": "none",
        "retention": "limits",
        "discard": "old",
        "max_msgs": -1,
        "max_bytes": _LIMITS_BYTES,
        "max_age": _LIMITS_AGE,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "num_replicas": replicas,
        "duplicate_window": _DUPLICATE_WINDOW,
        "allow_direct": False,
        "allow_rollup_hdrs": False,
        "allow_msg_ttl": True,
        "deny_delete": True,
        "deny_purge": True,
        "sealed": False,
    } | ({"placement": placement.settings()} if placement != ANYWHERE else {})


def settings_of_quorum(*, replicas: int, placement: Placement = ANYWHERE) -> dict[str, Any]:
    """The settings of the stream that processes append to for quorum evidence: one message each, in memory.

    Nothing reads it. If all servers have lost it, the cluster creates it again, empty.
    """
    return {
        "name": QUORUM,
        "description": "Evidence that nodes are part of a quorum",
        "subjects": [QUORUM_FILTER],
        "storage": "memory",
        "compression": "none",
        "retention": "limits",
        "discard": "old",
        "max_msgs": -1,
        "max_bytes": _QUORUM_BYTES,
        "max_age": _QUORUM_AGE,
        "max_msgs_per_subject": 1,
        "max_msg_size": -1,
        "num_replicas": replicas,
        "duplicate_window": _DUPLICATE_WINDOW,
        "allow_direct": False,
        "allow_rollup_hdrs": False,
        "allow_msg_ttl": False,
        "deny_delete": True,
        "deny_purge": True,
        "sealed": False,
    } | ({"placement": placement.settings()} if placement != ANYWHERE else {})


def settings_of_bucket(bucket: str, *, replicas: int, placement: Placement = ANYWHERE) -> dict[str, Any]:
    """The settings of a bucket's stream, as clients of JetStream's key-value buckets expect them."""
    kept = BUCKETS[bucket]
    return {
        "name": stream_of_bucket(bucket),
        "description": kept.description,
        "subjects": [key_of(bucket, ">")],
        "storage": "file",
        "compression": "none",
        "retention": "limits",
        "discard": "new" if kept.most_bytes < 0 else "old",
        "max_msgs": kept.most_keys,
        "max_bytes": kept.most_bytes,
        "max_age": kept.hours * _HOUR,
        # A key that takes another one's place is stored before the other one is overwritten.
        "max_msgs_per_subject": 2 if kept.holds_keys else 1,
        "max_msg_size": -1,
        "num_replicas": replicas,
        "duplicate_window": _DUPLICATE_WINDOW,
        "allow_direct": True,
        # Many keys may be created at once. The server does not say of others that it is off.
        **({"allow_atomic": True} if kept.holds_keys else {}),
        "allow_rollup_hdrs": not kept.holds_keys,
        "allow_msg_ttl": kept.has_lifetimes,
        "deny_delete": not kept.holds_keys,
        "deny_purge": kept.holds_keys,
        "sealed": False,
    } | ({"placement": placement.settings()} if placement != ANYWHERE else {})


async def ensure_bucket(
    nc: Client, bucket: str, *, replicas: int, placement: Placement = ANYWHERE, patience: float = 10.0
) -> None:
    """As `ensure_streams`, for the stream of a key-value bucket."""
    await ensure_stream(nc, settings_of_bucket(bucket, replicas=replicas, placement=placement), patience=patience)


async def prepare_bucket(
    nc: Client,
    bucket: str,
    *,
    replicas: int,
    placement: Placement = ANYWHERE,
    patience: float = 10.0,
    attempts: int | None = None,
) -> None:
    """As `ensure_bucket`, but repeats what fails and logs why, once. `attempts`: how often; None: until it succeeds.

    A process works without its bucket: no event is stored in one.
    """
    for attempt in islice(count(), attempts):
        if attempt:
            await asyncio.sleep(_BUCKET_PAUSE)
        try:
            await ensure_bucket(nc, bucket, replicas=replicas, placement=placement, patience=patience)
            return
        except (Unavailable, Refused, DangerousStream, PermissionError) as error:
            if not attempt:
                log.warning("the bucket %s cannot be prepared at the moment: %s", bucket, error)


async def ensure_quorum(nc: Client, *, replicas: int, placement: Placement = ANYWHERE, patience: float = 10.0) -> None:
    """As `ensure_streams`, for the stream of quorum evidence; a single node needs none."""
    if replicas > 1:
        await ensure_stream(nc, settings_of_quorum(replicas=replicas, placement=placement), patience=patience)


async def ensure_limits(nc: Client, *, replicas: int, placement: Placement = ANYWHERE, patience: float = 10.0) -> None:
    """As `ensure_streams`, for the stream of the gateways' rate-limit counts."""
    await ensure_stream(nc, settings_of_limits(replicas=replicas, placement=placement), patience=patience)


async def ensure_streams(
    nc: Client,
    *,
    replicas: int,
    placement: Placement = ANYWHERE,
    names: Iterable[str] = tuple(STREAMS),
    patience: float = 10.0,
) -> None:
    """Creates missing streams and updates the settings of the others where that is safe.

    Several services may do so concurrently.

    Raises:
        DangerousStream: a stream has a setting that must not be changed automatically.
        StreamForbidden: a stream has to be created or changed, and this user has no right to it.
        Refused: the server refuses the settings.
        Unavailable: the event store cannot be reached.
    """
    for name in names:
        await ensure_stream(nc, settings_of(name, replicas=replicas, placement=placement), patience=patience)


async def ensure_stream(nc: Client, settings: dict[str, Any], *, patience: float = 10.0) -> None:
    """As `ensure_streams`, for one stream with settings of `event_stream`."""
    try:
        await _ensure(JetStream(nc, patience=patience), settings["name"], settings)
    except Denied as denied:
        raise StreamForbidden(settings["name"]) from denied
    except RequestFailed as failure:
        raise Unavailable from failure


async def _ensure(jetstream: JetStream, name: str, required: dict[str, Any]) -> None:
    try:
        present = (await jetstream.info(name)).config
    except Refused as refused:
        if refused.error.err_code != STREAM_NOT_FOUND:
            raise
        if await _create(jetstream, required):
            return
        present = (await jetstream.info(name)).config
    if changed := differences(present, required):
        await jetstream.ask(f"STREAM.UPDATE.{name}", present | changed, _INFO)


def differences(present: dict[str, Any], required: dict[str, Any]) -> dict[str, Any]:
    """The settings to change.

    Raises:
        DangerousStream: one of them is not safe to change.
    """
    changed = {
        setting: value for setting, value in required.items() if setting not in _FREE and present.get(setting) != value
    }
    for setting, value in changed.items():
        raised = setting == "num_replicas" and value > present.get(setting, 1)
        forgets = required["name"] in _EXPIRING and setting in _SAFE_WHERE_EXPIRING
        if setting not in _SAFE and not raised and not forgets:
            raise DangerousStream(required["name"], setting, present.get(setting), value)
    return changed


async def _create(jetstream: JetStream, config: dict[str, Any]) -> bool:
    """Creates the stream; False if another one of its name was created just before."""
    try:
        await jetstream.ask(f"STREAM.CREATE.{config['name']}", config, _INFO)
    except Refused as refused:
        if refused.error.err_code == STREAM_IN_USE:
            return False
        raise
    return True
