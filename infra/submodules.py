"""Imports the modules of a package, for what is found by its files."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType


def submodules(package: ModuleType) -> Iterator[ModuleType]:
    """Imports and yields every module of the package, sorted by name."""
    for entry in sorted(pkgutil.iter_modules(package.__path__), key=lambda entry: entry.name):
        yield importlib.import_module(f"{package.__name__}.{entry.name}")
