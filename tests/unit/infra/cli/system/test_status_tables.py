"""The status as text: problems are reported, and unknown values are shown as unknown."""

from datetime import UTC, datetime
from io import StringIO

import msgspec
import pytest
from rich.console import Console

from contracts.durable_consumers import DURABLES
from contracts.subjects import STREAMS
from infra.cli.system.status_tables import problems, tables
from projections.engine.running.last_errors import LastError
from projections.engine.status.status import DeadLetters, Filled, ProjectionStatus, StreamStatus, unknown_statuses
from projections.registry import choose
from services.operator.system_status import ServiceStatus, Status, UnreachableServer
from streams.reactions.status import ReactionStatus, unknown_reactions

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
PROJECTION = ProjectionStatus(
    name="conversations",
    version=2,
    position={"CONTACT": 12, "MESSAGING": 3_456},
    lag=0,
    lag_seconds=0.0,
    events_per_second=12.34,
    state="live",
    build=3,
    checkpoint_at=NOON,
    dead_letters=DeadLetters(),
    last_error=None,
    progress=None,
    bytes=2_500_000,
    kept_bytes=0,
)

REACTION = ReactionStatus(
    name="profile-creation",
    service="profile",
    stream="AUTH",
    state="running",
    position=3_456,
    lag=1_500,
    lag_seconds=61.2,
    waiting=7,
    attempts=3_463,
    attempts_per_second=12.34,
    parked=2,
)


def printed(*projections: ProjectionStatus) -> str:
    status = Status(
        NOON,
        [StreamStatus("MESSAGING", 3_456, 1_000_000, 3_456)],
        list(projections),
        [REACTION],
        [ServiceStatus("auth", "down", [])],
        [],
        out_of_space=False,
    )
    console = Console(file=StringIO(), width=160, color_system=None)
    console.print(tables(status, console.width))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def row_of(text: str, name: str) -> list[str]:
    (row,) = (line for line in text.splitlines() if line.startswith(f"│ {name}"))
    return [cell.strip() for cell in row.strip("│").split("│")]


def test_each_projection_is_a_row() -> None:
    assert row_of(printed(PROJECTION), "conversations") == [
        "conversations",
        "2",
        "CONTACT 12, MESSAGING 3,456",
        "0",
        "0.0",
        "12.3",
        "0",
        "2.5 MB",
        "live",
    ]


def test_each_reaction_is_a_row() -> None:
    assert row_of(printed(PROJECTION), "profile-creation") == [
        "profile-creation",
        "1,500",
        "61.2",
        "7",
        "12.3",
        "2",
        "running",
    ]


def test_what_an_error_quotes_does_not_control_the_terminal() -> None:
    text = printed(
        msgspec.structs.replace(PROJECTION, last_error=LastError(NOON, "no number: \x1b]0;x\x07\x9b1m\nlive"))
    )
    assert r"last error at 2026-01-31 12:00:00: no number: \u001b]0;x\u0007\u009b1m\nlive" in text


def test_dead_letters_and_the_last_error_are_shown() -> None:
    lagging = msgspec.structs.replace(
        PROJECTION,
        lag=1_500,
        lag_seconds=61.2,
        dead_letters=DeadLetters(failed=1, parked=2_000),
        last_error=LastError(NOON, "Unavailable: [the] database does not answer"),
    )
    text = printed(lagging)
    assert row_of(text, "conversations")[3:7] == ["1,500", "61.2", "12.3", "1 + 2,000 waiting"]
    assert "last error at 2026-01-31 12:00:00: Unavailable: [the] database does not answer" in text


def test_what_is_not_known_is_not_shown_as_a_number() -> None:
    text = printed(*unknown_statuses(choose(["friends"])))
    assert row_of(text, "friends")[2:5] == ["", "?", "?"]
    assert row_of(text, "friends")[-1] == "unknown"


def test_a_running_build_shows_its_progress() -> None:
    building = msgspec.structs.replace(PROJECTION, state="building", progress=Filled(40, 100, 0.4, 90.0))
    assert row_of(printed(building), "conversations")[-1].startswith("building 40%")


def test_unreachable_and_full_servers_are_named() -> None:
    status = Status(NOON, [], [], [], [], [UnreachableServer("postgres", "no answer in time")], out_of_space=True)
    assert problems(status) == [
        "postgres is unreachable: no answer in time",
        "nats is out of space and refuses writes; see docs/runbooks/out-of-space.md",
    ]


def test_a_stream_that_lacks_events_is_reported() -> None:
    assert "lacks" not in printed(PROJECTION)
    status = Status(
        NOON, [StreamStatus("MESSAGING", 3_000, 1_000_000, 3_001)], [PROJECTION], [], [], [], out_of_space=False
    )
    console = Console(file=StringIO(), width=160, color_system=None)
    console.print(tables(status, console.width))
    assert isinstance(console.file, StringIO)
    output = console.file.getvalue()
    assert "MESSAGING lacks 1 of its 3,001 events" in output
    assert "conversations has applied MESSAGING up to 3,456, and it ends at 3,001" in output


@pytest.mark.parametrize("width", [60, 80, 100, 132])
def test_names_are_not_shortened_on_any_terminal(width: int) -> None:
    lagging = msgspec.structs.replace(
        PROJECTION,
        position={"CONTACT": 12_345_678, "MESSAGING": 123_456_789},
        lag=123_456_789,
        lag_seconds=123_456.7,
        dead_letters=DeadLetters(failed=1_234, parked=56_789),
        progress=Filled(40, 100, 0.4, 5_000.0),
    )
    projections = [msgspec.structs.replace(lagging, name=projection.name) for projection in choose([])]
    status = Status(
        NOON,
        [StreamStatus(stream, 123_456_789, 123_456_789_012, 123_456_789) for stream in STREAMS],
        projections,
        unknown_reactions(DURABLES),
        [ServiceStatus("messaging", "not_ready", [])],
        [],
        out_of_space=False,
    )
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(tables(status, width))
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    words = text.replace("│", " ").split()
    for name in (
        *STREAMS,
        *(projection.name for projection in projections),
        *(durable.name for durable in DURABLES),
        "123,456,789",
    ):
        assert name in words
