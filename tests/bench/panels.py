"""A dashboard drawn as SVG, from a Prometheus's answers to its queries: the same bytes for the same answers.

Panels stand where Grafana puts them. It is a picture for the documentation and no copy of Grafana's look.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import msgspec

from infra.devtools.dashboards.dashboard import Dashboard, Json, Panel, to_text
from tests.bench.messenger.plots import COLOURS
from tests.prometheus_server import Series

# Pixels of one cell of Grafana's grid, and between panels.
_WIDTH, _HEIGHT, _GAP = 50, 26, 6
_LEGEND_LINES = 4
_TEXT, _FAINT, _RED = "#222222", "#d8d8d8", "#a63d40"

# What each query of a panel was answered.
Answers = Mapping[str, Sequence[Sequence[Series]]]


def draw(dashboard: Dashboard, answers: Answers, start: float, end: float) -> str:
    """`answers`: by the title of the panel, in the order of its queries. `start`, `end`: seconds since the epoch."""
    laid_out: Json = msgspec.json.decode(to_text(dashboard))
    panels = {panel.title: panel for panel in dashboard.panels}
    bottom = max(layout["gridPos"]["y"] + layout["gridPos"]["h"] for layout in laid_out["panels"])
    width, height = 24 * _WIDTH, bottom * _HEIGHT + 34
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        f"<title>{escape(laid_out['title'])}</title>",
        f'<rect width="{width}" height="{height}" fill="#f4f5f5"/>',
        f'<text x="8" y="22" font-size="16" fill="{_TEXT}">{escape(laid_out["title"])}</text>',
    ]
    for layout in laid_out["panels"]:
        at = layout["gridPos"]
        box = _Box(at["x"] * _WIDTH, at["y"] * _HEIGHT + 32, at["w"] * _WIDTH - _GAP, at["h"] * _HEIGHT - _GAP)
        if layout["type"] == "row":
            out.append(_text(box.x + 6, box.y + 14, layout["title"], size=13, bold=True))
        else:
            out += _panel(panels[layout["title"]], _named(panels[layout["title"]], answers), box, start, end)
    return "\n".join([*out, "</svg>"]) + "\n"


class _Box(msgspec.Struct, frozen=True):
    x: float
    y: float
    width: float
    height: float


class _Line(msgspec.Struct, frozen=True):
    name: str
    # Without the points that are no numbers.
    points: list[tuple[float, float]]

    @property
    def highest(self) -> float:
        return max(value for _, value in self.points)


def _named(panel: Panel, answers: Answers) -> list[_Line]:
    """The panel's series by name, the highest first."""
    lines = []
    for query, answered in zip(panel.queries, answers.get(panel.title, [[]] * len(panel.queries)), strict=True):
        for series in answered:
            name = re.sub(r"\{\{(\w+)\}\}", lambda label: series.labels.get(label[1], ""), query.legend)  # noqa: B023
            if points := [(at, value) for at, value in series.points if math.isfinite(value)]:
                lines.append(_Line(name.strip() or panel.title, points))
    return sorted(lines, key=lambda line: (-line.highest, line.name))


def _panel(panel: Panel, lines: Sequence[_Line], box: _Box, start: float, end: float) -> Iterator[str]:
    yield (
        f'<rect x="{box.x + 3:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="3" '
        f'fill="#ffffff" stroke="{_FAINT}"/>'
    )
    yield _text(box.x + 10, box.y + 15, panel.title, bold=True)
    if not lines:
        empty = f"needs {panel.exporter.partition(' ')[0]}" if panel.exporter else "no data"
        yield _text(box.x + box.width / 2, box.y + box.height / 2 + 8, empty, anchor="middle", colour="#8a8a8a")
    elif panel.stat:
        yield from _number(panel, lines[0], box)
    else:
        yield from _curves(panel, lines, box, start, end)


def _number(panel: Panel, line: _Line, box: _Box) -> Iterator[str]:
    value = line.points[-1][1]
    passed = [colour for threshold, colour in panel.thresholds if value >= threshold]
    colour = _RED if passed and passed[-1] == "red" else COLOURS[2]
    text = f"{value:,.0f}" if panel.unit == "short" else formatted(value, panel.unit)
    yield _text(box.x + box.width / 2, box.y + box.height / 2 + 18, text, size=26, anchor="middle", colour=colour)


def _curves(panel: Panel, lines: Sequence[_Line], box: _Box, start: float, end: float) -> Iterator[str]:
    named = lines[:_LEGEND_LINES]
    left, right, top = box.x + 58, box.x + box.width - 8, box.y + 26
    bottom = box.y + box.height - 22 - 13 * len(named)
    most = _rounded(max(line.highest for line in lines), panel.unit)
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - top)
        yield f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{_FAINT}"/>'
        yield _text(left - 5, y + 4, formatted(most * share, panel.unit), anchor="end", colour="#6a6a6a")
    for share in (0.0, 0.5, 1.0):
        seconds = share * (end - start)
        anchor = "end" if share == 1.0 else "middle"
        yield _text(left + share * (right - left), bottom + 13, f"{seconds:.0f} s", anchor=anchor, colour="#6a6a6a")
    for number, line in reversed(list(enumerate(lines))):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{left + (at - start) / (end - start) * (right - left):.1f},"
            f"{bottom - min(max(value / most, 0.0), 1.0) * (bottom - top):.1f}"
            for at, value in line.points
        )
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    for number, line in enumerate(named):
        y = bottom + 28 + 13 * number
        yield f'<rect x="{box.x + 12:.1f}" y="{y - 7:.1f}" width="8" height="8" fill="{COLOURS[number]}"/>'
        more = f", and {len(lines) - len(named)} more" if number == len(named) - 1 and len(lines) > len(named) else ""
        yield _text(box.x + 25, y, f"{line.name}: at most {formatted(line.highest, panel.unit)}{more}")


def _rounded(value: float, unit: str) -> float:
    """The next greater number with one significant digit in decimals, or in a unit of bytes; 1 for nothing."""
    if value <= 0:
        return 1.0
    scale = 1024.0 ** math.floor(math.log(value, 1024)) if unit == "bytes" else 1.0
    size = scale * 10.0 ** math.floor(math.log10(value / scale))
    return math.ceil(value / size - 1e-9) * size


def formatted(value: float, unit: str) -> str:
    """The value as people read it; `unit`: one of Grafana's."""
    match unit:
        case "percentunit":
            return f"{value * 100:.4g} %"
        case "bytes":
            for size, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
                if value >= size:
                    return f"{value / size:.3g} {name}"
            return f"{value:.0f} B"
        case "s":
            return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
        case "reqps" | "ops":
            return f"{value:.3g}/s"
        case _:
            return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(
    x: float, y: float, text: str, *, size: int = 11, bold: bool = False, anchor: str = "start", colour: str = _TEXT
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{weight} text-anchor="{anchor}" fill="{colour}">'
        f"{escape(text)}</text>"
    )
