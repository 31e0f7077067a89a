"""Rows as lines of text: aligned columns, or comma-separated values that no spreadsheet runs as a formula."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from contracts.values.timestamps import rfc3339
from infra.cli.output.terminal_text import printable

# Where a spreadsheet sees a formula: at the beginning of a cell, and after a semicolon, which separates cells in many
# languages of the spreadsheet. Some accept the characters in full width too.
_FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@＝＋－＠])")


def shown(value: object) -> str:
    """The value as printable text, since parts of it come from clients."""
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return printable(" ".join(f"{name}={text}" for name, text in value.items()))
    return "" if value is None else printable(str(value))


def headed(widths: Mapping[str, int]) -> str:
    """The header of aligned columns."""
    return aligned({name: name.upper() for name in widths}, widths)


def aligned(values: Mapping[str, str], widths: Mapping[str, int]) -> str:
    return "  ".join(f"{values[name]:<{width}}" for name, width in widths.items()).rstrip() + "\n"


def csv_line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(_cell, values))
    return line.getvalue()


def _cell(value: object) -> str:
    return _FORMULA.sub(r"\1'", shown(value))
