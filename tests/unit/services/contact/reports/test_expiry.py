"""One report that cannot be expired keeps no other one."""

from datetime import datetime, timedelta
from typing import cast

import msgspec
import pytest

from contracts.errors import Unavailable
from services.contact.reports.commands import ReportCommands
from services.contact.reports.expiry import expire_due
from streams.repository import BrokenHistory


class Due:
    async def due(self, settled_before: datetime, limit: int) -> list[str]:
        return ["broken", "whole"]


class Commands:
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.expired: list[str] = []

    async def expire(self, identifier: str) -> None:
        if identifier == "broken":
            raise self.error
        self.expired.append(identifier)


@pytest.mark.parametrize(
    "error", [BrokenHistory("a gap"), msgspec.DecodeError("truncated"), LookupError("no such type"), Unavailable()]
)
async def test_a_report_that_cannot_be_read_is_logged_and_the_next_one_expires(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    commands = Commands(error)
    await expire_due(cast(ReportCommands, commands), Due(), timedelta(days=90))
    assert commands.expired == ["whole"]
    assert ": broken failed" in caplog.text
