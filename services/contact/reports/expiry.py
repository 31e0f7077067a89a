"""Ends the showing of settled reports' texts when their time is over, while the service runs."""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import DecodeError

from contracts import envelope
from contracts.errors import VestnikError
from services.contact.reports.commands import ReportCommands
from streams.repository import BrokenHistory

log = logging.getLogger(__name__)
_EVERY = 60.0
_BATCH = 500


class DueReports(Protocol):
    async def due(self, settled_before: datetime, limit: int) -> list[str]: ...


async def expire_reports(commands: ReportCommands, reports: DueReports, keep: timedelta) -> None:
    """Checks every minute until cancelled. What fails is tried again with the next check; replicas may do the same."""
    while True:
        await asyncio.sleep(_EVERY)
        try:
            await expire_due(commands, reports, keep)
        except VestnikError as error:
            log.warning("settled reports cannot be checked for expiry: %s", error)


async def expire_due(commands: ReportCommands, reports: DueReports, keep: timedelta) -> None:
    """Expires the texts that are due now, up to a batch of them. A report that cannot be read or changed is left out.

    Raises:
        VestnikError: the read model cannot be read.
    """
    for report_id in await reports.due(envelope.now() - keep, _BATCH):
        try:
            await commands.expire(report_id)
            log.info("the texts of the report %s have expired", report_id)
        except (VestnikError, BrokenHistory, DecodeError, LookupError) as error:
            log.warning("the texts of the report %s cannot be removed: %r", report_id, error)
