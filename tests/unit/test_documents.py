"""The documents have the intended layout, and the files and chores that they name exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.services import GATEWAY, REGISTRY, dependencies
from services.operator.history.aggregate_kinds import KINDS
from tests.fix_system import ROOT

_HEADING = re.compile(r"\s#{2,} *(\S|$)")
_CHORE = re.compile(r"\./just ([a-z][a-z-]*)\b")
_BENCHMARK = re.compile(r"\./just bench ([a-z][a-z_]*)\b")
_FILE = re.compile(r"`((?:contracts|streams|projections|services|infra|tests|docs)/[\w/.-]+\.(?:py|md|js|json|ya?ml))`")

# The page of former names, and the read models that readers of the tutorial and the how-to make.
_FORMER_NAMES = "0096-modules-have-the-fields-names.md"
_MADE_BY_READERS = re.compile(r"/(test_)?(hours_of_day|written_to)\.py$")


def test_no_heading_is_in_the_middle_of_a_paragraph() -> None:
    folded = []
    for path in (*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")):
        is_code = False
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            is_code ^= line.lstrip().startswith("```")
            if not is_code and not line.startswith("#") and _HEADING.search(re.sub(r"`[^`]*`", "", line)):
                folded.append(f"{path.relative_to(ROOT)}:{number}")
    assert folded == []


def test_every_named_chore_and_benchmark_exists() -> None:
    chores = set(re.findall(r"^([a-z][a-z-]*)\b.*:", (ROOT / "justfile").read_text(), re.MULTILINE))
    benchmarks = {path.stem for path in (ROOT / "tests" / "bench").iterdir()}
    absent = []
    for path in _texts():
        text = path.read_text(encoding="utf-8")
        absent += [f"{path.relative_to(ROOT)}: {name}" for name in set(_CHORE.findall(text)) - chores]
        absent += [f"{path.relative_to(ROOT)}: bench {name}" for name in set(_BENCHMARK.findall(text)) - benchmarks]
    assert absent == []


def test_every_named_file_exists() -> None:
    absent = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in ROOT.glob("docs/**/*.md")
        for name in set(_FILE.findall(path.read_text(encoding="utf-8")))
        if not (ROOT / name).exists() and path.name != _FORMER_NAMES and not _MADE_BY_READERS.search(name)
    ]
    assert absent == []


@pytest.mark.parametrize("page", ["README.md", "docs/explanation/architecture.md", "services/__init__.py"])
def test_an_overview_names_every_service(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [service for service in (*REGISTRY, GATEWAY) if not re.search(rf"\b{service}\b", text)] == []


def test_the_architecture_says_which_services_each_one_calls() -> None:
    text = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    documented = {
        name: sorted(re.findall(r"\w+", calls)) for name, calls in re.findall(r"(?m)^\| (\w+) \|.*\|(.*)\|$", text)
    }
    assert {name: documented.get(name) for name in REGISTRY} == {name: sorted(dependencies(name)) for name in REGISTRY}


def test_every_kind_of_aggregate_is_in_the_how_to() -> None:
    text = (ROOT / "docs/howto/look-at-one-aggregate.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []


def _texts() -> Iterator[Path]:
    """The documents, and the sources, whose docstrings name chores too."""
    yield from ROOT.glob("docs/**/*.md")
    yield from ROOT.glob("*.md")
    for package in ("contracts", "streams", "projections", "services", "infra", "tests"):
        yield from (ROOT / package).rglob("*.py")
