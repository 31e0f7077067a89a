"""The parameter type of times on the command line."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

import click

from contracts.values.timestamps import bounded


class Moment(click.ParamType[datetime]):
    """A time as RFC 3339 (`2026-11-23`, `2026-11-23T22:50:00Z`) or an age (`90s`, `15m`, `2h`, `7d`)."""

    name = "time"
    _UNITS: ClassVar[dict[str, str]] = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        text = str(value).strip()
        unit = self._UNITS.get(text[-1:])
        try:
            if unit is not None and text[:-1].isdigit():
                return datetime.now(UTC) - timedelta(**{unit: int(text[:-1])})
            moment = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is neither a time such as 2026-11-23T22:50:00Z nor an age such as 15m", param, ctx)
        return bounded(moment)
