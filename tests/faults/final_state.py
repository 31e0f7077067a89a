"""The final state of a run, from what the operators' command line prints."""

from collections.abc import Iterable, Iterator

import msgspec

from tests.faults.history import FinalReadModel, FinalStream, Json, StoredEvent

_EVENTS_A_RECORD = 1_000


class _Event(msgspec.Struct):
    """What is used of a line of `vestnik events --json`."""

    sequence: int
    id: str
    type: str
    subject: str
    version: int


def read_models(verified: str) -> Iterator[FinalReadModel]:
    """`verified`: what `vestnik verify --json` has printed."""
    verdicts = msgspec.json.decode(verified, type=Json)
    for verdict in verdicts["projections"]:
        counts = {name: verdict[name] for name in ("changed", "missing", "extra", "lost", "dead_letters")}
        differences = f"{counts}; {verdict['differences'][:3]}"
        is_equal = verdict["equal"] and not verdict["dead_letters"]
        yield FinalReadModel(name=verdict["projection"], is_equal=is_equal, differences="" if is_equal else differences)
    for failed in verdicts["failed"]:
        yield FinalReadModel(name=failed["projection"], is_equal=False, differences=failed["error"])


def stream(name: str, lines: Iterable[str]) -> Iterator[FinalStream]:
    """`lines`: what `vestnik events --stream NAME --json` has printed."""
    events: list[StoredEvent] = []
    for line in lines:
        event = msgspec.json.decode(line, type=_Event)
        events.append(StoredEvent(event.sequence, event.id, event.type, event.subject, event.version))
        if len(events) == _EVENTS_A_RECORD:
            yield FinalStream.of(name, events)
            events = []
    yield FinalStream.of(name, events)
