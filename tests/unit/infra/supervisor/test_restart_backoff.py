"""Pauses before a restart."""

from infra.supervisor.restart_backoff import FIRST, HEALTHY_AFTER, LONGEST, Backoff


def test_pauses_double_up_to_a_bound() -> None:
    backoff = Backoff()
    pauses = [backoff.after(ran_for=0.0) for _ in range(20)]
    assert pauses[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert max(pauses) == pauses[-1] == LONGEST


def test_a_healthy_run_starts_again_from_the_beginning() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after(ran_for=0.0)
    assert backoff.after(ran_for=HEALTHY_AFTER) == FIRST
    assert backoff.quick_ends == 1
