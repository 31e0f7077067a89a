"""The files that show a read model to clients: JSON, gRPC interface, server, routes, test; and its row of rights."""

import re
from collections.abc import Sequence
from pathlib import Path

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.events.event import Event
from contracts.subjects import STREAMS
from infra.devtools.scaffold_projection import read_templates
from infra.devtools.scaffold_projection.errors import CannotMake
from infra.devtools.scaffold_projection.events import column_of, samples_of
from infra.devtools.scaffold_projection.names import class_of

RIGHTS = "contracts/services.py"
# A digit before a letter within a word: the gRPC compiler begins another word there, `P2PChats` for `P2pChats`.
_SPLIT_WORD = re.compile(r"[0-9][a-z]")
_TABLE = re.compile(r"^READS: Mapping\[str, Callers\] = \{", re.MULTILINE)


def service_of(events: Sequence[type[Event]]) -> str:
    """The service that runs a projection of these events."""
    return STREAMS[AGGREGATE_TYPE_OF[events[0].TYPE].stream]


def files(name: str, events: Sequence[type[Event]], root: Path) -> dict[str, str]:
    """The text of each new file, by its path.

    Raises:
        CannotMake: the service shows no read models to users, something else has the name, or gRPC would change it.
    """
    service, class_name, path = service_of(events), class_of(name), f"/v1/{name.replace('_', '-')}"
    if _SPLIT_WORD.search(name):
        raise CannotMake(f"{name} has a digit within a word; with --query a digit ends one, such as top10_chats")
    if not (root / "services" / service / "reads").is_dir():
        raise CannotMake(f"the service {service} shows no read models to users: there is no services/{service}/reads")
    _refuse_taken(
        root / "contracts" / "proto" / "vestnik" / service, rf"^(service|message) {class_name}(Service|Row|Page)"
    )
    _refuse_taken(root / "services" / "gateway" / "routes", rf'"{path}["/]')
    words = {
        "name": name,
        "class_name": class_name,
        "service": service,
        "path": path,
        # Of tag and summaries in the API's description.
        "title": name.replace("_", " ").capitalize(),
        "columns": ",\n        ".join(map(column_of, events)),
        "fields": "\n".join(f"    {column_of(event)}: int" for event in events),
    }
    return {
        f"contracts/reads/{name}.py": read_templates.ITEM.format(**words),
        f"contracts/proto/vestnik/{service}/v1/{name}.proto": read_templates.PROTO.format(**words),
        f"services/{service}/reads/{name}.py": read_templates.SERVER.format(**words),
        f"services/gateway/routes/reads/{name}.py": read_templates.ROUTES.format(**words),
        f"tests/integration/reads/test_{name}.py": _test_text(words, events),
    }


def with_rights(text: str, name: str, service: str) -> str:
    """The table of rights with a row that lets the gateway read for the user who asks.

    Raises:
        CannotMake: there is no table, or it has the row.
    """
    row = f'"vestnik.{service}.v1.{class_of(name)}Service"'
    if row in text:
        raise CannotMake(f"{RIGHTS} has a row {row} already")
    table = _TABLE.search(text)
    if table is None:
        raise CannotMake(f"{RIGHTS} has no line `READS: Mapping[str, Callers] = {{`")
    # The empty table is on one line; ruff formats it.
    return f"{text[: table.end()]}\n    {row}: _FOR_USER,\n{text[table.end() :].lstrip()}"


def _refuse_taken(folder: Path, pattern: str) -> None:
    for path in sorted(folder.rglob("*.p*")):
        if path.suffix in {".py", ".proto"} and (taken := re.search(pattern, path.read_text(), re.MULTILINE)):
            raise CannotMake(f"{path.name} has {taken[0]} already")


def _test_text(words: dict[str, str], events: Sequence[type[Event]]) -> str:
    samples, imports = samples_of(events)

    def row(day: str, counts: Sequence[int]) -> str:
        pairs = [f'"{column_of(event)}": {count}' for event, count in zip(events, counts, strict=True)]
        return f'{{"day": "{day}", {", ".join(pairs)}}}'

    return read_templates.TEST.format(
        imports=imports,
        first=", ".join(f"{column_of(event)}()" for event in events),
        second=f"{column_of(events[0])}()",
        first_row=row("2026-01-31", [1 for _ in events]),
        second_row=row("2026-02-01", [int(event is events[0]) for event in events]),
        samples=samples,
        **words,
    )
