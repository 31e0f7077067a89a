"""The files of a read model that counts events by day: the module and its test."""

from collections.abc import Sequence

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.events.event import Event
from infra.devtools.scaffold_projection.events import column_of, imports_of, samples_of
from infra.devtools.scaffold_projection.names import class_of

_MODULE = '''"""How many events of each kind there were on each day."""

from contracts.envelope import Recorded
{imports}
from contracts.subjects import {stream_names}
from projections.engine import Projection, RowChanges, handles


class {class_name}(Projection):
    """Days on which nothing happened have no row."""

    version = 1
    streams = ({streams})
    tables = """
        CREATE TABLE {{{name}}} (
            day date PRIMARY KEY,
{columns}
        );
    """
{handlers}'''

_HANDLER = """
    @handles({event})
    def {method}(self, event: Recorded[{event}], write: RowChanges) -> None:
        write.upsert("{name}", key={{"day": event.at.date()}}, add={{"{method}": 1}})
"""

_TEST = '''"""What the read model `{name}` makes of events."""

from datetime import date

{imports}
from projections.{name} import {class_name}
from tests.fix_read_models import OpenReadModel


async def test_events_are_counted_by_day(read_model: OpenReadModel) -> None:
    model = await read_model({class_name})
    await model.given({first}, at="2026-01-31T12:00:00Z")
    await model.when({second}, at="2026-02-01T00:00:00Z")
    assert await model.rows("SELECT * FROM {{{name}}} ORDER BY day") == [
        (date(2026, 1, 31), {first_counts}),
        (date(2026, 2, 1), {second_counts}),
    ]

{samples}'''


def files(name: str, events: Sequence[type[Event]]) -> dict[str, str]:
    """The text of each new file, by its path."""
    return {
        f"projections/{name}.py": module_text(name, events),
        f"tests/integration/projections/test_{name}.py": test_text(name, events),
    }


def module_text(name: str, events: Sequence[type[Event]]) -> str:
    streams = list(dict.fromkeys(AGGREGATE_TYPE_OF[event.TYPE].stream for event in events))
    return _MODULE.format(
        name=name,
        class_name=class_of(name),
        imports="\n".join(imports_of(events)),
        stream_names=", ".join(sorted(streams)),
        streams=", ".join(streams) if len(streams) > 1 else f"{streams[0]},",
        columns=",\n".join(f"            {column_of(event)} bigint NOT NULL DEFAULT 0" for event in events),
        handlers="".join(_HANDLER.format(event=event.__name__, method=column_of(event), name=name) for event in events),
    )


def test_text(name: str, events: Sequence[type[Event]]) -> str:
    """Returns a test with one event of each type on one day, and the first type again on the next."""
    samples, imports = samples_of(events)
    return _TEST.format(
        name=name,
        class_name=class_of(name),
        imports=imports,
        first=", ".join(f"{column_of(event)}()" for event in events),
        second=f"{column_of(events[0])}()",
        first_counts=", ".join("1" for _ in events),
        second_counts=", ".join("1" if event is events[0] else "0" for event in events),
        samples=samples,
    )
