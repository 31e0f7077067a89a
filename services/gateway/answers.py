"""What services answer, checked where their messages allow less than they promise."""

from typing import TypeVar

from contracts.errors import VestnikError

T = TypeVar("T")


def whole(message: T | None) -> T:
    """A message that an answer always has; protobuf cannot say so.

    Raises:
        VestnikError: it is not there; the service is broken.
    """
    if message is None:
        raise VestnikError
    return message
