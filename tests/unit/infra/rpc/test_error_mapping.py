"""How a caller maps errors that its release does not know."""

import pytest

from contracts.errors import DeadlineExceeded, Overloaded, Unavailable, VestnikError
from infra.rpc.error_mapping import from_grpc, to_grpc


@pytest.mark.parametrize(
    ("status", "kind", "retry_after"),
    [
        ("RESOURCE_EXHAUSTED", Overloaded, 7),
        ("UNAVAILABLE", Unavailable, 7),
        ("DEADLINE_EXCEEDED", DeadlineExceeded, None),
        ("INTERNAL", VestnikError, None),
    ],
)
def test_an_error_of_a_later_release_becomes_the_nearest_of_ours(
    status: str, kind: type[VestnikError], retry_after: int | None
) -> None:
    unknown_error = VestnikError("from tomorrow", retry_after=7)
    # On the instance: a class would be among the known ones.
    unknown_error.code, unknown_error.grpc = "of_a_later_release", status  # type: ignore[misc]
    error = from_grpc(to_grpc(unknown_error))
    assert (type(error), error.retry_after) == (kind, retry_after)
