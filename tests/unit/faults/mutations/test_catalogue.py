import subprocess
import sys

import pytest

from tests.faults import checker
from tests.faults.mutations.catalogue import BY_NAME, MUTATIONS
from tests.faults.mutations.mutation import Mutation, replaced
from tests.fix_system import ROOT

CHECKS = {f"{check.__module__.rpartition('.')[2]}.{check.__name__}" for check in checker.CHECKS}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_replaces_what_is_in_the_tree_by_code_that_can_be_compiled(mutation: Mutation) -> None:
    texts: dict[str, str] = {}
    for edit in mutation.edits:
        text = texts.get(edit.path) or (ROOT / edit.path).read_text()
        texts[edit.path] = replaced(text, edit)
    for path, text in texts.items():
        compile(text, path, "exec")
        # Names that the product no longer has, which would show when the code runs.
        command = [sys.executable, "-m", "ruff", "check", "--select=F821,F823", f"--stdin-filename={path}", "-"]
        completed = subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, check=False)
        assert completed.returncode == 0, completed.stdout + completed.stderr


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_caught_by_checks_that_exist(mutation: Mutation) -> None:
    assert set(mutation.caught_by) <= CHECKS


def test_each_mutation_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(MUTATIONS)
