"""Finds every projection by its module: adding a projection is adding one file beside this one.

Each says itself which service runs it, so that there is no list to keep; that service's next start takes it up.
"""

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache

import projections
from projections.engine.projection import Projection


class UnknownProjection(LookupError):
    """There is no projection of this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no projection {name!r}; there are: {', '.join(known)}")


@cache
def catalogue() -> dict[str, type[Projection]]:
    """Every projection by its name, in the order of the names."""
    found: dict[str, type[Projection]] = {}
    for entry in pkgutil.iter_modules(projections.__path__):
        if entry.ispkg or entry.name == "registry":
            continue
        module = importlib.import_module(f"projections.{entry.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Projection) and value.__module__ == module.__name__:
                if value.name in found:
                    raise ValueError(f"two projections are called {value.name}")
                found[value.name] = value
    return dict(sorted(found.items()))


def owned_by(service: str) -> list[type[Projection]]:
    """What the service runs, in the order of the names."""
    return [projection for projection in catalogue().values() if projection.run_by() == service]


def choose(names: Sequence[str]) -> list[type[Projection]]:
    """The projections of these names; all of them where no name is given.

    Raises:
        UnknownProjection: one of the names is none of ours.
    """
    known = catalogue()
    for name in names:
        if name not in known:
            raise UnknownProjection(name, list(known))
    return [known[name] for name in dict.fromkeys(names or known)]
