"""A mutation: text replaced in a copy of the source tree."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from tests.faults.mutations.single_machine import Scenario

# What runs of the tree.
_PACKAGES = ("contracts", "streams", "projections", "services", "infra")


class Edit(msgspec.Struct, frozen=True):
    # From the root of the tree.
    path: str
    before: str
    after: str


class Mutation(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    # What is wrong with the product then.
    fault: str
    edits: tuple[Edit, ...]
    scenario: Scenario
    # The checks of which at least one must find it.
    caught_by: tuple[str, ...]


@contextmanager
def mutated(root: Path, mutation: Mutation) -> Iterator[Path]:
    """A copy of the tree with the mutation, while the body runs.

    Raises:
        ValueError: the text to replace is not there exactly once.
    """
    with TemporaryDirectory(prefix="mutation-") as folder:
        tree = Path(folder)
        for package in _PACKAGES:
            # With the compiled modules, which are good for files with the same times.
            shutil.copytree(root / package, tree / package)
        for edit in mutation.edits:
            path = tree / edit.path
            path.write_text(replaced(path.read_text(), edit))
        yield tree


def replaced(text: str, edit: Edit) -> str:
    """The text with the edit.

    Raises:
        ValueError: the text to replace is not there exactly once.
    """
    count = text.count(edit.before)
    if count != 1:
        raise ValueError(f"{edit.path} has {count} times what is to be replaced: {edit.before!r}")
    return text.replace(edit.before, edit.after)
