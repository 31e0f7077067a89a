"""The outcome of a retry, and the reasons for which a dead letter cannot be resolved."""

import msgspec

from contracts.errors import first_line
from infra.operator_errors import OperatorError
from projections.engine.dead_letters.discards import Discarded
from projections.engine.dead_letters.queries import DeadLetterRow
from projections.engine.storage.builds import Build
from projections.engine.storage.dead_letters import LetterId


class OtherVersion(OperatorError):
    """The build is of a version that this program does not have."""

    def __init__(self, letter_id: LetterId, version: int) -> None:
        super().__init__(
            f"{letter_id} is of version {letter_id.version} of {letter_id.projection}, and this program has"
            f" version {version}"
        )


class BlockedByEarlier(OperatorError):
    """The dead letter is parked behind an earlier one."""

    def __init__(self, letter: DeadLetterRow) -> None:
        super().__init__(f"{letter.id} has not failed, it waits for {letter.head}: retry or discard that one")


class AlreadyDiscarded(OperatorError):
    """The event was discarded before."""

    def __init__(self, discard: Discarded) -> None:
        super().__init__(f"{discard.id} was discarded by {discard.discarded_by}: {discard.reason}")


class BuildGone(OperatorError):
    """The dead letter's build is no longer in use, or no longer in the same state."""

    def __init__(self, letter_id: LetterId) -> None:
        super().__init__(
            f"build {letter_id.build} of {letter_id.projection} is no longer in use; its successor has read the "
            "event again: list the dead letters again"
        )


class AppliedElsewhere(OperatorError):
    """Another build has applied the event, so it cannot be discarded in every build."""

    def __init__(self, letter_id: LetterId, build: int) -> None:
        super().__init__(
            f"build {build} of {letter_id.projection}, which is being built, has applied the event of {letter_id}: "
            "let that rebuild finish; no discard is needed"
        )


class EventMissing(OperatorError):
    """A stream does not hold an event that was read from it."""

    def __init__(self, stream: str, sequence: int) -> None:
        super().__init__(f"{stream} no longer contains event {sequence}")


class BuildLocked(OperatorError):
    """The build's writer held its lock for too long."""

    def __init__(self, build: Build) -> None:
        super().__init__(f"build {build.build} of {build.projection} is locked by another process; try again")


class Interrupted(OperatorError):
    """A retry was interrupted after `applied` events were applied."""

    def __init__(self, applied: int, error: Exception) -> None:
        super().__init__(first_line(error))
        self.applied = applied


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of retrying an aggregate's dead letters."""

    id: str
    # `applied`: all were applied; `failed`: the one of `failed_id` failed again, those before it were applied;
    # `refused`: the first remaining one could not be tried now; `requested`: of a reaction, it has not been tried yet;
    # `discarded`: of a reaction, by this act or another operator.
    outcome: str
    # Number of events applied, and of those remaining.
    applied: int
    left: int
    failed_id: str | None
    reason: str | None
