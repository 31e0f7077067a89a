"""Merges the logs of many processes: every line with the time and the process name, in a colour per process; or JSON.

In JSON every line is an object: a service's line as it is, any other wrapped into the same fields.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from infra.logs.log_format import json_fields
from infra.supervisor.log_filter import level_of

COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
OWN = "vestnik"


class Console:
    """Writes prefixed lines; coloured on a terminal, unless NO_COLOR is set."""

    def __init__(self, out: TextIO | None = None, *, coloured: bool | None = None, as_json: bool = False) -> None:
        self._out = out if out is not None else sys.stdout
        self._coloured = self._out.isatty() and "NO_COLOR" not in os.environ if coloured is None else coloured
        self._as_json = as_json
        self._colours = {OWN: 1}
        self._width = 12

    def say(self, text: str) -> None:
        """Writes a line of the supervisor's own."""
        self.line(OWN, text)

    def line_writer(self, name: str, accepts: Callable[[str], bool] = lambda _: True) -> Callable[[str], None]:
        """A function that writes lines under the name, except those for which `accepts` returns False."""
        self._colours.setdefault(name, COLOURS[(len(self._colours) - 1) % len(COLOURS)])
        self._width = max(self._width, len(name))

        def speak(text: str) -> None:
            if accepts(text):
                self.line(name, text)

        return speak

    def line(self, name: str, text: str, level: str | None = None) -> None:
        """Writes one line of the process. `level`: in JSON; None: as the line itself says."""
        self._write(_json_line(name, text, level) if self._as_json else f"{self._prefix(name)} {text}")

    def _prefix(self, name: str) -> str:
        prefix = f"{time.strftime('%H:%M:%S')} {name:<{self._width}} |"
        if self._coloured:
            prefix = f"\x1b[{self._colours.get(name, 0)}m{prefix}\x1b[0m"
        return prefix

    def _write(self, line: str) -> None:
        try:
            self._out.write(f"{line}\n")
            self._out.flush()
        except (OSError, ValueError):
            # The reader is gone or the disk is full; the system goes on. A process whose output is no longer read would
            # hang.
            return


def _json_line(name: str, text: str, level: str | None) -> str:
    if _is_object(text):
        return text
    return json.dumps(json_fields(time.time(), level or level_of(name, text), "vestnik.console", text, name))


def _is_object(text: str) -> bool:
    try:
        return text.startswith("{") and isinstance(json.loads(text), dict)
    except ValueError:
        return False
