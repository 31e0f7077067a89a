"""Finds the changes of event contracts that break readers of released events."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import msgspec

from contracts.events.event import Event
from contracts.upcasts import STEPS, upcast
from infra.devtools.event_schemas.event_contract import Contract
from infra.devtools.event_schemas.sample_data import samples
from infra.devtools.event_schemas.schema_diff import differences

_MEND = "keep it as it was, or raise SCHEMA and add a step to contracts/upcasts.py"


class BreakingChange(msgspec.Struct, frozen=True):
    """A change of an event that breaks its readers."""

    event: str
    # Empty if it concerns the event as a whole.
    field: str
    why: str

    def __str__(self) -> str:
        return f"{self.event}: " + (f"field `{self.field}` " if self.field else "") + self.why


def breaking_changes(
    released: Iterable[Contract], today: Mapping[str, tuple[type[Event], Contract]]
) -> list[BreakingChange]:
    """Returns every change in the current contracts, by type, that breaks readers of the released ones."""
    changes: list[BreakingChange] = []
    ordered = sorted(released, key=lambda contract: (contract.kind, contract.schema))
    for kind, group in groupby(ordered, key=lambda contract: contract.kind):
        if kind in today:
            changes += _of_event(list(group), *today[kind])
        else:
            changes.append(BreakingChange(kind, "", "was removed, but its events stay stored: keep the class"))
    for event, contract in today.values():
        changes += _steps_ahead(event, contract)
    return changes


def _of_event(history: list[Contract], event: type[Event], now: Contract) -> Iterator[BreakingChange]:
    last = history[-1]
    if now.private != last.private:
        before, after = ("private", "public") if last.private else ("public", "private")
        why = f"was {before} and is {after} now, but stored events stay where they are: make it another event"
        yield BreakingChange(now.kind, "", why)
    if now.subject != last.subject:
        why = f"moved from {last.subject} to {now.subject}: readers look for it where it was; make it another event"
        yield BreakingChange(now.kind, "", why)
    if now.schema < last.schema:
        yield BreakingChange(
            now.kind, "", f"has SCHEMA {now.schema}, but {last.schema} was released: events of it are stored"
        )
        return
    raised = now.schema > last.schema
    for difference in differences(last.shape(), now.shape()):
        if not difference.mendable:
            yield BreakingChange(now.kind, difference.field, f"{difference.what}; give it another name instead")
        elif not raised:
            yield BreakingChange(now.kind, difference.field, f"{difference.what}; {_MEND}")
    yield from _upcasts(history, event)


def _upcasts(history: list[Contract], event: type[Event]) -> Iterator[BreakingChange]:
    """Checks that upcasts lead from every released schema to the current one, by running them on sample data."""
    missing = [step for step in range(history[0].schema, event.SCHEMA) if (event.TYPE, step) not in STEPS]
    for step in missing:
        why = f"has SCHEMA {event.SCHEMA}, but contracts/upcasts.py has no step from {step} to {step + 1}"
        yield BreakingChange(event.TYPE, "", why)
    if missing:
        return
    for old in [contract for contract in history if contract.schema < event.SCHEMA]:
        for data in samples(old):
            sample = msgspec.json.encode(data).decode()
            try:
                msgspec.convert(upcast(event.TYPE, old.schema, data, event.SCHEMA), event)
            except (
                Exception
            ) as error:  # a step is arbitrary code: any error means that it does not lead to the current shape
                reason = f"{type(error).__name__}: {error}"
                why = f"cannot be brought from schema {old.schema} to {event.SCHEMA} ({reason}), as with {sample}"
                yield BreakingChange(event.TYPE, "", why)
                break


def _steps_ahead(event: type[Event], now: Contract) -> Iterator[BreakingChange]:
    for kind, step in STEPS:
        if kind == event.TYPE and step >= now.schema:
            why = f"has a step from schema {step} in contracts/upcasts.py, but SCHEMA is {now.schema}: raise it"
            yield BreakingChange(kind, "", why)
