"""Projections are found by their files."""

import pytest

from infra.settings import SERVICES
from projections.analytics import Analytics
from projections.registry import UnknownProjection, catalogue, choose, owned_by


def test_every_file_is_found_without_being_listed() -> None:
    assert catalogue()["analytics"] is Analytics


def test_without_names_all_are_chosen() -> None:
    assert choose([]) == list(catalogue().values())


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownProjection, match=r"no projection 'freinds'; there are: analytics"):
        choose(["freinds"])


def test_every_projection_has_views_of_its_own() -> None:
    views = [projection.view(table) for projection in choose([]) for table in projection.table_names()]
    assert len(views) == len(set(views))


def test_every_projection_is_run_by_one_service() -> None:
    assert sorted(found.name for service in SERVICES for found in owned_by(service)) == list(catalogue())
    assert [found.name for found in owned_by("messaging")] == ["analytics", "conversations", "notifications"]
