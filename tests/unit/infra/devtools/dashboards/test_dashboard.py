"""The dashboards are complete: in Grafana's form, without overlaps, and each panel says what question it answers."""

import re

import msgspec
import pytest

from infra.devtools.dashboards.catalogue import DASHBOARDS
from infra.devtools.dashboards.dashboard import Dashboard, Json, to_text
from tests.prometheus_server import DASHBOARDS as FOLDER

NAMES = [dashboard.name for dashboard in DASHBOARDS]


def decoded(dashboard: Dashboard) -> Json:
    document: Json = msgspec.json.decode(to_text(dashboard))
    return document


def test_the_folder_has_these_dashboards_and_no_others() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(NAMES)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=NAMES)
def test_panels_fill_the_grid_without_overlaps(dashboard: Dashboard) -> None:
    occupied: set[tuple[int, int]] = set()
    for panel in decoded(dashboard)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & occupied, panel["title"]
        assert all(0 <= x < 24 for x, _ in cells), panel["title"]
        occupied |= cells


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=NAMES)
def test_every_panel_has_its_own_id_a_description_and_queries_of_the_chosen_data_source(dashboard: Dashboard) -> None:
    document = decoded(dashboard)
    variable = document["templating"]["list"][0]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in document["panels"] if panel["type"] != "row"]
    assert len(titles) == len(set(titles))
    for panel in (panel for panel in document["panels"] if panel["type"] != "row"):
        assert panel["description"].strip().endswith(".") or panel["description"].endswith("?")
        assert panel["targets"], panel["title"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None
        assert all(step["value"] is not None for step in steps[1:])


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=NAMES)
def test_a_panel_of_an_exporter_says_so_and_no_other_panel_has_foreign_metrics(dashboard: Dashboard) -> None:
    for panel in dashboard.panels:
        text = " ".join(query.expr for query in panel.queries)
        assert bool(re.search(r"\b(vestnik_|process_|up\b)", text)) != bool(panel.exporter), panel.title
    described = {panel["title"]: panel.get("description", "") for panel in decoded(dashboard)["panels"]}
    for panel in dashboard.panels:
        assert not panel.exporter or f"Needs {panel.exporter}" in described[panel.title]


def test_what_exporters_measure_is_found_by_its_names_on_kubernetes_too() -> None:
    queries = [query.expr for dashboard in DASHBOARDS for panel in dashboard.panels for query in panel.queries]
    for prefix, on_kubernetes in (("gnatsd_", " or nats_"), ("pg_", " or cnpg_")):
        measured = [query for query in queries if re.search(rf"(?<![a-z_]){prefix}", query)]
        assert measured
        assert not [query for query in measured if on_kubernetes not in query]
