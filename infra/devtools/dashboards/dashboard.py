"""A dashboard, its panels and their queries, and their form in Grafana's JSON."""

from collections.abc import Iterator
from typing import Any

import msgspec

# Grafana's grid has 24 columns; heights are in its units.
_COLUMNS = 24
# The schema of Grafana 11; newer releases migrate it when they load it.
_SCHEMA = 39
# The data source is a variable, so that a dashboard can be imported into any Grafana.
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_TAG = "vestnik"

Json = dict[str, Any]


class Query(msgspec.Struct, frozen=True):
    """A PromQL expression; may contain Grafana's `$__rate_interval`."""

    expr: str
    # Name of each series; labels stand in double braces.
    legend: str = ""


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """Time series, or with `stat` the last value of each."""

    title: str
    # The question that the panel answers, and what to do about the answer.
    description: str
    queries: tuple[Query, ...]
    # Grafana's id of a unit.
    unit: str = "short"
    stat: bool = False
    # From these values on a stat has the colour.
    thresholds: tuple[tuple[float, str], ...] = ()
    width: int = 8
    height: int = 8
    # The exporter that has the metrics; empty: Vestnik's own processes.
    exporter: str = ""


class Section(msgspec.Struct, frozen=True):
    """A row of the dashboard with its panels."""

    title: str
    panels: tuple[Panel, ...]


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    # Also the name of its file.
    name: str
    title: str
    description: str
    sections: tuple[Section, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for section in self.sections for panel in section.panels)


def stat(
    title: str, description: str, expr: str, *, unit: str = "short", bad_from: float | None = None, good_from: float = 0
) -> Panel:
    """One number. `bad_from`: red from this value on; `good_from`: red below it."""
    thresholds: tuple[tuple[float, str], ...] = ()
    if bad_from is not None:
        thresholds = ((bad_from, "red"),)
    elif good_from:
        thresholds = ((float("-inf"), "red"), (good_from, "green"))
    return Panel(
        title=title,
        description=description,
        queries=(Query(expr),),
        unit=unit,
        stat=True,
        thresholds=thresholds,
        width=4,
        height=4,
    )


def to_text(dashboard: Dashboard) -> str:
    """The dashboard as Grafana imports it."""
    return msgspec.json.format(msgspec.json.encode(_to_json(dashboard)), indent=2).decode() + "\n"


def _to_json(dashboard: Dashboard) -> Json:
    return {
        "uid": f"vestnik-{dashboard.name}",
        "title": f"Vestnik: {dashboard.title}",
        "description": dashboard.description,
        "tags": [_TAG],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_datasource_variable()]},
        "annotations": {"list": [_alerts()]},
        "links": [_other_dashboards()],
        "panels": list(_panels(dashboard)),
    }


def _datasource_variable() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def _alerts() -> Json:
    """Marks in every panel while an alert fires."""
    return {
        "name": "Alerts",
        "datasource": _DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"Vestnik.+", alertstate="firing"}',
        "step": "60s",
        "titleFormat": "{{alertname}}",
    }


def _other_dashboards() -> Json:
    return {
        "title": "Vestnik",
        "type": "dashboards",
        "tags": [_TAG],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }


def _panels(dashboard: Dashboard) -> Iterator[Json]:
    """Rows and panels from left to right, in lines as wide as the grid."""
    number = y = 0
    for section in dashboard.sections:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": section.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
            "panels": [],
        }
        x, y, highest = 0, y + 1, 0
        for panel in section.panels:
            if x + panel.width > _COLUMNS:
                x, y, highest = 0, y + highest, 0
            number += 1
            yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height})
            x, highest = x + panel.width, max(highest, panel.height)
        y += highest


def _panel(panel: Panel, number: int, position: Json) -> Json:
    about = f" Needs {panel.exporter}; empty without it." if panel.exporter else ""
    defaults: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": _steps(panel)}}
    if panel.stat and panel.unit == "short":
        # Counts; an increase is extrapolated and may have a fraction.
        defaults["decimals"] = 0
    if not panel.stat:
        defaults["min"] = 0
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
    return {
        "id": number,
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.description + about,
        "datasource": _DATASOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _stat_options() if panel.stat else _series_options(),
        "targets": [_target(query, index, panel) for index, query in enumerate(panel.queries)],
    }


def _steps(panel: Panel) -> list[Json]:
    """The first step has no value: it is for all that is below the second."""
    lowest = [] if panel.thresholds and panel.thresholds[0][0] == float("-inf") else [(float("-inf"), "green")]
    steps = (*lowest, *panel.thresholds)
    return [{"value": None if value == float("-inf") else value, "color": color} for value, color in steps]


def _stat_options() -> Json:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "auto",
    }


def _series_options() -> Json:
    return {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _target(query: Query, index: int, panel: Panel) -> Json:
    return {
        "refId": chr(ord("A") + index),
        "datasource": _DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "range": True,
        "instant": False,
    }
