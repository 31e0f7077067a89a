"""Ids of new objects."""

import time
from datetime import timedelta

import pytest

from contracts.envelope import now
from contracts.values import ids
from contracts.values.ids import effect_id, first_id_at, is_id, made_at, new_id


def test_ids_increase_within_a_millisecond_and_say_when_they_were_made() -> None:
    before = now()
    new_ids = [new_id() for _ in range(10_000)]
    assert new_ids == sorted(set(new_ids))
    assert all(map(is_id, new_ids))
    assert before <= made_at(new_ids[0]) <= made_at(new_ids[-1]) <= now()


def test_ids_increase_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_latest", 0)
    moment = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: moment)
    new_ids = [new_id()]
    moment -= 300_000_000_000
    new_ids += [new_id() for _ in range(5_000)]
    moment += 600_000_000_000
    new_ids.append(new_id())
    assert new_ids == sorted(set(new_ids))
    assert made_at(new_ids[-1]).timestamp() == pytest.approx(moment / 1e9, abs=0.002)


def test_an_effect_has_one_id_in_every_attempt_and_another_one_for_each_event_and_effect() -> None:
    event, other = new_id(), new_id()
    assert effect_id(event, "mail") == effect_id(event, "mail")
    assert len({effect_id(event, "mail"), effect_id(event, "call"), effect_id(other, "mail"), event}) == 4
    assert is_id(effect_id(event, "mail"))


def test_the_first_id_of_a_moment_is_not_above_those_made_then_and_above_all_earlier_ones() -> None:
    before = new_id()
    later = now() + timedelta(milliseconds=5)
    assert first_id_at(now() - timedelta(seconds=1)) < before < first_id_at(later + timedelta(seconds=1))
    assert len(first_id_at(later)) == len(before)
