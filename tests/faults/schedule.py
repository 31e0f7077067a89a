"""The schedule of a run: which faults come when, alone and in pairs, drawn from a seed so that it can be repeated."""

import itertools
from collections.abc import Iterator, Sequence
from random import Random

import msgspec

from tests.faults.nemesis.fault import NATS, Fault, Hosts, seconds_between

_LEAST_PAUSE, _MOST_PAUSE = 1.0, 5.0
# Drawings of a pair before another pair of faults is tried.
_TRIES = 10


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One or two faults at a time."""

    number: int
    # Seconds of quiet before it.
    pause: float
    faults: tuple[Fault, ...]
    # Seconds from the begin of the first fault to that of the second.
    apart: float = 0.0


def steps(seed: int, hosts: Hosts, faults: Sequence[type[Fault]], *, longest: float | None = None) -> Iterator[Step]:
    """Draws steps without end: each fault once alone in any order, then about as many pairs, and so on.

    `longest`: the most seconds that a fault lasts; None: as drawn.
    """
    chance = Random(seed)
    numbers = itertools.count(1)
    while True:
        for fault in chance.sample(faults, len(faults)):
            yield _step(next(numbers), chance, (_drawn(fault, chance, hosts, longest),))
        for _ in faults[1:]:
            if pair := _pair(chance.sample(faults, 2), chance, hosts, longest):
                yield _step(next(numbers), chance, pair)


def _step(number: int, chance: Random, faults: tuple[Fault, ...]) -> Step:
    apart = seconds_between(chance, 0, min(5.0, faults[0].seconds)) if len(faults) > 1 else 0.0
    return Step(number=number, pause=seconds_between(chance, _LEAST_PAUSE, _MOST_PAUSE), faults=faults, apart=apart)


def _pair(classes: Sequence[type[Fault]], chance: Random, hosts: Hosts, longest: float | None) -> tuple[Fault, ...]:
    """Draws faults that can act at the same time; empty if several drawings gave none."""
    for _ in range(_TRIES):
        one, other = (_drawn(fault, chance, hosts, longest) for fault in classes)
        if not set(one.hosts) & set(other.hosts) and not _destroys_too_much(one, other):
            return one, other
    return ()


def _destroys_too_much(*faults: Fault) -> bool:
    """Whether a copy would be destroyed while another server of its kind is not there."""
    kinds = [{name.rpartition("-")[0] for name in fault.hosts} for fault in faults]
    return any(fault.destroys_copy for fault in faults) and NATS in kinds[0] & kinds[1]


def _drawn(fault: type[Fault], chance: Random, hosts: Hosts, longest: float | None) -> Fault:
    drawn = fault.draw(chance, hosts)
    if longest is None or drawn.seconds <= longest:
        return drawn
    return msgspec.structs.replace(drawn, seconds=longest)
