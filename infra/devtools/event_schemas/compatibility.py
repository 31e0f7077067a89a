"""What a change of the contracts must not do to those who read what was released."""

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
    """One thing that somebody could no longer read."""

    event: str
    # Empty where it is about the event as a whole.
    field: str
    why: str

    def __str__(self) -> str:
        return f"{self.event}: " + (f"field `{self.field}` " if self.field else "") + self.why


def breaking_changes(
    released: Iterable[Contract], today: Mapping[str, tuple[type[Event], Contract]]
) -> list[BreakingChange]:
    """Everything that today's contracts, by type, break for readers of the released ones."""
    found: list[BreakingChange] = []
    ordered = sorted(released, key=lambda contract: (contract.kind, contract.schema))
    for kind, group in groupby(ordered, key=lambda contract: contract.kind):
        if kind in today:
            found += _of_event(list(group), *today[kind])
        else:
            found.append(BreakingChange(kind, "", "was removed, but its events stay stored: keep the class"))
    for event, contract in today.values():
        found += _steps_ahead(event, contract)
    return found


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
    """The steps from every released schema to today's: there, and leading to what the class takes."""
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
            ) as error:  # a step is anybody's code: whatever it raises, it does not lead to today's shape
                reason = f"{type(error).__name__}: {error}"
                why = f"cannot be brought from schema {old.schema} to {event.SCHEMA} ({reason}), as with {sample}"
                yield BreakingChange(event.TYPE, "", why)
                break


def _steps_ahead(event: type[Event], now: Contract) -> Iterator[BreakingChange]:
    for kind, step in STEPS:
        if kind == event.TYPE and step >= now.schema:
            why = f"has a step from schema {step} in contracts/upcasts.py, but SCHEMA is {now.schema}: raise it"
            yield BreakingChange(kind, "", why)
