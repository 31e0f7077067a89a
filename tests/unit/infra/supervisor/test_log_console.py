"""The one log of many processes."""

import io
import re

import pytest

from infra.supervisor.log_console import Console
from infra.supervisor.log_filter import is_worth_logging


def test_lines_are_prefixed_and_plain_where_nobody_sees_colours() -> None:
    out = io.StringIO()
    console = Console(out)
    console.line_writer("auth")("hello")
    assert re.fullmatch(r"\d\d:\d\d:\d\d auth +\| hello\n", out.getvalue())


def test_each_voice_has_its_own_colour_on_a_terminal() -> None:
    out = io.StringIO()
    console = Console(out, coloured=True)
    for name in ("auth", "session", "nats"):
        console.line_writer(name)("hello")
    colours = re.findall(r"^\x1b\[(\d+)m", out.getvalue(), re.MULTILINE)
    assert len(set(colours)) == 3


@pytest.mark.parametrize(
    ("server", "line", "shown"),
    [
        ("nats", "[1] 2026/01/01 [INF] Server is ready", False),
        ("nats", "[1] 2026/01/01 [ERR] disk", True),
        ("postgres", "2026-01-01 UTC [1] LOG:  starting", False),
        ("postgres", "2026-01-01 UTC [1] PANIC:  disk", True),
    ],
)
def test_only_warnings_of_the_servers_are_shown(server: str, line: str, shown: bool) -> None:
    assert is_worth_logging(server, everything=False)(line) is shown
    assert is_worth_logging(server, everything=True)(line)


def test_a_reader_that_went_away_does_not_stop_the_system() -> None:
    out = io.StringIO()
    console = Console(out)
    out.close()
    console.say("nobody hears this")
