"""The table of attacks names tests that there are."""

import ast
import re

from tests.fix_system import ROOT

_TEST = re.compile(r"`(test_\w+)`")


def named() -> list[str]:
    return _TEST.findall((ROOT / "docs/reference/attacks.md").read_text(encoding="utf-8"))


def existing() -> set[str]:
    names = set()
    for path in ROOT.glob("tests/**/test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
    return names


def test_every_test_that_the_table_of_attacks_names_exists() -> None:
    assert len(named()) > 50
    assert sorted(set(named()) - existing()) == []


def test_every_attack_has_a_test() -> None:
    rows = [
        line
        for line in (ROOT / "docs/reference/attacks.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and not line.startswith(("| attack ", "|---"))
    ]
    assert [row for row in rows if not _TEST.search(row)] == []
