"""Ends the showing of settled reports' texts when their time is over, while the service runs."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from contracts import envelope
from services.contact.reports.commands import ReportCommands
from streams.reactions.sweeps import sweep, sweep_once

log = logging.getLogger(__name__)
_WHAT = "settled reports"
_EVERY = 60.0
_BATCH = 500


class DueReports(Protocol):
    async def due(self, settled_before: datetime, limit: int) -> list[str]: ...


async def expire_reports(commands: ReportCommands, reports: DueReports, keep: timedelta) -> None:
    """Checks every minute until cancelled. What fails is tried again with the next check; replicas may do the same."""
    await sweep(_WHAT, _due(reports, keep), _expire(commands), name_of=str, every=_EVERY)


async def expire_due(commands: ReportCommands, reports: DueReports, keep: timedelta) -> None:
    """Expires the texts that are due now, up to a batch of them. A report that cannot be read or changed is left out.

    Raises:
        VestnikError: the read model cannot be read.
    """
    await sweep_once(_WHAT, _due(reports, keep), _expire(commands), name_of=str)


def _due(reports: DueReports, keep: timedelta) -> Callable[[], Awaitable[list[str]]]:
    async def due() -> list[str]:
        return await reports.due(envelope.now() - keep, _BATCH)

    return due


def _expire(commands: ReportCommands) -> Callable[[str], Awaitable[None]]:
    async def expire(report_id: str) -> None:
        await commands.expire(report_id)
        log.info("the texts of the report %s have expired", report_id)

    return expire
