"""The schedule of faults: repeated by its seed, each fault alone, pairs that can act at the same time."""

import itertools
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.nemesis.catalogue import FAULTS
from tests.faults.schedule import Step, steps
from tests.rehearsal.compose_file import read

HOSTS = {
    "nats": ["nats-1", "nats-2", "nats-3"],
    "postgres": ["postgres-1", "postgres-2"],
    "messaging": ["messaging-1", "messaging-2"],
    "contact": ["contact-1", "contact-2"],
    "gateway": ["gateway-1", "gateway-2"],
}
ALL = list(FAULTS.values())
SEEDS = st.integers(0, 10_000)


def first(count: int, seed: int, longest: float | None = None) -> Sequence[Step]:
    return list(itertools.islice(steps(seed, HOSTS, ALL, longest=longest), count))


@given(SEEDS)
def test_the_same_seed_gives_the_same_steps(seed: int) -> None:
    assert first(60, seed) == first(60, seed)


def test_another_seed_gives_other_steps() -> None:
    assert first(20, 1) != first(20, 2)


@given(SEEDS)
def test_each_fault_comes_once_alone_before_the_first_pair(seed: int) -> None:
    single_steps = list(itertools.takewhile(lambda step: len(step.faults) == 1, first(len(ALL) + 1, seed)))
    assert Counter(type(step.faults[0]) for step in single_steps) == dict.fromkeys(ALL, 1)


@given(SEEDS)
def test_the_faults_of_a_pair_differ_and_act_on_different_hosts(seed: int) -> None:
    pairs = [step.faults for step in first(3 * len(ALL), seed) if len(step.faults) == 2]
    assert pairs
    for one, other in pairs:
        assert type(one) is not type(other)
        assert not set(one.hosts) & set(other.hosts)


@given(SEEDS)
def test_no_copy_is_destroyed_while_another_server_of_its_kind_is_disturbed(seed: int) -> None:
    for step in first(3 * len(ALL), seed):
        if len(step.faults) == 2 and any(fault.destroys_copy for fault in step.faults):
            kinds = [{name.rpartition("-")[0] for name in fault.hosts} for fault in step.faults]
            assert "nats" not in kinds[0] & kinds[1]


@given(SEEDS)
def test_hosts_are_those_of_the_deployment(seed: int) -> None:
    host_names = {name for names in HOSTS.values() for name in names}
    for step in first(2 * len(ALL), seed):
        for fault in step.faults:
            assert fault.hosts
            assert set(fault.hosts) <= host_names


def test_a_limit_shortens_what_lasts_longer() -> None:
    assert max(fault.seconds for step in first(60, 1) for fault in step.faults) > 10
    assert max(fault.seconds for step in first(60, 1, longest=3.0) for fault in step.faults) == 3


@pytest.mark.parametrize("fault", ALL, ids=[*FAULTS])
def test_a_fault_alone_can_be_the_whole_schedule(fault: type) -> None:
    drawn = list(itertools.islice(steps(3, HOSTS, [fault]), 5))
    assert [type(step.faults[0]) for step in drawn] == [fault] * 5
    assert [step.number for step in drawn] == [1, 2, 3, 4, 5]


def test_a_step_is_written_with_the_names_and_parameters_of_its_faults() -> None:
    written = msgspec.json.decode(msgspec.json.encode(first(1, 1)[0]))
    (fault,) = written["faults"]
    assert fault["fault"] in FAULTS
    assert {"seconds", "hosts"} <= set(fault)


def test_the_hosts_of_these_tests_are_of_kinds_that_the_compose_file_has() -> None:
    assert {name for names in HOSTS.values() for name in names} <= set(read().services)
