"""Which limits the routes have."""

import pytest

from services.gateway import limits
from services.gateway.endpoints import AnyEndpoint
from services.gateway.rate_limits import Subject
from services.gateway.table import ENDPOINTS


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_route_is_limited_by_address_and_by_account(endpoint: AnyEndpoint) -> None:
    subjects = {counted.limit.subject for counted in endpoint.limits}
    assert Subject.ADDRESS in subjects
    assert endpoint.public or Subject.ACCOUNT in subjects


def test_no_two_limits_share_a_name() -> None:
    names = [limit.name for limit in limits.ALL]
    assert len(names) == len(set(names))
