"""A page of an aggregate's versions, for the operators' page."""

import asyncio
from datetime import datetime

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import Invalid, NotFound, Unavailable, Violation
from contracts.values.ids import is_id
from infra.operator_errors import OperatorError
from services.operator.history.aggregate_history import AggregateHistory, AggregateVersion, NoSuchVersion
from services.operator.history.aggregate_kinds import KINDS


class AggregatePage(msgspec.Struct, frozen=True, kw_only=True):
    """Personal data redacted."""

    kind: str
    aggregate_id: str
    stream: str
    # The newest there is, whichever were asked for.
    last_version: int
    # The newest first.
    items: list[AggregateVersion]


def check(kind: str, aggregate_id: str, *, version: int | None, at: datetime | None) -> None:
    """
    Raises:
        Invalid: there is no such kind, the id is none of its ids, or both a version and a time are given.
    """
    if kind not in KINDS:
        raise Invalid(violations=(Violation("/kind", f"None of {', '.join(KINDS)}"),))
    parts = aggregate_id.split(".")
    if len(parts) != len(KINDS[kind].aggregate_type.parameters) or not all(map(is_id, parts)):
        raise Invalid(violations=(Violation("/id", f"No id of a {kind}"),))
    if version is not None and at is not None:
        raise Invalid(violations=(Violation("/at", "Not together with `version`"),))


async def aggregate_page(
    nc: NATS,
    kind: str,
    aggregate_id: str,
    *,
    version: int | None,
    at: datetime | None,
    limit: int,
    slots: asyncio.Semaphore,
) -> AggregatePage:
    """Returns at most `limit` versions up to one or up to a time; without either, up to the newest.

    What is asked for has passed `check`.

    `slots`: one for each concurrent read; a read occupies a thread of the process.

    Raises:
        NotFound: there is no such aggregate or version.
        Unavailable: NATS does not answer, or an event cannot be read.
    """
    history = AggregateHistory(KINDS[kind], aggregate_id, nc, asyncio.get_running_loop())

    def read() -> AggregatePage:
        items = list(history.versions(version=version, at=at, last=limit, redacted=True))
        return AggregatePage(
            kind=kind,
            aggregate_id=aggregate_id,
            stream=history.kind.aggregate_type.stream,
            last_version=history.last_version(),
            items=items[::-1],
        )

    try:
        async with slots:
            return await asyncio.to_thread(read)
    except NoSuchVersion as error:
        raise NotFound(str(error)) from error
    except OperatorError as failure:
        raise Unavailable(str(failure)) from failure
    finally:
        # If the request was cancelled, its thread still reads.
        history.stop()
