"""Filters match subjects as they do at the server."""

import pytest

from contracts.subjects import passes


@pytest.mark.parametrize(
    ("subject", "subject_filter", "expected"),
    [
        ("vestnik.auth.user.1", "vestnik.auth.user.*", True),
        ("vestnik.auth.email.1", "vestnik.auth.user.*", False),
        ("vestnik.auth.user", "vestnik.auth.user.*", False),
        ("vestnik.auth.user.1.2", "vestnik.auth.user.*", False),
        ("vestnik.messaging.read.1.2", "vestnik.messaging.>", True),
        ("vestnik.messaging", "vestnik.messaging.>", False),
        ("vestnik.messagings.1", "vestnik.messaging.>", False),
        ("a.b", "a.b", True),
        ("a.b", ">", True),
    ],
)
def test_a_filter_is_applied_part_by_part(subject: str, subject_filter: str, expected: bool) -> None:
    assert passes(subject, subject_filter) is expected
