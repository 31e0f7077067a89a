"""Encodes and decodes gRPC messages with Google's C library, from and to betterproto2's dataclasses.

betterproto2 encodes and decodes in Python: ten to twenty times slower, and it accepts some truncated and malformed
input. Here its classes are only filled and read, by a plan that is computed once per class. Unknown fields are dropped:
messages are never passed on.
"""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any, NamedTuple

import betterproto2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpclib.encoding.proto import ProtoCodec

from contracts.errors import Invalid

# Converts a field's value from the C library's type to ours, or back.
Turn = Callable[[Any], Any]


class MessagePlan(NamedTuple):
    """How messages of one class are converted; fields in the order of the class."""

    google: type[Message]
    # Always set, of the same type on both sides.
    plain: tuple[str, ...]
    # Always set, of another type on our side: name, decode, encode.
    converted: tuple[tuple[str, Turn, Turn], ...]
    # None if not set: name, decode, encode.
    optional: tuple[tuple[str, Turn | None, Turn | None], ...]


class StrictCodec(ProtoCodec):
    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ANN401 - as the library's codecs are typed
        if not _is_ours(message_type):
            return super().encode(message, message_type)
        if not isinstance(message, message_type):
            raise TypeError(f"{type(message).__name__} is not {message_type.__name__}")
        plan = _plan(message_type)
        return plan.google(**_to_dict(plan, message)).SerializeToString()

    def decode(self, data: bytes, message_type: Any) -> Any:  # noqa: ANN401 - as the library's codecs are typed
        """
        Raises:
            Invalid: the bytes are not a message of the type.
        """
        try:
            if not _is_ours(message_type):
                return super().decode(data, message_type)
            plan = _plan(message_type)
            return _to_dataclass(plan, message_type, plan.google.FromString(data))
        except (DecodeError, ValueError, TypeError, KeyError, IndexError, EOFError) as error:
            raise Invalid("The message cannot be read.") from error


@cache
def _is_ours(message_type: type) -> bool:
    return issubclass(message_type, betterproto2.Message)


def _to_dataclass(plan: MessagePlan, kind: type[betterproto2.Message], source: Message) -> betterproto2.Message:
    # Bypasses the constructor, which would process every field again.
    instance = kind.__new__(kind)
    values = instance.__dict__
    values["_unknown_fields"] = b""
    for name in plan.plain:
        values[name] = getattr(source, name)
    for name, turn, _ in plan.converted:
        values[name] = turn(getattr(source, name))
    for name, perhaps, _ in plan.optional:
        if not source.HasField(name):
            values[name] = None
        else:
            value = getattr(source, name)
            values[name] = perhaps(value) if perhaps is not None else value
    return instance


def _to_dict(plan: MessagePlan, source: betterproto2.Message) -> dict[str, Any]:
    """Arguments for the C library's constructor; nested messages are dicts too, since message objects are copied."""
    values = source.__dict__
    fields_set = {name: values[name] for name in plan.plain}
    for name, _, turn in plan.converted:
        fields_set[name] = turn(values[name])
    for name, _, perhaps in plan.optional:
        value = values[name]
        if value is not None:
            fields_set[name] = perhaps(value) if perhaps is not None else value
    return fields_set


@cache
def _plan(kind: type[betterproto2.Message]) -> MessagePlan:
    descriptor: Descriptor = kind.DESCRIPTOR  # type: ignore[attr-defined]  # generated with the descriptors' option
    plain: list[str] = []
    turned: list[tuple[str, Turn, Turn]] = []
    optional: list[tuple[str, Turn | None, Turn | None]] = []
    for name, number in (
        (proto_field.name, proto_field.metadata["betterproto"].number) for proto_field in _fields(kind)
    ):
        field = descriptor.fields_by_number[number]
        if field.name != name:
            raise TypeError(f"{kind.__name__}.{name} is {field.name} in its .proto file; a name both take is needed")
        turn = converter(kind, name, field)
        if field.is_repeated:
            one_in, one_out = turn or (None, None)
            turned.append((name, _each(one_in), _each(one_out)))
        elif field.has_presence:
            optional.append((name, *(turn or (None, None))))
        elif turn is not None:
            turned.append((name, *turn))
        else:
            plain.append(name)
    return MessagePlan(GetMessageClass(descriptor), tuple(plain), tuple(turned), tuple(optional))


def _fields(kind: type[betterproto2.Message]) -> list[Any]:
    return [field for field in fields(kind) if "betterproto" in field.metadata]  # type: ignore[arg-type]  # a dataclass


def converter(kind: type[betterproto2.Message], name: str, field: FieldDescriptor) -> tuple[Turn, Turn] | None:
    """Converters (decode, encode) of a single value of the field; None if it is the same on both sides."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        raise TypeError(f"{kind.__name__}.{name} is a map: the codec has no plan for those")
    if field.enum_type is not None:
        return _class_of(kind, name), int
    if field.message_type is None:
        return None
    inner = _class_of(kind, name)
    return (
        lambda value: _to_dataclass(_plan(inner), inner, value),
        lambda value: _to_dict(_plan(inner), value),
    )


def _class_of(kind: type[betterproto2.Message], name: str) -> Any:  # noqa: ANN401 - a message's or an enumeration's
    metadata: Any = kind._betterproto  # type: ignore[arg-type]  # a class property, which mypy cannot follow
    return metadata.cls_by_field[name]


def _each(turn: Turn | None) -> Turn:
    return list if turn is None else lambda values: [turn(value) for value in values]
