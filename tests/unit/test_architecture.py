"""Rules of the tree that import-linter cannot express."""

import ast
import importlib
import importlib.metadata
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from contracts.services import OPERATOR, REGISTRY, SERVICES
from infra.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("contracts", "streams", "projections", "services", "infra")
INNER_SHAPE = {"queries.py", "server.py", "main.py"}
# Of a service that appends events.
WRITING_SHAPE = {"domain.py", "commands.py"}
MOST_MODULES = 12
# Folders with one file per read model or kind of event.
OPEN_FOLDERS = {
    "projections",
    "contracts/events",
    "contracts/reads",
    "services/gateway/routes/reads",
    *(f"services/{service}/reads" for service in SERVICES),
}
NAMELESS = {"utils", "util", "helpers", "common", "base", "manager", "misc"}
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|(CREATE|DROP|ALTER)\s+(TABLE|VIEW|INDEX))\b",
    re.DOTALL,
)


def modules(*packages: str) -> Iterator[Path]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not path.is_relative_to(ROOT / "contracts" / "rpc"):
                yield path


def texts(path: Path) -> Iterator[str]:
    """The string literals of a module that are not docstrings."""
    tree = ast.parse(path.read_text())
    statement_values = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statement_values:
            yield node.value


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_inner_shape(service: str) -> None:
    # Operators' actions are one subpackage of their service.
    writes = REGISTRY[service].stream and service != OPERATOR
    shape = INNER_SHAPE | (WRITING_SHAPE if writes else set())
    assert {path.name for path in (ROOT / "services" / service).glob("*.py")} >= shape


@pytest.mark.parametrize("service", REGISTRY)
def test_every_service_starts_in_the_same_way(service: str) -> None:
    main = importlib.import_module(f"services.{service}.main").main
    assert inspect.iscoroutinefunction(main)
    assert list(inspect.get_annotations(main).values()) == [Settings, None]


def test_no_installed_distribution_owns_a_package_name_of_ours() -> None:
    owners = importlib.metadata.packages_distributions()
    assert {name: owners[name] for name in PACKAGES if set(owners.get(name, [])) - {"vestnik"}} == {}


def has_queries(path: Path) -> bool:
    return path.name == "queries.py" or (path.parent.parent.parent == ROOT / "services" and path.parent.name == "reads")


def test_sql_stands_in_queries_reads_projections_and_infra_alone() -> None:
    misplaced = [
        f"{path.relative_to(ROOT)}: {text.strip()[:60]}"
        for path in modules("contracts", "streams", "services")
        if not has_queries(path)
        for text in texts(path)
        if SQL.search(text)
    ]
    assert misplaced == []


def test_a_services_sql_reads_and_never_writes() -> None:
    writing = re.compile(r"\b(INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|TRUNCATE|CREATE|DROP|ALTER)\b")
    writes = [
        f"{path.relative_to(ROOT)}: {text.strip()[:60]}"
        for path in modules("services")
        if has_queries(path)
        for text in texts(path)
        if writing.search(text)
    ]
    assert writes == []


def test_every_module_has_a_name_that_says_something() -> None:
    paths = [path.relative_to(ROOT) for path in modules(*PACKAGES)]
    assert [str(path) for path in paths if {*path.parts[:-1], path.stem} & NAMELESS] == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in modules(*PACKAGES)
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_no_folder_holds_too_many_modules() -> None:
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in modules(*PACKAGES) if path.stem != "__init__")
    crowded = {folder: count for folder, count in counts.items() if count > MOST_MODULES}
    assert {folder: count for folder, count in crowded.items() if folder not in OPEN_FOLDERS} == {}


def imported_modules(path: Path) -> Iterator[Path]:
    """The modules and packages of the tree that a module imports, without their ending."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            module = ROOT.joinpath(*node.module.split("."))
            for alias in node.names:
                member = module / alias.name
                yield member if member.is_dir() or member.with_suffix(".py").exists() else module
        elif isinstance(node, ast.Import):
            yield from (ROOT.joinpath(*alias.name.split(".")) for alias in node.names)


def test_folders_side_by_side_do_not_import_in_a_circle() -> None:
    """Everything below a folder counts as the folder; import-linter holds the layers of the packages themselves."""
    graph: dict[str, set[str]] = {}
    for path in modules(*PACKAGES):
        folder = path.parent.relative_to(ROOT).parts
        for module in imported_modules(path):
            imported = (module if module.is_dir() else module.parent).relative_to(ROOT).parts
            depth = next((n for n, (one, other) in enumerate(zip(folder, imported, strict=False)) if one != other), 0)
            if depth:
                pair = "/".join(folder[: depth + 1]), "/".join(imported[: depth + 1])
                graph.setdefault(pair[0], set()).add(pair[1])
    TopologicalSorter(graph).prepare()


def test_every_unit_test_is_where_its_module_is_and_named_after_it() -> None:
    misplaced = []
    for path in sorted((ROOT / "tests" / "unit").rglob("test_*.py")):
        folder = path.parent.relative_to(ROOT / "tests" / "unit")
        # Tests of the whole tree, and of what the tests themselves use.
        if folder == Path() or folder.parts[0] in {"bench", "faults"}:
            continue
        tested = path.stem.removeprefix("test_")
        names = [module.stem for module in (ROOT / folder).glob("*.py")]
        if not any(tested == name or tested.startswith(f"{name}_") for name in names):
            misplaced.append(str(path.relative_to(ROOT)))
    assert misplaced == []
