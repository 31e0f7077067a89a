"""Durable consumers, and what belongs to each."""

from contracts.durable_consumers import DURABLES, retries_of
from contracts.subjects import BUCKETS, REACTING_SERVICES, parked_by, passes


def test_each_service_with_reactions_has_a_bucket_for_what_they_park() -> None:
    assert {durable.service for durable in DURABLES} == set(REACTING_SERVICES)
    assert all(BUCKETS[parked_by(service)].is_kept for service in REACTING_SERVICES)


def test_names_begin_with_the_service_and_are_unique_with_those_of_the_retries() -> None:
    names = [consumer.name for durable in DURABLES for consumer in (durable, retries_of(durable))]
    assert len(set(names)) == len(names)
    assert all(durable.name.startswith(f"{durable.service}-") for durable in DURABLES)


def test_retries_of_a_reaction_are_the_changes_of_its_own_keys() -> None:
    for durable in DURABLES:
        key = f"$KV.{parked_by(durable.service)}.{durable.name}.17"
        assert [other.name for other in DURABLES if passes(key, retries_of(other).subject_filter)] == [durable.name]
