"""The table of the report."""

from tests.faults.recovery import Recovery
from tests.faults.report import table


def step(*faults: str, seconds: float, acknowledged: int = 10) -> Recovery:
    return Recovery(faults=faults, targets=("nats-1",), step=1, seconds=seconds, acknowledged=acknowledged, failed=1)


def test_a_fault_that_came_alone_has_a_row_with_its_median_and_worst_wait() -> None:
    rows = table([step("cut", seconds=seconds, acknowledged=1000) for seconds in (3.0, 1.0, 2.0)]).splitlines()
    assert rows[2:] == ["| links of a host cut both ways | 3 | 3,000 | 3 | 2.0 s | 3.0 s |"]


def test_pairs_share_a_row_after_all_faults() -> None:
    rows = table(
        [step("cut", "kill", seconds=1.0), step("freeze", seconds=2.0), step("kill", seconds=4.0)]
    ).splitlines()
    assert [row.split(" | ")[0] for row in rows[2:]] == [
        "| `kill -9`, started again by the container engine",
        "| SIGSTOP for 1 to 40 s, then SIGCONT",
        "| two of them at the same time",
    ]
