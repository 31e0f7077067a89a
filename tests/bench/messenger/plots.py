"""Plots of a run as SVG: bars with their figures written beside them, the same bytes for the same run."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from tests.bench.messenger.driving import Outcome
from tests.bench.messenger.results import Run

# Of the peers measured on the same machine, and what a scenario is meant to reach: requests a second.
FLOORS: Mapping[str, float] = {"send-64": 4_000, "send-256": 5_500, "ws-send": 5_000, "read": 3_000}
PEERS: Mapping[str, Mapping[str, float]] = {
    "send-64": {"ejabberd": 2_617, "prosody": 270, "Synapse": 55},
    "read": {"ejabberd": 347, "prosody": 138, "Synapse": 102},
}
_WIDTH, _LABEL, _ROW, _BAR = 860, 190, 24, 15
COLOURS = (
    "#2f6f9f",
    "#c8742c",
    "#5d8f3c",
    "#8a5aa0",
    "#a63d40",
    "#7a7a7a",
    "#c2a83e",
    "#3c8f8a",
    "#4d4d6e",
    "#b0b0b0",
)
_PEER, _FLOOR = "#9aa5b1", "#a63d40"

# Label, parts of the bar in order with the number of their colour, what is written behind it, a mark across.
Bar = tuple[str, Sequence[tuple[float, str]], str, float | None]


def write(run: Run, folder: Path) -> list[Path]:
    """Writes all plots of the run into the folder."""
    outcomes = list(run.outcomes().values())
    drawn = {
        "messenger-throughput.svg": throughput(outcomes),
        "messenger-latency.svg": latency(outcomes),
        "messenger-cpu.svg": processor(outcomes),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in drawn.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in drawn]


def throughput(outcomes: Iterable[Outcome]) -> str:
    """Requests a second, with those of peers on the same machine and the floors."""
    bars: list[Bar] = []
    for outcome in outcomes:
        bars.append(
            (
                outcome.scenario,
                [(outcome.per_second, COLOURS[0])],
                f"{outcome.per_second:,.0f}/s",
                FLOORS.get(outcome.scenario),
            )
        )
        for peer, rate in PEERS.get(outcome.scenario, {}).items():
            bars.append((f"{outcome.scenario}: {peer}", [(rate, _PEER)], f"{rate:,.0f}/s", None))
    return _chart("Requests a second (the mark: what it is meant to reach)", bars, {})


def latency(outcomes: Iterable[Outcome]) -> str:
    """p50, p99 and p99.9 in milliseconds, one bar grown by the next."""
    bars: list[Bar] = []
    for outcome in outcomes:
        parts = [
            (outcome.p50, COLOURS[0]),
            (max(outcome.p99 - outcome.p50, 0.0), COLOURS[1]),
            (max(outcome.p999 - outcome.p99, 0.0), COLOURS[5]),
        ]
        bars.append(
            (outcome.scenario, parts, f"{outcome.p50:,.1f} / {outcome.p99:,.1f} / {outcome.p999:,.1f} ms", None)
        )
    return _chart(
        "Time to the answer, ms: p50 / p99 / p99.9",
        bars,
        {"p50": COLOURS[0], "p99": COLOURS[1], "p99.9": COLOURS[5]},
    )


def processor(outcomes: Iterable[Outcome]) -> str:
    """CPU time per request by process, in microseconds; logins, which cost far more, are left out."""
    shown = [outcome for outcome in outcomes if outcome.cpu and "login" not in outcome.scenario]
    parts = sorted({part for outcome in shown for part in outcome.cpu})
    colours = {part: COLOURS[index % len(COLOURS)] for index, part in enumerate(parts)}
    bars: list[Bar] = [
        (
            outcome.scenario,
            [(outcome.cpu.get(part, 0.0), colours[part]) for part in parts],
            f"{sum(outcome.cpu.values()):,.0f} µs, client {outcome.client_share:.0%}",
            None,
        )
        for outcome in shown
    ]
    return _chart("Processor time a request, µs, by process", bars, colours)


def _chart(title: str, bars: Sequence[Bar], legend: Mapping[str, str]) -> str:
    most = max([sum(value for value, _ in parts) for _, parts, _, _ in bars] + [mark or 0 for *_, mark in bars] + [1])
    scale = (_WIDTH - _LABEL - 210) / most
    top = 54 if legend else 34
    height = top + _ROW * len(bars) + 12
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="20" font-size="14" fill="#222222">{escape(title)}</text>',
    ]
    at = 8.0
    for name, colour in legend.items():
        out.append(f'<rect x="{at:.1f}" y="30" width="11" height="11" fill="{colour}"/>')
        out.append(f'<text x="{at + 15:.1f}" y="40" fill="#222222">{escape(name)}</text>')
        at += 30 + 7 * len(name)
    for number, (label, parts, text, mark) in enumerate(bars):
        y = top + _ROW * number
        out.append(f'<text x="{_LABEL - 8}" y="{y + 12}" text-anchor="end" fill="#222222">{escape(label)}</text>')
        x = float(_LABEL)
        for value, colour in parts:
            if value > 0:
                out.append(f'<rect x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="{_BAR}" fill="{colour}"/>')
                x += value * scale
        end = x
        if mark is not None:
            mark_x = _LABEL + mark * scale
            out.append(
                f'<line x1="{mark_x:.1f}" y1="{y - 3}" x2="{mark_x:.1f}" y2="{y + _BAR + 3}" '
                f'stroke="{_FLOOR}" stroke-width="2"/>'
            )
            end = max(end, mark_x)
        out.append(f'<text x="{end + 6:.1f}" y="{y + 12}" fill="#222222">{escape(text)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
