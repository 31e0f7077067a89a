"""A run depends on its seed alone."""

import pytest

from tests.simulation.__main__ import WORLDS
from tests.simulation.world import play


@pytest.mark.parametrize("name", WORLDS)
def test_a_run_repeats_with_its_seed(name: str) -> None:
    assert play(WORLDS[name], 7).fingerprint == play(WORLDS[name], 7).fingerprint
