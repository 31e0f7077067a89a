"""The comparison is sound: where it finds nothing, programs of both releases read each other's events."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.events.event import Moment
from infra.devtools.event_schemas.sample_data import samples
from tests.unit.infra.devtools.event_schemas.event_class_builder import (
    Field,
    PersonalText,
    breaking_lines,
    contract,
    event,
)

_KINDS: list[Any] = [
    str,
    int,
    bool,
    Moment,
    str | None,
    int | None,
    tuple[str, ...],
    PersonalText,
    PersonalText | None,
]
_DEFAULTS: dict[Any, list[Any]] = {
    str: ["", "x"], int: [0, 1], bool: [False, True], tuple[str, ...]: [()], PersonalText: [""],
    str | None: [None, "x"], int | None: [None, 1], PersonalText | None: [None, ""],
}  # fmt: skip

# What may become personal as it is: it is written plain until all programs read it sealed.
_BECOMES: dict[Any, Any] = {str: PersonalText, str | None: PersonalText | None}

# Every example makes classes, which takes its time on a busy machine.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def fields(draw: st.DrawFn, names: str = "abcd") -> dict[str, Field]:
    drawn: dict[str, Field] = {}
    for name in draw(st.sets(st.sampled_from(names))):
        kind = draw(st.sampled_from(_KINDS))
        default = draw(st.sampled_from(_DEFAULTS[kind])) if kind in _DEFAULTS and draw(st.booleans()) else ...
        drawn[name] = (name, kind) if default is ... else (name, kind, default)
    return drawn


def is_optional(field: Field) -> bool:
    return len(field) == 3


@_PATIENT
@given(fields(), fields())
def test_where_nothing_is_found_each_reads_what_the_other_stored(
    before: dict[str, Field], after: dict[str, Field]
) -> None:
    older, newer = event(*before.values()), event(*after.values())
    written_plain = {name for name, field in before.items() if field[1] in _BECOMES}
    if not breaking_lines(older, newer):
        for writer, reader in ((older, newer), (newer, older)):
            for data in samples(contract(writer)):
                if not any(isinstance(value, dict) and name in written_plain for name, value in data.items()):
                    msgspec.json.decode(msgspec.json.encode(data), type=reader)


@_PATIENT
@given(fields(), fields("xyz"))
def test_what_is_only_added_with_a_default_passes(before: dict[str, Field], added: dict[str, Field]) -> None:
    optional = [field for field in added.values() if is_optional(field)]
    assert breaking_lines(event(*before.values()), event(*optional, *before.values())) == []


@_PATIENT
@given(fields(), st.data())
def test_every_field_that_goes_is_named(before: dict[str, Field], data: st.DataObject) -> None:
    removed = data.draw(st.sets(st.sampled_from(sorted(before)))) if before else set()
    remaining = [field for name, field in before.items() if name not in removed]
    named = {line.split("`")[1] for line in breaking_lines(event(*before.values()), event(*remaining))}
    assert named == removed


@_PATIENT
@given(fields(), fields("xyz"))
def test_every_new_field_without_a_default_is_named(before: dict[str, Field], added: dict[str, Field]) -> None:
    named = {
        line.split("`")[1] for line in breaking_lines(event(*before.values()), event(*before.values(), *added.values()))
    }
    assert named == {name for name, field in added.items() if not is_optional(field)}


@_PATIENT
@given(fields(), st.data())
def test_every_field_of_another_type_is_named(before: dict[str, Field], data: st.DataObject) -> None:
    if not before:
        return
    name = data.draw(st.sampled_from(sorted(before)))
    kind = before[name][1]
    other = data.draw(st.sampled_from([other for other in _KINDS if other not in (kind, _BECOMES.get(kind))]))
    retyped = before | {name: (name, other)}
    named = {line.split("`")[1] for line in breaking_lines(event(*before.values()), event(*retyped.values()))}
    assert named == {name}
