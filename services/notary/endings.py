"""What ends a tree: an accepted loss of the stream, an import, a restored backup."""

from collections.abc import Collection
from typing import Any

import msgspec

from contracts.events.notary import EndReason
from streams.loss.missing_events import accepted
from streams.loss.replaced_history import replaced


class Ending(msgspec.Struct, frozen=True):
    """A cause that ends a tree."""

    reason: EndReason
    cause: str
    # The sequences of an accepted loss, both included; 0 for other reasons.
    first: int = 0
    last: int = 0

    def ends_at(self, position: int) -> bool:
        """Whether a tree whose events up to the position were read has to end now."""
        return self.first <= position + 1


def next_ending(stream: dict[str, Any], notary: dict[str, Any], settled: Collection[str]) -> Ending | None:
    """The first cause for which no record ends a tree yet: of a new history, then of losses by their sequences.

    `stream`, `notary`: the settings of the stream and of NOTARY. `settled`: the causes that have a record.
    """
    endings = [Ending(entry.reason, entry.cause) for entry in replaced(notary)]
    endings += sorted(
        (
            Ending(
                EndReason.LOSS_ACCEPTED, f"loss {loss.first}-{loss.last} {loss.at.isoformat()}", loss.first, loss.last
            )
            for loss in accepted(stream)
        ),
        key=lambda ending: ending.first,
    )
    return next((ending for ending in endings if ending.cause not in settled), None)
