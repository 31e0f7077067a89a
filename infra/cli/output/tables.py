"""Tables that fit the terminal without truncating a value.

If a table is too wide, titles, lists and free text are folded, then the least important columns are left out. If it is
still too wide, each row becomes a paragraph. Values are never truncated, since two names could then look alike.
"""

import sys
from collections.abc import Callable, Sequence

import msgspec
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from infra.cli.output.terminal_text import printable

# Width when the output is not a terminal: lines are not broken.
_UNBOUNDED = 1_000_000
# Least width of a column of free text.
_NARROW_TEXT = 20

Rows = Sequence[Sequence[str]]


class Column(msgspec.Struct, frozen=True):
    title: str
    is_number: bool = False
    # Entries separated by `, `.
    is_list: bool = False
    # Free text, which may be folded anywhere.
    is_text: bool = False
    # The column with the highest value is left out first; one with 0 never.
    optional: int = 0


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal; unbounded if the output is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else _UNBOUNDED)


def literal(text: str) -> str:
    """The text for rich's markup: without markup of its own, and printable, since rich passes control codes on."""
    return escape(printable(text))


def fitted(columns: Sequence[Column], rows: Rows, width: int, *, title: str = "", lean: bool = False) -> RenderableType:
    """Returns the table fitted to `width` characters; cells are rich's markup. `lean`: without borders."""
    around, between = (0, 1) if lean else (1, 3)

    def room(indices: Sequence[int]) -> int:
        """The width left for the cells of these columns."""
        return width - around - between * len(indices)

    shown = list(range(len(columns)))
    widths = _each(_width, columns, rows)
    if sum(widths) > room(shown):
        folded = [[_folded(cell, column) for cell, column in zip(row, columns, strict=True)] for row in rows]
        full_widths, widths = _each(_width, columns, folded), _each(_least, columns, folded)
        while sum(widths[index] for index in shown) > room(shown):
            index = max(shown, key=lambda index: columns[index].optional)
            if not columns[index].optional:
                return _paragraphs(columns, rows, title)
            shown.remove(index)
        rows = folded
        for index in shown:
            left = room(shown) - sum(widths[index] for index in shown)
            widths[index] = min(full_widths[index], widths[index] + left)
    table = Table(title=title or None, title_justify="left")
    if lean:
        table.box, table.padding = None, (0, 1, 0, 0)
    for index in shown:
        column = columns[index]
        table.add_column(
            column.title, justify="right" if column.is_number else "left", overflow="fold", width=widths[index]
        )
    for row in rows:
        table.add_row(*(row[index] for index in shown))
    return table


def _each(width: Callable[[Column, list[str]], int], columns: Sequence[Column], rows: Rows) -> list[int]:
    return [width(column, [row[index] for row in rows]) for index, column in enumerate(columns)]


def _folded(cell: str, column: Column) -> str:
    return cell.replace(", ", "\n") if column.is_list else cell


def _width(column: Column, cells: list[str]) -> int:
    """The width of the column with nothing folded."""
    return max([cell_len(column.title), *map(cell_len, _lines(cells))])


def _least(column: Column, cells: list[str]) -> int:
    """The least width of the column."""
    title = max(map(cell_len, column.title.split()))
    if not column.is_text:
        return max([title, *map(cell_len, _lines(cells))])
    words = [cell_len(word) for line in _lines(cells) for word in line.split()]
    return max(title, min(max(words, default=0), _NARROW_TEXT))


def _lines(cells: list[str]) -> list[str]:
    return [line for cell in cells for line in Text.from_markup(cell).plain.splitlines()]


def _paragraphs(columns: Sequence[Column], rows: Rows, title: str) -> RenderableType:
    names = max(cell_len(column.title) for column in columns)
    lines = [Text(title, style="italic")] if title else []
    for row in rows:
        lines += [
            Text.from_markup(f"[bold]{column.title:<{names}}[/]  {cell}", overflow="fold")
            for column, cell in zip(columns, row, strict=True)
        ]
        lines.append(Text())
    return Group(*lines)
