"""Pictures of dashboards show the series of each panel, and which panels have no data."""

import math
from xml.etree import ElementTree

import pytest

from infra.devtools.dashboards.catalogue import DASHBOARDS
from infra.devtools.dashboards.dashboard import Dashboard, Panel, Query, Section
from tests.bench.panels import draw, formatted
from tests.prometheus_server import Series

SVG = "{http://www.w3.org/2000/svg}"
PANEL = Panel(title="Requests <by route>", description="What?", queries=(Query("up", "{{route}}"),), unit="reqps")
SMALL = Dashboard(name="small", title="small", description="", sections=(Section("One", (PANEL,)),))


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_a_line_for_each_series_with_its_name_and_its_highest_value() -> None:
    answers = {
        PANEL.title: [
            [
                Series({"route": "/v1/a"}, [(0.0, 1.0), (5.0, math.nan), (10.0, 3.0)]),
                Series({"route": "/v1/b"}, [(0.0, 9.0), (10.0, 7.0)]),
                Series({"route": "/v1/never"}, [(0.0, math.nan)]),
            ]
        ]
    }
    picture = draw(SMALL, answers, 0.0, 10.0)
    assert picture == draw(SMALL, answers, 0.0, 10.0)
    lines = [polyline.get("points", "") for polyline in ElementTree.fromstring(picture).iter(f"{SVG}polyline")]
    assert [len(line.split()) for line in lines] == [2, 2]
    shown_texts = texts(picture)
    assert "Requests <by route>" in shown_texts
    assert "/v1/b: at most 9/s" in shown_texts
    assert "/v1/a: at most 3/s" in shown_texts


def test_a_panel_without_an_answer_says_so() -> None:
    assert "no data" in texts(draw(SMALL, {}, 0.0, 10.0))


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_every_dashboard_can_be_drawn_with_all_its_panels(dashboard: Dashboard) -> None:
    shown_texts = texts(draw(dashboard, {}, 0.0, 10.0))
    assert {panel.title for panel in dashboard.panels} <= set(shown_texts)


def test_values_are_written_as_people_read_them() -> None:
    values = [(0.9987, "percentunit"), (0.0123, "s"), (75.0, "s"), (3 * 2**20, "bytes"), (12_345, "short")]
    assert [formatted(*value) for value in values] == ["99.87 %", "12.3 ms", "75 s", "3 MiB", "12,345"]
