"""Projections are found by their files."""

from pathlib import Path

import pytest

import projections
from contracts.services import OPERATOR, SERVICES
from infra.settings import Settings
from projections import registry
from projections.analytics import Analytics
from projections.engine.broken_projection import Broken
from projections.registry import UnknownProjection, broken, catalogue, choose, find, owned_by


def test_every_file_is_found_without_being_listed() -> None:
    assert catalogue()["analytics"] is Analytics


def test_without_names_all_are_chosen() -> None:
    assert choose([]) == list(catalogue().values())


def test_without_names_those_of_services_that_are_switched_off_are_left_out() -> None:
    services = Settings.made_of({"operator_address": ""}).read_model_services
    assert set(choose([])) - set(choose([], services)) == set(owned_by(OPERATOR))
    assert [projection.name for projection in choose(["anomalies"], services)] == ["anomalies"]


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownProjection, match=r"no projection 'freinds'; there are: analytics"):
        choose(["freinds"])


def test_every_projection_has_views_of_its_own() -> None:
    views = [projection.view(table) for projection in choose([]) for table in projection.table_names()]
    assert len(views) == len(set(views))


def test_every_projection_is_run_by_one_service() -> None:
    assert sorted(found.name for service in SERVICES for found in owned_by(service)) == list(catalogue())
    assert {"analytics", "conversations", "notifications"} <= {found.name for found in owned_by("messaging")}


def test_a_file_that_cannot_be_loaded_is_a_broken_projection_of_its_name_and_keeps_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "unloaded_in_a_test.py").write_text("import no_such_module\n")
    text = 'from projections.engine import Projection\nclass Ownerless(Projection):\n    streams = ["NOWHERE"]\n'
    (tmp_path / "ownerless_in_a_test.py").write_text(text + '    tables = "CREATE TABLE {ownerless} (id uuid)"\n')
    before = catalogue()
    monkeypatch.setattr(projections, "__path__", [*projections.__path__, str(tmp_path)])
    registry._everything.cache_clear()
    try:
        assert catalogue() == before
        assert {name: found.last_error.error for name, found in broken().items()} == {
            "unloaded_in_a_test": "ModuleNotFoundError: No module named 'no_such_module'",
            "ownerless": "ValueError: projection ownerless: streams must be among"
            " AUTH, SESSION, PROFILE, CONTACT, MESSAGING, such as (MESSAGING,)",
        }
        assert isinstance(find("unloaded_in_a_test"), Broken)
        with pytest.raises(UnknownProjection, match="cannot be loaded: ModuleNotFoundError"):
            choose(["unloaded_in_a_test"])
    finally:
        registry._everything.cache_clear()


def test_what_services_read_is_found_by_its_name() -> None:
    for name, projection in catalogue().items():
        assert find(name) is projection
        assert projection.__module__ == f"projections.{name}", "a broken file goes by the name of its projection"
