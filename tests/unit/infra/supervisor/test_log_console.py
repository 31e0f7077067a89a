"""The shared log of all processes."""

import errno
import io
import json
import re

import pytest

from infra.supervisor.log_console import Console
from infra.supervisor.log_filter import is_worth_logging


def test_lines_are_prefixed_and_plain_where_nobody_sees_colours() -> None:
    terminal = io.StringIO()
    console = Console(terminal)
    console.line_writer("auth")("hello")
    assert re.fullmatch(r"\d\d:\d\d:\d\d auth +\| hello\n", terminal.getvalue())


def test_each_process_has_its_own_colour_on_a_terminal() -> None:
    terminal = io.StringIO()
    console = Console(terminal, coloured=True)
    for name in ("auth", "session", "nats"):
        console.line_writer(name)("hello")
    colours = re.findall(r"^\x1b\[(\d+)m", terminal.getvalue(), re.MULTILINE)
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
    terminal = io.StringIO()
    console = Console(terminal)
    terminal.close()
    console.say("nobody hears this")


def test_in_json_every_line_is_an_object_and_that_of_a_service_stays_as_it_is() -> None:
    terminal = io.StringIO()
    console = Console(terminal, as_json=True)
    of_auth = '{"message": "hello", "service": "auth"}'
    console.line_writer("auth")(of_auth)
    console.line_writer("auth")('{"not": "whole')
    console.line_writer("nats")('[1] [ERR] "disk"')
    console.line("auth", "ended with exit code 1", "WARNING")
    console.say("stopping")
    lines = terminal.getvalue().splitlines()
    assert lines[0] == of_auth
    assert [(line["service"], line["level"], line["message"]) for line in map(json.loads, lines[1:])] == [
        ("auth", "INFO", '{"not": "whole'),
        ("nats", "ERROR", '[1] [ERR] "disk"'),
        ("auth", "WARNING", "ended with exit code 1"),
        ("vestnik", "INFO", "stopping"),
    ]


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO])
def test_a_log_that_cannot_be_written_ends_nothing(number: int) -> None:
    """An error here would end the reading of a process's output, and it would hang when its pipe is full."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, "no")

    Console(Full()).line_writer("auth")("hello")
