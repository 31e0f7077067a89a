from datetime import UTC, datetime
from typing import Any

import msgspec

from contracts.events.notary import EndReason
from services.notary.endings import Ending, next_ending
from streams.loss.missing_events import Accepted
from streams.loss.replaced_history import Replaced

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def with_losses(*gaps: tuple[int, int]) -> dict[str, Any]:
    losses = [Accepted(first, last, AT, "alice") for first, last in gaps]
    return {"metadata": {"vestnik.accepted-losses": msgspec.json.encode(losses).decode()}}


def with_replaced(*entries: Replaced) -> dict[str, Any]:
    return {"metadata": {"vestnik.replaced": msgspec.json.encode(entries).decode()}}


def test_nothing_ends_a_tree_without_a_decision() -> None:
    assert next_ending({}, {}, ()) is None


def test_a_new_history_comes_first_then_losses_by_their_sequences() -> None:
    stream = with_losses((40, 50), (7, 9))
    notary = with_replaced(Replaced(EndReason.IMPORT, AT, "export-1"))
    settled: list[str] = []
    while (ending := next_ending(stream, notary, settled)) is not None:
        settled.append(ending.cause)
    assert settled == [
        "import export-1",
        "loss 7-9 2026-01-31T12:00:00+00:00",
        "loss 40-50 2026-01-31T12:00:00+00:00",
    ]


def test_a_loss_ends_a_tree_when_all_events_before_it_were_read() -> None:
    loss = Ending(EndReason.LOSS_ACCEPTED, "loss 7-9", 7, 9)
    assert [loss.ends_at(position) for position in (5, 6, 7, 20)] == [False, True, True, True]
    assert Ending(EndReason.RESTORE, "restore").ends_at(0)
