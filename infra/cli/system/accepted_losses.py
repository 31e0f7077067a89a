"""Accepted losses: checked against the streams, and recorded in the streams' settings."""

import re
from collections.abc import Sequence

import click
from nats.aio.client import Client as NATS

from contracts.errors import Unavailable
from contracts.subjects import STREAMS
from infra.archive.stream_access import Store
from infra.cli.actions.identity import login_name
from infra.operator_errors import OperatorError
from infra.runtime.connections import connect_nats
from infra.security.secrets import TOPOLOGY
from infra.settings import Settings
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import Denied, RequestFailed
from streams.loss.missing_events import Gap, accept, missing

_GAP = re.compile(r"([A-Z]+):([0-9]{1,18})(?:-([0-9]{1,18}))?")


class NotLost(OperatorError):
    """The stream has an event that was named as lost, or ends before it."""


class NotRecorded(OperatorError):
    """The NATS user has no right to change a stream."""

    def __init__(self) -> None:
        super().__init__("the loss was not recorded: only the user `topology` may change a stream")


class Loss(click.ParamType[Gap]):
    """A range of lost events: `MESSAGING:7` or `MESSAGING:7-9`."""

    name = "STREAM:SEQUENCE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Gap:
        if isinstance(value, Gap):
            return value
        parts = _GAP.fullmatch(str(value))
        if parts is None or parts[1] not in STREAMS:
            self.fail(f"{value!r} does not name events, such as MESSAGING:7 or MESSAGING:7-9", param, ctx)
        first, last = int(parts[2]), int(parts[3] or parts[2])
        if not 1 <= first <= last:
            self.fail(f"{value!r}: sequences start at 1, and the first is not after the last", param, ctx)
        return Gap(parts[1], first, last)


async def accept_losses(settings: Settings, nc: NATS, gaps: Sequence[Gap]) -> None:
    """Records in the streams' settings that these events are lost permanently.

    `nc`: an operator's connection, which may read everything.

    Raises:
        NotLost: a stream has one of them, or ends before it; nothing was recorded.
        NotRecorded: the NATS user may not change a stream.
        MissingSecret: the password of the user `topology` is not in the folder of secrets.
        Unavailable: NATS does not answer.
    """
    try:
        jetstream = JetStream(nc)
        for gap in gaps:
            await _assert_lost(jetstream, gap)
        owner = await connect_nats(Store(settings, alone=False).as_party(TOPOLOGY), TOPOLOGY, patience=5.0)
        try:
            await accept(JetStream(owner), gaps, login_name())
        finally:
            await owner.close()
    except Denied as denied:
        raise NotRecorded from denied
    except (RequestFailed, Refused) as failure:
        raise Unavailable(f"The loss was not recorded: {failure or 'NATS does not answer'}.") from failure


async def _assert_lost(jetstream: JetStream, gap: Gap) -> None:
    end = await jetstream.last_sequence(gap.stream) or 0
    if gap.last > end:
        raise NotLost(f"{gap}: {gap.stream} ends at {end:,}; nothing was recorded")
    there, _ = await missing(jetstream, gap.stream, gap.first, gap.last)
    if there:
        raise NotLost(f"{gap}: {gap.stream} has event {there[0].sequence:,}; nothing was recorded")
