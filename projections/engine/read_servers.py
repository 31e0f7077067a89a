"""Finds the servers that show a service's read models to clients: each is a class in a module of one package."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import ClassVar, Protocol

from grpclib.const import Handler

from infra.submodules import submodules
from projections.engine.read_model import ReadModel


class ReadServer(Protocol):
    """A gRPC server whose answers come from one read model."""

    # The name of the projection.
    READ_MODEL: ClassVar[str]

    def __init__(self, model: ReadModel) -> None: ...

    def __mapping__(self) -> Mapping[str, Handler]: ...


def read_servers(package: ModuleType, open_model: Callable[[str], ReadModel]) -> list[ReadServer]:
    """Creates the servers of all modules in the package, each with its read model.

    `open_model`: opens the read model of a name.
    """
    kinds: list[type[ReadServer]] = [
        value
        for module in submodules(package)
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "READ_MODEL")
    ]
    return [kind(open_model(kind.READ_MODEL)) for kind in kinds]
