"""Compares two shapes of an event's data, and finds the changes that break a reader.

Both directions count while the schema's number is the same: current programs read events that were stored earlier, and
programs of the previous release (a replica that is not replaced yet) read events that are stored from now on. Two
changes work for both: a new field with a default, and a field that becomes personal, which is written sealed only once
all programs read that.
"""

from collections.abc import Iterator

import msgspec

from contracts.values.personal_data import Sealed
from infra.devtools.event_schemas.event_contract import Schema

# Keywords that do not restrict the values.
_REMARKS = {"title", "description", "examples", "default", "x-personal"}
# Keywords that are compared part by part.
_PARTS = {"type", "anyOf", "properties", "required", "items"}
# The kind of a sealed value, as `_kind` names it.
_SEALED = "object Sealed"
_ABSENT = object()


class Difference(msgspec.Struct, frozen=True):
    # The field, `device` or `owner.name`; a list's elements are `tags[]`.
    field: str
    # What has changed, and why it matters.
    what: str
    # Whether a raised SCHEMA with an upcast would fix it.
    mendable: bool = True


def differences(before: Schema, after: Schema, path: str = "") -> Iterator[Difference]:
    """Yields the breaking changes in the fields of an object."""
    old, new = before.get("properties", {}), after.get("properties", {})
    needed_before, needed_after = set(before.get("required", ())), set(after.get("required", ()))
    added = [name for name in new if name not in old]
    for name, schema in old.items():
        pointer = _join(path, name)
        if name not in new:
            yield Difference(pointer, _removed(schema, {field: new[field] for field in added}))
            continue
        if name in needed_before - needed_after:
            yield Difference(pointer, "may be left out now: programs of the last release need it")
        if name in needed_after - needed_before:
            yield Difference(pointer, "has no default any more: stored events may be without it")
        if name not in needed_before | needed_after and schema.get("default") != new[name].get("default"):
            change = f"from {_json(schema.get('default'))} to {_json(new[name].get('default'))}"
            yield Difference(
                pointer, f"has another default, {change}: stored events without it would change their meaning"
            )
        yield from _value(schema, new[name], pointer)
    for name in added:
        if name in needed_after:
            yield Difference(_join(path, name), "is new and has no default: stored events are without it")


def _removed(schema: Schema, added: dict[str, Schema]) -> str:
    twins = [name for name, field in added.items() if not list(_value(schema, field, ""))]
    renamed = f" (renamed to `{twins[0]}`?)" if twins else ""
    return f"was removed{renamed}: stored events have it, and programs of the last release read it"


def _value(before: Schema, after: Schema, path: str) -> Iterator[Difference]:
    if _is_personal(before) and not _is_personal(after):
        what = "is not personal any more: sealed values are stored that could not be read, nor be forgotten"
        yield Difference(path, what, mendable=False)
        return
    old, new = _by_kind(before), _by_kind(after)
    if _is_personal(after) and not _is_personal(before):
        # A release that first reads a field sealed writes it plain.
        new.pop(_SEALED, None)
    if old.keys() != new.keys():
        change = f"from {' or '.join(sorted(old))} to {' or '.join(sorted(new))}"
        yield Difference(path, f"changed its type {change}: {_why(set(old), set(new))}")
    for kind in [kind for kind in old if kind in new]:
        yield from _option(old[kind], new[kind], path)


def _why(old: set[str], new: set[str]) -> str:
    reasons = []
    if old - new:
        reasons.append(f"stored events hold {' or '.join(sorted(old - new))}")
    if new - old:
        reasons.append(f"programs of the last release do not take {' or '.join(sorted(new - old))}")
    return ", and ".join(reasons)


def _option(before: Schema, after: Schema, path: str) -> Iterator[Difference]:
    for limit in sorted((before.keys() | after.keys()) - _REMARKS - _PARTS):
        old, new = before.get(limit, _ABSENT), after.get(limit, _ABSENT)
        if old != new:
            change = f"from {_json(old)} to {_json(new)}"
            yield Difference(path, f"has another `{limit}`, {change}: not all values pass at both ends")
    if "properties" in before or "properties" in after:
        yield from differences(before, after, path)
    if "items" in before or "items" in after:
        yield from _value(before.get("items", {}), after.get("items", {}), f"{path}[]")


def _options(schema: Schema) -> Iterator[Schema]:
    """Yields the options of a value. Unions are nested if a field is both personal and optional."""
    if "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from _options(option)
    else:
        yield schema


def _by_kind(schema: Schema) -> dict[str, Schema]:
    schemas: dict[str, Schema] = {}
    for option in _options(schema):
        kind = _kind(option)
        # Several objects in one union are distinguished by name.
        schemas[kind if kind not in schemas else f"{kind} {option.get('title', len(schemas))}"] = option
    return schemas


def _kind(schema: Schema) -> str:
    if schema.get("title") == Sealed.__name__:
        return _SEALED
    if "format" in schema:
        return str(schema["format"])
    if "type" in schema:
        return str(schema["type"])
    return "one of a list" if "enum" in schema else "anything"


def _is_personal(schema: Schema) -> bool:
    return bool(schema.get("x-personal")) or any(_is_personal(option) for option in schema.get("anyOf", ()))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _json(value: object) -> str:
    return "none" if value is _ABSENT else msgspec.json.encode(value).decode()
