"""Which streams exist, with which settings: as code, applied when a service starts.

A stream holds the truth, so nothing about it is changed that could lose or reorder an event, not even when the
settings here say so: a dangerous difference stops the start and names itself.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.subjects import STREAMS, all_of
from streams.inbox import RequestFailed
from streams.jetstream import STREAM_IN_USE, STREAM_NOT_FOUND, JetStream, Refused, StreamInfo

_DUPLICATE_WINDOW = 120_000_000_000
# What may differ from what was found, and is then set: none of it touches a stored event.
_SAFE = {"description", "duplicate_window", "allow_direct", "allow_atomic", "compression"}
_PAUSE = 0.1
_INFO = msgspec.json.Decoder(StreamInfo)


class DangerousStream(Exception):
    """A stream was found with a setting that must not be changed unseen."""

    def __init__(self, stream: str, setting: str, found: object, wanted: object) -> None:
        self.stream = stream
        self.setting = setting
        self.found = found
        self.wanted = wanted
        super().__init__(
            f"stream {stream} has {setting} = {found!r} where {wanted!r} is needed;"
            " changing it could lose events, so it has to be done by hand"
        )


class StreamMissing(Exception):
    """A stream did not appear in time; the service that owns it makes it on its start."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(f"there is no stream {stream}; {STREAMS.get(stream, 'no service')} makes it on its start")


def settings_of(stream: str, *, replicas: int) -> dict[str, Any]:
    """The settings that a stream of ours has."""
    return {
        "name": stream,
        "description": f"Events of {STREAMS[stream]}",
        "subjects": [all_of(stream)],
        "storage": "file",
        "compression": "s2",
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


async def ensure_streams(
    nc: Client, *, replicas: int, names: Iterable[str] = tuple(STREAMS), patience: float = 10.0
) -> None:
    """Makes the streams that are missing and brings the settings of the others up to date, where that is safe.

    Several services may do so at once.

    Raises:
        DangerousStream: a stream has a setting that must not be changed unseen.
        Refused: the server will not make it so.
        Unavailable: the event store cannot be reached.
    """
    jetstream = JetStream(nc, patience=patience)
    try:
        for name in names:
            await _ensure(jetstream, name, settings_of(name, replicas=replicas))
    except RequestFailed as failure:
        raise Unavailable from failure


async def _ensure(jetstream: JetStream, name: str, wanted: dict[str, Any]) -> None:
    try:
        found = (await jetstream.info(name)).config
    except Refused as refused:
        if refused.error.err_code != STREAM_NOT_FOUND:
            raise
        if await _create(jetstream, wanted):
            return
        found = (await jetstream.info(name)).config
    if changed := differences(found, wanted):
        await jetstream.ask(f"STREAM.UPDATE.{name}", found | changed, _INFO)


async def stream_exists(nc: Client, stream: str, timeout: float) -> None:
    """Waits until the stream is there.

    Raises:
        StreamMissing: it was not made in time.
    """
    jetstream = JetStream(nc)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not await _is_there(jetstream, stream):
        if loop.time() >= deadline:
            raise StreamMissing(stream)
        await asyncio.sleep(_PAUSE)


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The settings to change.

    Raises:
        DangerousStream: one of them is not safe to change.
    """
    changed = {setting: value for setting, value in wanted.items() if found.get(setting) != value}
    for setting, value in changed.items():
        raised = setting == "num_replicas" and value > found.get(setting, 1)
        if setting not in _SAFE and not raised:
            raise DangerousStream(wanted["name"], setting, found.get(setting), value)
    return changed


async def _create(jetstream: JetStream, wanted: dict[str, Any]) -> bool:
    """Whether the stream is as wanted now; False if somebody made another of its name just before."""
    try:
        await jetstream.ask(f"STREAM.CREATE.{wanted['name']}", wanted, _INFO)
    except Refused as refused:
        if refused.error.err_code == STREAM_IN_USE:
            return False
        raise
    return True


async def _is_there(jetstream: JetStream, stream: str) -> bool:
    try:
        await jetstream.info(stream)
    except Refused as refused:
        if refused.error.err_code == STREAM_NOT_FOUND:
            return False
        raise
    except RequestFailed:
        return False
    return True
