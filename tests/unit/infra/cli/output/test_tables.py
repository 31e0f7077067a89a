"""Tables on terminals of every width, and without a terminal."""

from io import StringIO

import pytest
from rich.console import Console

from contracts.values.ids import new_id
from infra.cli.output import tables
from infra.cli.output.tables import Column, fitted

NAMES = [f"anna_maria_with_a_very_long_name_{number}" for number in range(3)]
IDS = [new_id() for _ in NAMES]
ROWS = [
    (name, one, "CONTACT 12, MESSAGING 1,234", "a text of words that may be broken " * 3)
    for name, one in zip(NAMES, IDS, strict=True)
]
COLUMNS = (
    Column("name"),
    Column("user id"),
    Column("position", is_list=True, optional=1),
    Column("text", is_text=True),
)


def printed(width: int, *, lean: bool = False) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(fitted(COLUMNS, ROWS, width, title="people", lean=lean))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("width", range(50, 230, 3))
def test_names_and_ids_are_not_shortened_on_any_terminal(width: int, lean: bool) -> None:
    text = printed(width, lean=lean)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert all(cell in text for cell in (*NAMES, *IDS))


def test_a_table_that_fits_has_a_line_a_row() -> None:
    text = printed(250)
    assert "CONTACT 12, MESSAGING 1,234" in text
    assert len(text.splitlines()) == 5 + len(NAMES)


def test_the_least_important_columns_are_left_out_first() -> None:
    assert "MESSAGING" in printed(140)
    assert "MESSAGING" not in printed(100)


def test_where_no_table_fits_each_row_is_a_paragraph_with_everything() -> None:
    text = printed(60)
    assert "│" not in text
    assert text.count("position  CONTACT 12, MESSAGING 1,234\n") == len(NAMES)


def test_without_a_terminal_nothing_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console = tables.console()
    assert not console.is_terminal
    assert console.width > sum(map(len, ROWS[0]))
