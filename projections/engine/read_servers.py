"""Finds the servers that show a service's read models to clients: each is a class in a module of one package.

Also encodes the rows for clients.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import ModuleType
from typing import ClassVar, Protocol

import msgspec
from grpclib.const import Handler

from contracts.values.timestamps import rfc3339
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


def to_json(rows: msgspec.Struct | Sequence[msgspec.Struct]) -> bytes:
    """A row, or several, as JSON for clients: times are RFC 3339 in UTC with milliseconds, as everywhere in the API."""
    return msgspec.json.encode(_with_times(msgspec.to_builtins(rows, builtin_types=(datetime,), str_keys=True)))


def _with_times(value: object) -> object:
    """The value with its times as texts; one without a zone stays as it is."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return rfc3339(value)
    if isinstance(value, dict):
        return {name: _with_times(part) for name, part in value.items()}
    return [_with_times(part) for part in value] if isinstance(value, list | tuple) else value
