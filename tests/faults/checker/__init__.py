"""Compares the history of a run with what the product promises: pure functions, one module per subject."""

from collections.abc import Callable, Iterable

from tests.faults.checker import access, accounts, answers, live, messages, processes, read_models, reads, sessions
from tests.faults.checker.finding import Bounds, Finding
from tests.faults.history import History

Check = Callable[[History, Bounds], Iterable[Finding]]
CHECKS: tuple[Check, ...] = (
    messages.lost,
    messages.doubled,
    messages.reordered,
    messages.gapped,
    messages.different,
    messages.invented,
    reads.stale,
    reads.unknown_positions,
    access.after_removal,
    access.refused_friends,
    sessions.good_after_revocation,
    sessions.reuse_unnoticed,
    sessions.ended_without_cause,
    accounts.shared_addresses,
    accounts.shared_usernames,
    accounts.mails_never_sent,
    accounts.mails_sent_twice,
    live.missed,
    live.doubled,
    live.not_stored,
    read_models.unequal,
    read_models.irregular_streams,
    answers.wrong_status,
    answers.without_retry_after,
    answers.late,
    processes.not_back,
    processes.crashed,
    processes.growing,
)


def check(history: History, bounds: Bounds | None = None) -> list[Finding]:
    """Returns every contradiction between the promises and the history, or a part that can be checked by itself."""
    limits = bounds or Bounds()
    return [finding for promise in CHECKS for finding in promise(history, limits)]
