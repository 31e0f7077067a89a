"""Upcasts the data of an older event to the current schema.

A change beyond a new field with a default raises the event's SCHEMA and adds one step here, from the previous schema
to the next. Steps work on plain JSON data and run in sequence. They run wherever an event is decoded, so that readers
only see the current schema.
"""

from collections.abc import Callable
from typing import Any

Step = Callable[[dict[str, Any]], dict[str, Any]]

# Keyed by (type, schema before the step).
STEPS: dict[tuple[str, int], Step] = {}


def upcast(kind: str, schema: int, data: dict[str, Any], to: int) -> dict[str, Any]:
    """Brings the data of an event from its schema to the schema `to`.

    Raises:
        LookupError: a step is missing.
    """
    for step in range(schema, to):
        if (kind, step) not in STEPS:
            raise LookupError(f"{kind}: there is no upcast from schema {step} to {step + 1}")
        data = STEPS[kind, step](data)
    return data
