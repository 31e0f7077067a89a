from tests.bench.messenger.driving import Outcome
from tests.bench.replicas import bound, rows


def outcome(per_second: float, **cpu: float) -> Outcome:
    return Outcome(
        scenario="send-64",
        in_flight=64,
        requests=1,
        per_second=per_second,
        p50=1.0,
        p99=9.0,
        p999=9.0,
        errors=0,
        cpu=cpu,
    )


def test_a_load_is_bound_by_the_machine_by_one_process_or_by_waits() -> None:
    cpu = {"gateway": 200.0, "messaging": 100.0, "nats": 100.0}
    assert bound(4_800.0, cpu, 1, 2) == "the processors of the machine"
    assert bound(4_800.0, cpu, 1, 8) == "the core of one process of gateway"
    assert bound(4_800.0, cpu, 2, 8) == "waits, mostly for the event store's disk"


def test_the_rows_are_medians_of_the_rounds_with_the_processor_time_of_each_part() -> None:
    rounds = [
        outcome(rate, gateway=200.0, messaging=100.0, auth=1.0, contact=2.0) for rate in (900.0, 1_000.0, 4_000.0)
    ]
    values = {row.what.partition(": ")[2]: row.value for row in rows(2, rounds, 2)}
    assert values["messages"] == 1_000.0
    assert values["processor time, others"] == 3.0
    assert values["processor time, all"] == 303.0
    assert values["processors in use"] == 0.303
