"""Generates data of an old shape from its schema, so that upcasts can be run on it.

A string with a pattern needs an example in the schema, since none is generated.
"""

from collections.abc import Iterator

from infra.devtools.event_schemas.event_contract import Contract, Schema

_SIMPLE: dict[str, object] = {"boolean": True, "null": None}
_FORMATS = {"date-time": "2026-01-31T12:00:00Z", "date": "2026-01-31", "uuid": "01890a5d-ac96-774b-bcce-b302099a8057"}
_MOST = 8


def samples(contract: Contract) -> Iterator[dict[str, object]]:
    """Yields valid data: with all fields and with the required ones only, for each option of the fields."""
    shape = contract.shape()
    for turn in range(_most_options(shape)):
        yield _object(shape, turn, with_optional=True)
        yield _object(shape, turn, with_optional=False)


def _object(schema: Schema, turn: int, *, with_optional: bool) -> dict[str, object]:
    required = schema.get("required", ())
    fields: dict[str, Schema] = schema.get("properties", {})
    return {
        name: _value(field, turn, with_optional=with_optional)
        for name, field in fields.items()
        if with_optional or name in required
    }


def _value(schema: Schema, turn: int, *, with_optional: bool) -> object:
    if schema.get("examples"):
        return schema["examples"][turn % len(schema["examples"])]
    if "anyOf" in schema:
        options = schema["anyOf"]
        return _value(options[turn % len(options)], turn // len(options), with_optional=with_optional)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][turn % len(schema["enum"])]
    if "format" in schema and schema["format"] in _FORMATS:
        return _FORMATS[schema["format"]]
    match schema.get("type"):
        case "object":
            return _object(schema, turn, with_optional=with_optional)
        case "array":
            items = schema.get("items", {})
            # Ends a recursive list.
            return [_value(items, turn, with_optional=with_optional)] if with_optional and "$ref" not in items else []
        case "string":
            return "text".ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]
        case "integer" | "number":
            return schema.get("minimum", schema.get("maximum", 1))
        case kind:
            return _SIMPLE.get(str(kind))


def _most_options(schema: Schema) -> int:
    """The number of samples that cover every option of every field; nested options multiply."""
    own = [_most_options(option) for option in schema.get("anyOf", ())]
    here = len(own) * max(own) if own else len(schema.get("enum", ())) or 1
    below = [_most_options(field) for field in schema.get("properties", {}).values()]
    if isinstance(schema.get("items"), dict):
        below.append(_most_options(schema["items"]))
    return min(max([here, *below]), _MOST)
