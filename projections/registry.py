"""Discovers the projections: every module of this package is loaded, and adding a projection is adding a file.

A projection names the service that runs it, which starts it at its next start. A module that cannot be loaded becomes a
broken projection of the module's name and does not affect the others.
"""

import importlib
import logging
import pkgutil
from collections.abc import Collection, Iterator, Sequence
from functools import cache

import projections
from contracts.services import SERVICES
from projections.engine import metrics
from projections.engine.broken_projection import Broken
from projections.engine.projection import Projection

log = logging.getLogger(__name__)


class UnknownProjection(LookupError):
    """There is no projection of this name, or it cannot be loaded."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        if name in (failed := broken()):
            super().__init__(f"the projection {name!r} cannot be loaded: {failed[name].last_error.error}")
        else:
            super().__init__(f"there is no projection {name!r}; there are: {', '.join(known)}")


def catalogue() -> dict[str, type[Projection]]:
    """The projections that can be loaded, by name, sorted by name."""
    return {name: projection for name, projection in _everything().items() if not isinstance(projection, Broken)}


def broken() -> dict[str, Broken]:
    """The projections that cannot be loaded, by name."""
    return {name: projection for name, projection in _everything().items() if isinstance(projection, Broken)}


def find(name: str) -> type[Projection] | Broken:
    """Returns the projection of this name, loaded or broken, for a service that reads it.

    Raises:
        UnknownProjection: no projection has this name.
    """
    try:
        return _everything()[name]
    except KeyError:
        raise UnknownProjection(name, list(catalogue())) from None


@cache
def _everything() -> dict[str, type[Projection] | Broken]:
    by_name: dict[str, type[Projection] | Broken] = {}
    for entry in pkgutil.iter_modules(projections.__path__):
        if entry.ispkg or entry.name == "registry":
            continue
        for name, loaded in _loaded(entry.name):
            if name in by_name:
                loaded = Broken.by(name, ValueError(f"two projections are named {name}"))
            if isinstance(loaded, Broken):
                metrics.FAILED.labels(name, "0").set(1)
            by_name[name] = loaded
    return _refuse_shared_views(dict(sorted(by_name.items())))


def _refuse_shared_views(by_name: dict[str, type[Projection] | Broken]) -> dict[str, type[Projection] | Broken]:
    """Marks a projection as broken if an earlier one has a view of the same name: readers would see either.

    `{messages}` of `chats` is `{chats_messages}` of another one.
    """
    owners: dict[str, str] = {}
    for name, projection in by_name.items():
        if isinstance(projection, Broken):
            continue
        shown = projection.reader_names()
        taken = next((inner for inner, view in shown.items() if view in owners), None)
        if taken is None:
            owners |= dict.fromkeys(shown.values(), name)
            continue
        view = shown[taken]
        error = f"projection {name}: {{{taken}}} is {view} for readers, which projection {owners[view]} has too"
        by_name[name] = Broken.by(name, ValueError(f"{error}; rename it"))
        metrics.FAILED.labels(name, "0").set(1)
    return by_name


def _loaded(name: str) -> Iterator[tuple[str, type[Projection] | Broken]]:
    """Yields a module's projections by name; an error in its code makes only that module's projections broken."""
    try:
        module = importlib.import_module(f"projections.{name}")
    except Exception as error:
        yield name, Broken.by(name, error)
        return
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Projection) and value.__module__ == module.__name__:
            try:
                value.check()
            except Exception as error:
                yield value.name, Broken.by(value.name, error)
            else:
                yield value.name, value


def owned_by(service: str) -> list[type[Projection]]:
    """The projections that the service runs, sorted by name; logs every projection that cannot be loaded."""
    for name, broken_module in broken().items():
        log.error("projection %s cannot be loaded", name, exc_info=broken_module.cause)
    return [projection for projection in catalogue().values() if projection.run_by() == service]


def choose(names: Sequence[str], services: Collection[str] = SERVICES) -> list[type[Projection]]:
    """Returns the projections of these names, or if none is given all that one of the services runs.

    Raises:
        UnknownProjection: one of the names is unknown, or its projection cannot be loaded.
    """
    known = catalogue()
    for name in names:
        if name not in known:
            raise UnknownProjection(name, list(known))
    if names:
        return [known[name] for name in dict.fromkeys(names)]
    return [projection for projection in known.values() if projection.run_by() in services]
