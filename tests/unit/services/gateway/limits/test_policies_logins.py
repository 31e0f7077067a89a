"""A limit that goes by an account counts all spellings of its login as one."""

import pytest

from services.auth.claim_keys import ClaimKeys
from services.gateway.http.endpoint import AnyEndpoint, AppliedLimit
from services.gateway.limits.rate_limiter import Subject
from services.gateway.route_table import ENDPOINTS

KEYS = ClaimKeys(b"k" * 32)
SPELLINGS = ("alice@site.org", "ALICE@SITE.ORG", "alice@ſite.org", "Alice@ſITE.org")
IN_OTHER_SCRIPTS = ("a@exämple.org", "A@EXÄMPLE.org", "a@xn--exmple-cua.org", "a@ｅxämple.org")
OTHERS = ("åsa@example.org", "a\u030asa@example.org", "ÅSA@example.org")


class Body:
    def __init__(self, login: str) -> None:
        self.login = self.email = login


def counting() -> list[tuple[AnyEndpoint, AppliedLimit[object]]]:
    return [
        (endpoint, counted)
        for endpoint in ENDPOINTS
        for counted in endpoint.limits
        if counted.limit.subject is Subject.BODY and counted.limit.name not in ("refresh", "verify-token")
    ]


@pytest.mark.parametrize("spellings", [SPELLINGS, OTHERS, IN_OTHER_SCRIPTS])
def test_whatever_is_the_same_account_is_the_same_key_of_every_limit(spellings: tuple[str, ...]) -> None:
    assert len({KEYS.of_email(spelling) for spelling in spellings}) == 1
    found = counting()
    assert {counted.limit.name for _, counted in found} == {
        "register-email",
        "resend-email",
        "reset-email",
    }
    for endpoint, counted in found:
        assert counted.key is not None
        assert len({counted.key(Body(spelling)) for spelling in spellings}) == 1, endpoint.path
