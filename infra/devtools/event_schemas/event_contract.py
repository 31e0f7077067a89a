"""An event's contract as data: stored at a release, and compared with later versions."""

from typing import Any

import msgspec

from contracts.events.event import Event

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON Schema of the event's data, with extensions for what else readers rely on; files have the same form."""

    dialect: str = msgspec.field(name="$schema", default=_DIALECT)
    # The event's type.
    kind: str = msgspec.field(name="title")
    schema: int = msgspec.field(name="x-schema")
    private: bool = msgspec.field(name="x-private")
    # The subject filter that matches it.
    subject: str = msgspec.field(name="x-subject")
    root: str = msgspec.field(name="$ref")
    definitions: dict[str, Schema] = msgspec.field(name="$defs")

    @classmethod
    def of(cls, event: type[Event], subject: str) -> "Contract":
        # Through JSON, as a released schema is read: an empty tuple as a default is an empty list there.
        described = msgspec.json.decode(msgspec.json.encode(msgspec.json.schema(event)))
        return cls(
            kind=event.TYPE,
            schema=event.SCHEMA,
            private=event.PRIVATE,
            subject=subject,
            root=described["$ref"],
            definitions=described["$defs"],
        )

    def text(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def shape(self) -> Schema:
        """Returns the data's schema with every reference inlined, except for recursive ones."""
        return self._inlined({"$ref": self.root}, ())

    def _inlined(self, schema: Schema, within: tuple[str, ...]) -> Schema:
        reference = schema.get("$ref")
        if reference is not None and reference not in within:
            target = self.definitions[str(reference).rpartition("/")[2]]
            own = {key: value for key, value in schema.items() if key != "$ref"}
            return self._inlined(target | own, (*within, str(reference)))
        inlined = dict(schema)
        for key in ("anyOf", "prefixItems"):
            if key in schema:
                inlined[key] = [self._inlined(subschema, within) for subschema in schema[key]]
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                inlined[key] = self._inlined(schema[key], within)
        if "properties" in schema:
            inlined["properties"] = {
                name: self._inlined(subschema, within) for name, subschema in schema["properties"].items()
            }
        return inlined
