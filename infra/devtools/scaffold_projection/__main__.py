"""`./just new-projection NAME`: creates a read model and its test; both work unchanged, as a starting point.

The projection needs no registration: projections/registry.py discovers it, and the owner of its first stream runs it.
`--query` also creates what shows it to clients, down to the routes of the gateway.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from contracts.events.event import Event
from infra.devtools.scaffold_projection import read_model, reads
from infra.devtools.scaffold_projection.errors import CannotMake
from infra.devtools.scaffold_projection.events import chosen
from infra.devtools.scaffold_projection.names import class_of

ROOT = Path(__file__).resolve().parents[3]
_USED_CLASSES = {"OpenReadModel", "Projection", "Recorded", "RowChanges", "ShowReadModel"}
_DECLARED = re.compile(r"^class (\w+)\(Projection\)", re.MULTILINE)


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="./just new-projection", description="Makes a read model and its test.")
    parser.add_argument("name", help="what it shows, such as hours_of_day")
    parser.add_argument("--event", action="append", metavar="TYPE", help="an event that it counts (message.sent)")
    parser.add_argument("--stream", action="append", metavar="STREAM", help="a stream of whose events it counts all")
    parser.add_argument("--query", action="store_true", help="show it to clients: gRPC, rights, routes and a test")
    options = parser.parse_args(arguments)
    try:
        events = chosen(options.event or [], options.stream or [])
        files = made(options.name, events, root, query=options.query)
    except CannotMake as failure:
        sys.stderr.write(f"new-projection: {failure}\n")
        return 1
    if options.query:
        for generator in ("generate_rpc", "generate_reference"):
            _run("-m", f"infra.devtools.{generator}", root=root)
    service = reads.service_of(events)
    meanings = {
        f"projections/{options.name}.py": f"the read model; the service {service} runs it from its next start on",
        f"contracts/reads/{options.name}.py": "its key and rows as clients receive them",
        f"contracts/proto/vestnik/{service}/v1/{options.name}.proto": "its gRPC interface, compiled to contracts/rpc",
        f"services/{service}/reads/{options.name}.py": "its SQL, and the server",
        f"services/gateway/routes/reads/{options.name}.py": "its routes",
        reads.RIGHTS: "one row in the table READS: the gateway may read it for the user who asks",
    }
    for path in files:
        sys.stdout.write(f"{path}: {meanings.get(path) or f'its test, `./just test {path}` runs it'}\n")
    return 0


def made(name: str, events: Sequence[type[Event]], root: Path, *, query: bool = False) -> list[str]:
    """Writes the files, and returns their paths; with `query` also those that show the read model to clients.

    Raises:
        CannotMake: the name is invalid or taken; nothing was written.
    """
    _refuse_class(class_of(name), events, root)
    new = read_model.files(name, events)
    changed: dict[str, str] = {}
    if query:
        new |= reads.files(name, events, root)
        rights = (root / reads.RIGHTS).read_text(encoding="utf-8")
        changed[reads.RIGHTS] = reads.with_rights(rights, name, reads.service_of(events))
    for path in new:
        if (root / path).exists():
            raise CannotMake(f"{path} exists, and nothing is overwritten")
    for path, text in (new | changed).items():
        (root / path).write_text(text, encoding="utf-8")
    paths = [*new, *changed]
    python = [path for path in paths if path.endswith(".py")]
    _run("-m", "ruff", "check", "--quiet", "--select", "I", "--fix", *python, root=root)
    _run("-m", "ruff", "format", "--quiet", *python, root=root)
    return paths


def _refuse_class(class_name: str, events: Sequence[type[Event]], root: Path) -> None:
    declared = {
        declaration
        for path in (root / "projections").glob("*.py")
        for declaration in _DECLARED.findall(path.read_text())
    }
    if class_name in declared:
        raise CannotMake(f"there is a projection {class_name} already")
    if class_name in _USED_CLASSES | {event.__name__ for event in events}:
        raise CannotMake(f"the class would be {class_name}, which the module itself uses")


def _run(*arguments: str, root: Path) -> None:
    subprocess.run([sys.executable, *arguments], cwd=root, check=True)  # noqa: S603 - our own tool


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
