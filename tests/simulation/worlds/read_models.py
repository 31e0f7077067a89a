"""The read models of the simulation of projections: what they count shows each event applied twice or not at all."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipCreated
from contracts.events.profile import ProfileCreated
from contracts.subjects import CONTACT, PROFILE
from projections.engine import Projection, RowChanges, handles
from tests.simulation.nats.store import Stored, Stream, matches
from tests.simulation.postgres.database import BuildRow, Row
from tests.simulation.postgres.statements import Catalog

UNREADABLE = "nobody"


class Tallies(Projection):
    """For each aggregate the number of its events and the last one; how often each event was applied."""

    version = 1
    # Whether the code fails at some events.
    broken = False
    streams: ClassVar[Sequence[str]] = (CONTACT,)
    service = "contact"
    tables = """
        CREATE TABLE {tallies} (aggregate text PRIMARY KEY, events bigint NOT NULL, last bigint NOT NULL);
        CREATE TABLE {applied} (event text PRIMARY KEY, times bigint NOT NULL)
    """

    @handles(FriendshipCreated)
    def friendship(self, event: Recorded[FriendshipCreated], write: RowChanges) -> None:
        if event.data.addressee_id == UNREADABLE and Tallies.broken:
            raise ValueError(UNREADABLE)
        self._count(event.stream, event.sequence, event.aggregate_id, write)

    def _count(self, stream: str, sequence: int, aggregate: str, write: RowChanges) -> None:
        write.upsert("tallies", key={"aggregate": aggregate}, add={"events": 1}, set={"last": sequence})
        write.upsert("applied", key={"event": f"{stream} {sequence}"}, add={"times": 1})


class AllTallies(Tallies):
    """The same of two streams, one of them under a filter."""

    streams: ClassVar[Sequence[str]] = (CONTACT, PROFILE)

    @handles(ProfileCreated)
    def profile(self, event: Recorded[ProfileCreated], write: RowChanges) -> None:
        self._count(event.stream, event.sequence, event.aggregate_id, write)


READ_MODELS: tuple[type[Tallies], ...] = (Tallies, AllTallies)

_TALLIES = [("aggregate", "text", 1), ("events", "bigint", None), ("last", "bigint", None)]
_APPLIED = [("event", "text", 1), ("times", "bigint", None)]
CATALOG: Catalog = {
    projection.view(name).rpartition("_v")[0]: list(columns)
    for projection in READ_MODELS
    for name, columns in (("tallies", _TALLIES), ("applied", _APPLIED))
}


def check(projection: type[Tallies], build: BuildRow, streams: Mapping[str, Stream]) -> None:
    """The rows are those of the events up to the checkpoints: each applied once and in order, or a known loss."""
    tallies, applied = list(build.tables.values())
    wanted = set[str]()
    for stream, pattern in projection.filters().items():
        lost = {number for name, first, last in build.lost if name == stream for number in range(first, last + 1)}
        wanted |= {
            f"{stream} {stored.sequence}"
            for stored in streams[stream].messages[: build.checkpoints[stream]]
            if matches(pattern or ">", stored.subject) and stored.sequence not in lost
        }
    wanted -= {f"{stream} {sequence}" for stream, sequence in build.letters}
    times = {key[0]: int(row["times"]) for key, row in applied.items()}
    assert times == dict.fromkeys(wanted, 1), (
        f"{projection.name}: twice {sorted(event for event, count in times.items() if count > 1)}, "
        f"skipped {sorted(wanted - times.keys())}, beyond the checkpoints {sorted(times.keys() - wanted)}"
    )
    expected: dict[tuple[str, ...], Row] = {}
    for stream in projection.filters():
        for stored in streams[stream].messages:
            if f"{stream} {stored.sequence}" in wanted:
                row = expected.setdefault((stored.subject.rpartition(".")[2],), {"events": "0"})
                row["events"], row["last"] = str(int(row["events"]) + 1), str(stored.sequence)
        _check_letters(
            build, stream, [stored for stored in streams[stream].messages if f"{stream} {stored.sequence}" in wanted]
        )
    assert tallies == expected, f"{projection.name}: {tallies} instead of {expected}"


def _check_letters(build: BuildRow, stream: str, applied: Sequence[Stored]) -> None:
    """No event was applied after a dead letter of its aggregate; the first of these failed, all others are parked."""
    first: dict[str, int] = {}
    for (letter_stream, sequence), letter in sorted(build.letters.items()):
        if letter_stream == stream:
            state = "parked" if letter.subject in first else "failed"
            assert letter.state == state, f"{stream} {sequence} is {letter.state} instead of {state}"
            first.setdefault(letter.subject, sequence)
    for stored in applied:
        assert stored.sequence < first.get(stored.subject, stored.sequence + 1), f"{stored.sequence} overtook a letter"
