"""`./just new-projection NAME`: creates a read model and its test; both work unchanged, as a starting point.

The projection needs no registration: projections/registry.py discovers it, and the owner of its first stream runs it.
"""

import argparse
import keyword
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.events.event import Event
from contracts.subjects import PUBLIC_FILTERS, STREAMS
from infra.operator_errors import OperatorError

ROOT = Path(__file__).resolve().parents[2]
# With the suffixes of version and build, the name has to fit into PostgreSQL's 63 bytes.
_LONGEST = 40
# Words of at least two letters or digits, so that the name and the class name can be derived from each other.
_NAME = re.compile(r"[a-z][a-z0-9]+(?:_[a-z][a-z0-9]+)*")
_VERSIONED = re.compile(r".*_[vb][0-9]+")
# Names without meaning, and names of modules beside the projections.
_RESERVED = {"utils", "util", "helpers", "common", "base", "manager", "misc", "engine", "registry", "projections"}
_USED_CLASSES = {"Projection", "Recorded", "RowChanges"}
_DECLARED = re.compile(r"^class (\w+)\(Projection\)", re.MULTILINE)

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


class CannotMake(OperatorError):
    """The projection cannot be created as asked; nothing was written."""


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="./just new-projection", description="Makes a read model and its test.")
    parser.add_argument("name", help="what it shows, such as hours_of_day")
    parser.add_argument("--event", action="append", metavar="TYPE", help="an event that it counts (message.sent)")
    parser.add_argument("--stream", action="append", metavar="STREAM", help="a stream of whose events it counts all")
    options = parser.parse_args(arguments)
    try:
        events = chosen(options.event or [], options.stream or [])
        files = made(options.name, events, root)
    except CannotMake as failure:
        sys.stderr.write(f"new-projection: {failure}\n")
        return 1
    module, test = (str(path.relative_to(root)) for path in files)
    service = STREAMS[AGGREGATE_TYPE_OF[events[0].TYPE].stream]
    sys.stdout.write(
        f"{module}: the read model; the service {service} runs it from its next start on\n"
        f"{test}: its test, `./just test {test}` runs it\n"
    )
    return 0


def chosen(types: Sequence[str], streams: Sequence[str]) -> list[type[Event]]:
    """Returns the events to handle; the stream of the first one decides which service runs the projection.

    Raises:
        CannotMake: there is no such event or stream, or only its owner may read it.
    """
    event_types = {
        event.TYPE: event for channel in dict.fromkeys(AGGREGATE_TYPE_OF.values()) for event in channel.events
    }
    for stream in streams:
        if stream.upper() not in PUBLIC_FILTERS:
            raise CannotMake(f"there is no stream {stream}; there are: {', '.join(PUBLIC_FILTERS)}")
    event_names = [*types] + [
        kind
        for stream in streams
        for kind, event in event_types.items()
        if AGGREGATE_TYPE_OF[kind].stream == stream.upper() and not event.PRIVATE
    ]
    for kind in event_names:
        if kind not in event_types:
            raise CannotMake(f"there is no event {kind}; there are: {', '.join(sorted(event_types))}")
    events = [event_types[kind] for kind in dict.fromkeys(event_names or ["message.sent"])]
    first = AGGREGATE_TYPE_OF[events[0].TYPE].stream
    for event in events:
        if event.PRIVATE and AGGREGATE_TYPE_OF[event.TYPE].stream != first:
            raise CannotMake(f"{event.TYPE} is private: only a projection whose first event is of {first} may read it")
    return events


def made(name: str, events: Sequence[type[Event]], root: Path) -> tuple[Path, Path]:
    """Writes the module and its test, and returns their paths.

    Raises:
        CannotMake: the name is invalid or taken.
    """
    class_name = class_of(name)
    files = root / "projections" / f"{name}.py", root / "tests" / "integration" / "projections" / f"test_{name}.py"
    for path in files:
        if path.exists():
            raise CannotMake(f"{path.relative_to(root)} exists, and nothing is overwritten")
    declared = {
        declaration
        for path in (root / "projections").glob("*.py")
        for declaration in _DECLARED.findall(path.read_text())
    }
    if class_name in declared:
        raise CannotMake(f"there is a projection {class_name} already")
    if class_name in _USED_CLASSES | {event.__name__ for event in events}:
        raise CannotMake(f"{name} would be the class {class_name}, which the module itself uses")
    for path, text in zip(files, (module_text(name, events), test_text(name, events)), strict=True):
        path.write_text(text, encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff"]
    for chore in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        subprocess.run([*ruff, *chore, *map(str, files)], cwd=root, check=True)  # noqa: S603 - our own tool
    return files


def class_of(name: str) -> str:
    """Returns the class name for a projection's name.

    Raises:
        CannotMake: it is not a valid name for a projection.
    """
    if not _NAME.fullmatch(name):
        raise CannotMake(f"{name!r} is no name: words of two or more of a-z 0-9, joined by _, such as hours_of_day")
    if len(name) > _LONGEST:
        raise CannotMake(f"a name has at most {_LONGEST} characters, this one has {len(name)}")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in _RESERVED:
        raise CannotMake(f"{name} is reserved: name the projection after what it shows")
    if _VERSIONED.fullmatch(name):
        raise CannotMake(f"{name} ends as versions and builds of tables do; the version is an attribute of the class")
    return "".join(word.capitalize() for word in name.split("_"))


def module_text(name: str, events: Sequence[type[Event]]) -> str:
    streams = list(dict.fromkeys(AGGREGATE_TYPE_OF[event.TYPE].stream for event in events))
    return _MODULE.format(
        name=name,
        class_name=class_of(name),
        imports="\n".join(_imports(events)),
        stream_names=", ".join(sorted(streams)),
        streams=", ".join(streams) if len(streams) > 1 else f"{streams[0]},",
        columns=",\n".join(f"            {_column(event)} bigint NOT NULL DEFAULT 0" for event in events),
        handlers="".join(_HANDLER.format(event=event.__name__, method=_column(event), name=name) for event in events),
    )


def test_text(name: str, events: Sequence[type[Event]]) -> str:
    """Returns a test with one event of each type on one day, and the first type again on the next."""
    samples = [_sample(event) for event in events]
    needed = {"new_id"} if any("new_id()" in sample for sample in samples) else set()
    imports = [*_imports(events), *(f"from contracts.values.ids import {helper}" for helper in needed)]
    if any("datetime(" in sample for sample in samples):
        imports.append("from datetime import UTC, datetime")
    return _TEST.format(
        name=name,
        class_name=class_of(name),
        imports="\n".join(imports),
        first=", ".join(f"{_column(event)}()" for event in events),
        second=f"{_column(events[0])}()",
        first_counts=", ".join("1" for _ in events),
        second_counts=", ".join("1" if event is events[0] else "0" for event in events),
        samples="\n".join(samples),
    )


def _imports(events: Sequence[type[Event]]) -> Iterator[str]:
    for module in sorted({event.__module__ for event in events}):
        names = sorted(event.__name__ for event in events if event.__module__ == module)
        yield f"from {module} import {', '.join(names)}"


def _column(event: type[Event]) -> str:
    return event.TYPE.replace(".", "_")


def _sample(event: type[Event]) -> str:
    fields = ", ".join(f"{field.name}={_value(field)}" for field in msgspec.structs.fields(event) if field.required)
    return f"\ndef {_column(event)}() -> {event.__name__}:\n    return {event.__name__}({fields})\n"


def _value(field: msgspec.structs.FieldInfo) -> str:
    kind = msgspec.json.schema(field.type)
    if field.type is int:
        return "1"
    if kind.get("format") == "date-time":
        moment = datetime(2026, 2, 28)  # noqa: DTZ001 - text of a test
        return f"datetime({moment.year}, {moment.month}, {moment.day}, tzinfo=UTC)"
    if kind.get("type") == "array":
        return "(new_id(),)"
    return "new_id()" if field.name.endswith("_id") and field.name != "client_message_id" else '"text"'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
