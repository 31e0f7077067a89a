"""When a gateway may rely on its knowledge of ended sessions."""

import time
from typing import Any, cast

import pytest

from services.gateway.security.revocations import Revocations
from streams.quorum import Quorum


class Evidence:
    """Of an age that the test sets."""

    age = 0.0

    def seen_within(self, seconds: float) -> bool:
        return self.age <= seconds


@pytest.mark.parametrize(("age", "alive"), [(4.0, True), (6.0, False)])
def test_a_gateway_whose_node_may_be_cut_off_for_as_long_as_the_silence_relies_on_nothing(
    age: float, alive: bool
) -> None:
    """The followed stream reports nothing new, as it would on a node that is cut off."""
    evidence = Evidence()
    evidence.age = age
    revocations = Revocations(
        cast(Any, None), access_token_seconds=900, name="test", silence=5.0, quorum=cast(Quorum, evidence)
    )
    revocations._follower._at_end = time.monotonic() + 3_600
    assert revocations.alive is alive


def test_one_node_alone_needs_no_evidence() -> None:
    revocations = Revocations(cast(Any, None), access_token_seconds=900, name="test", silence=5.0)
    revocations._follower._at_end = time.monotonic() + 3_600
    assert revocations.alive
