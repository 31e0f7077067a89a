"""Projections are found by their files."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

import projections
from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.catalogue import EVENTS, StillSealed
from contracts.envelope import Provenance, Recorded, open_event, seal
from contracts.events.event import Event
from contracts.services import OPERATOR, SERVICES
from contracts.values.ids import new_id
from infra.devtools.event_schemas.event_contract import Contract
from infra.devtools.event_schemas.sample_data import samples
from infra.settings import Settings
from projections import registry
from projections.analytics import Analytics
from projections.engine import Projection, RowChanges
from projections.engine.broken_projection import Broken
from projections.engine.lookups import lookups_of
from projections.registry import UnknownProjection, broken, catalogue, choose, find, owned_by
from tests.handler_watch import HandlerWatch


def test_every_file_is_found_without_being_listed() -> None:
    assert catalogue()["analytics"] is Analytics


def test_without_names_all_projections_are_chosen() -> None:
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
    assert sorted(projection.name for service in SERVICES for projection in owned_by(service)) == list(catalogue())
    assert {"analytics", "conversations", "notifications"} <= {projection.name for projection in owned_by("messaging")}


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
        assert {name: projection.last_error.error for name, projection in broken().items()} == {
            "unloaded_in_a_test": "ModuleNotFoundError: No module named 'no_such_module'",
            "ownerless": "ValueError: projection ownerless: streams must be among"
            " AUTH, SESSION, PROFILE, CONTACT, MESSAGING, such as (MESSAGING,)",
        }
        assert isinstance(find("unloaded_in_a_test"), Broken)
        with pytest.raises(UnknownProjection, match="cannot be loaded: ModuleNotFoundError"):
            choose(["unloaded_in_a_test"])
    finally:
        registry._everything.cache_clear()


def test_of_two_projections_with_a_view_of_one_name_the_second_is_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "from projections.engine import Projection\nclass ConversationsMessages(Projection):\n    version = {}\n"
    text += (
        '    streams = ["MESSAGING"]\n    tables = "CREATE TABLE {{conversations_messages}} (id uuid PRIMARY KEY)"\n'
    )
    (tmp_path / "conversations_messages.py").write_text(text.format(catalogue()["conversations"].version))
    before = catalogue()
    monkeypatch.setattr(projections, "__path__", [*projections.__path__, str(tmp_path)])
    registry._everything.cache_clear()
    try:
        assert catalogue() == before
        error = broken()["conversations_messages"].last_error.error
        assert "for readers, which projection conversations has too; rename it" in error
    finally:
        registry._everything.cache_clear()


def test_what_services_read_is_found_by_its_name() -> None:
    for name, projection in catalogue().items():
        assert find(name) is projection
        assert projection.__module__ == f"projections.{name}", "a broken file goes by the name of its projection"


@pytest.mark.parametrize("name", catalogue())
def test_the_same_event_leads_to_the_same_changes(name: str) -> None:
    """For a new object and for one that has applied the event before; and the handlers call nothing that varies."""
    watch = HandlerWatch()
    projection = watch.watched(catalogue()[name])
    old = projection()
    for kind in old.handlers().keys() | old.folds().keys():
        for event in sample_events(kind):
            changes = changes_of(old, event)
            assert changes == changes_of(old, event) == changes_of(projection(), event)
    watch.check()


def sample_events(kind: str) -> Iterator[Recorded[Event]]:
    """Events of the type as its schema allows them, opened: with plain text. The domain may produce fewer."""
    aggregate = AGGREGATE_TYPE_OF[kind]
    for number, data in enumerate(samples(Contract.of(EVENTS[kind], aggregate.address)), 1):
        event = msgspec.convert(data, EVENTS[kind])
        envelope = seal(event, aggregate_id=new_id(), version=number, provenance=Provenance())
        with suppress(StillSealed):
            yield open_event(envelope, stream=aggregate.stream, sequence=number, subject=aggregate.address)


def changes_of(projection: Projection, event: Recorded[Event]) -> object:
    """The changes, or the folded row, that the event causes in empty tables."""
    write, fold = RowChanges(), projection.folds().get(event.type)
    try:
        for handler in projection.handlers().get(event.type, ()):
            handler(event, write, **nothing_found(handler))
        row = fold.apply(None, event, nothing_found(fold.method)) if fold else None
    except (ValueError, LookupError) as error:
        # Of an event that only the schema allows.
        return repr(error)
    return write.changes, row


def nothing_found(method: object) -> dict[str, object]:
    return {name: [] if lookup.is_many else None for name, lookup in lookups_of(method).items()}
