"""The fields of personal data of each event type, found once in its annotations."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import NamedTuple, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from contracts.events.event import Event
from contracts.values.personal_data import Sealed

E = TypeVar("E", bound=Event)


class PersonalField(NamedTuple):
    # `<event type>/<path>`: names of fields, joined by points; what a list or a dict contains has the same path.
    name: str
    # Whether the type allows None.
    optional: bool


# Returns the new value, from the value, its field, and the struct that contains it.
Change = Callable[[str | Sealed, PersonalField, msgspec.Struct], str | Sealed | None]


class _Visit(Protocol):
    fields: tuple[PersonalField, ...]

    def __call__(self, value: object, container: msgspec.Struct, change: Change) -> object: ...


def fields_of(event_type: type[Event]) -> tuple[PersonalField, ...]:
    """The event type's fields of personal data."""
    visit = _visitor_of(event_type)
    return () if visit is None else visit.fields


@cache
def own_fields(event_type: type[Event]) -> tuple[tuple[str, PersonalField], ...] | None:
    """The names of the event's members that are personal data, with their fields; None if some is deeper within it.

    Most types have no deeper ones, and are read and written faster without a visitor.
    """
    visit = _visitor_of(event_type)
    if visit is None:
        return ()
    prefix = len(event_type.TYPE) + 1
    own = tuple((field.name[prefix:], field) for field in visit.fields)
    hints = get_type_hints(event_type)
    return own if all(name in hints and Sealed in get_args(hints[name]) for name, _ in own) else None


def changed(event: E, change: Change) -> E:
    """The event with new values of its personal data; the same object if no value changes. None is no value."""
    visit = _visitor_of(type(event))
    if visit is None:
        return event
    return cast(E, visit(event, event, change))


def sealed_keys(events: Iterable[Event]) -> set[str]:
    """The ids of the keys of all sealed fields of the events."""
    keys: set[str] = set()

    def collect(value: str | Sealed, field: PersonalField, container: msgspec.Struct) -> str | Sealed:
        if type(value) is Sealed:
            keys.add(value.key)
        return value

    for event in events:
        changed(event, collect)
    return keys


@cache
def _visitor_of(event_type: type[Event]) -> _Visit | None:
    return _struct(event_type, f"{event_type.TYPE}/")


class _Value:
    """One value of personal data."""

    def __init__(self, field: PersonalField) -> None:
        self._field = field
        self.fields: tuple[PersonalField, ...] = (field,)

    def __call__(self, value: object, container: msgspec.Struct, change: Change) -> object:
        return change(value, self._field, container) if isinstance(value, (str, Sealed)) else value


class _Members:
    """The members of a struct."""

    def __init__(self, visits: Mapping[str, _Visit]) -> None:
        self._visits = tuple(visits.items())
        self.fields = tuple(field for visit in visits.values() for field in visit.fields)

    def __call__(self, value: object, container: msgspec.Struct, change: Change) -> object:
        if not isinstance(value, msgspec.Struct):
            return value
        new_values = {}
        for name, visit in self._visits:
            before = getattr(value, name)
            after = visit(before, value, change)
            if after is not before:
                new_values[name] = after
        return msgspec.structs.replace(value, **new_values) if new_values else value


class _Items:
    """The items of a tuple or a list."""

    def __init__(self, visit: _Visit) -> None:
        self._visit = visit
        self.fields = visit.fields

    def __call__(self, value: object, container: msgspec.Struct, change: Change) -> object:
        if not value or not isinstance(value, (tuple, list)):
            return value
        items = [self._visit(item, container, change) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items)


class _Values:
    """The values of a dict."""

    def __init__(self, visit: _Visit) -> None:
        self._visit = visit
        self.fields = visit.fields

    def __call__(self, value: object, container: msgspec.Struct, change: Change) -> object:
        if not value or not isinstance(value, dict):
            return value
        values = {key: self._visit(item, container, change) for key, item in value.items()}
        return value if all(values[key] is item for key, item in value.items()) else values


def _struct(kind: type[msgspec.Struct], path: str) -> _Visit | None:
    hints = get_type_hints(kind)
    names = [field.name for field in msgspec.structs.fields(kind)]
    visitors = {name: visit for name in names if (visit := _visitor(hints[name], path + name)) is not None}
    return _Members(visitors) if visitors else None


def _visitor(hint: object, path: str) -> _Visit | None:
    """The visitor of a type; None if there is no personal data in it.

    Raises:
        TypeError: there is personal data in a union of several structs or collections.
    """
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _struct(hint, f"{path}.")
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if Sealed in arguments:
            return _Value(PersonalField(path, optional=NoneType in arguments))
        visits = [visit for argument in arguments if (visit := _visitor(argument, path)) is not None]
        if len(visits) > 1 or (visits and len(arguments) > 2):
            raise TypeError(f"{path}: personal data in a union of more than one type and None")
        return visits[0] if visits else None
    if origin in (tuple, list):
        visit = _visitor(arguments[0], path)
        return None if visit is None else _Items(visit)
    if origin is dict:
        visit = _visitor(arguments[1], path)
        return None if visit is None else _Values(visit)
    return None
