"""What the errors of requests say of themselves."""

import pytest

from streams.jetstream.requests import Closed, Denied, NoAnswer, NoResponders, NotSent, RequestFailed


@pytest.mark.parametrize("kind", [NotSent, Closed, NoResponders, NoAnswer, Denied])
def test_a_failed_request_says_why(kind: type[RequestFailed]) -> None:
    assert str(kind()) == kind.__doc__


def test_a_failed_request_with_a_reason_of_its_own_says_that() -> None:
    assert str(RequestFailed("changed by others")) == "changed by others"
