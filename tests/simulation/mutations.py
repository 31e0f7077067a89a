"""Faults put into the product on purpose: a simulation that does not notice one of them proves nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from unittest.mock import patch

import pytest

from tests.simulation.world import Failed, World, play

Mutation = Callable[[], AbstractContextManager[object]]


def caught(world_type: type[World], mutation: Mutation, within: int, begin: int = 0) -> int:
    """The first seed whose run notices the mutation; `begin`: one that is known to do so spares a search."""
    for seed in range(begin, begin + within):
        try:
            with mutation():
                play(world_type, seed)
        except Failed:
            return seed
    pytest.fail(f"{within} runs did not notice it")


def replaced(owner: object, name: str, value: object) -> Mutation:
    return lambda: patch.object(owner, name, value)
