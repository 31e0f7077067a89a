"""The metric of retention that is held back."""

from prometheus_client import REGISTRY

from streams.reactions.retention_progress import RetentionProgress


def test_the_time_counts_from_the_first_sweep_that_left_something_until_one_that_leaves_nothing() -> None:
    now = 100.0
    progress = RetentionProgress("sample", clock=lambda: now)

    def shown() -> float | None:
        return REGISTRY.get_sample_value("vestnik_retention_overdue_seconds", {"data": "sample"})

    assert shown() == 0
    progress.swept(complete=False)
    now += 600
    progress.swept(complete=False)
    now += 60
    assert shown() == 660
    progress.swept(complete=True)
    assert shown() == 0
