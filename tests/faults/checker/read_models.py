"""At the end the read models are equal to their streams, and the streams are regular."""

from collections import defaultdict
from collections.abc import Iterator

from tests.faults.checker.finding import Bounds, Finding
from tests.faults.history import FinalReadModel, FinalStream, History


def unequal(history: History, _: Bounds) -> Iterator[Finding]:
    """A rebuild of a read model gives the same rows."""
    for model in history.of(FinalReadModel):
        if not model.is_equal:
            yield Finding("read_models.unequal", f"{model.name}: {model.differences}")


def irregular_streams(history: History, _: Bounds) -> Iterator[Finding]:
    """Sequences increase without a gap, each event stands once, and a subject's versions are 1, 2, 3 and so on."""
    last: dict[str, int] = defaultdict(int)
    versions: dict[str, int] = defaultdict(int)
    # Digests, since a million ids would fill the memory.
    stored: set[int] = set()
    for part in history.of(FinalStream):
        for event in part.events:
            where = f"{part.stream} {event.sequence}"
            if event.sequence != last[part.stream] + 1:
                yield Finding("read_models.irregular_streams", f"{where} follows {last[part.stream]}")
            last[part.stream] = event.sequence
            if event.version != versions[event.subject] + 1:
                yield Finding(
                    "read_models.irregular_streams",
                    f"{where} has the version {event.version} after {versions[event.subject]} of {event.subject}",
                )
            versions[event.subject] = event.version
            if (digest := hash(event.event_id)) in stored:
                yield Finding("read_models.irregular_streams", f"{where} is the event {event.event_id} again")
            stored.add(digest)
