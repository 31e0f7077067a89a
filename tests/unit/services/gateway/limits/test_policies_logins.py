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


def limits_of_logins() -> list[tuple[AnyEndpoint, AppliedLimit[object]]]:
    return [
        (endpoint, applied)
        for endpoint in ENDPOINTS
        for applied in endpoint.limits
        if applied.limit.subject is Subject.BODY and applied.limit.name not in ("refresh", "verify-token")
    ]


@pytest.mark.parametrize("spellings", [SPELLINGS, OTHERS, IN_OTHER_SCRIPTS])
def test_all_spellings_of_an_account_have_the_same_key_in_every_limit(spellings: tuple[str, ...]) -> None:
    assert len({KEYS.of_email(spelling) for spelling in spellings}) == 1
    applied_limits = limits_of_logins()
    assert {applied.limit.name for _, applied in applied_limits} == {
        "register-email",
        "resend-email",
        "reset-email",
    }
    for endpoint, applied in applied_limits:
        assert applied.key is not None
        assert len({applied.key(Body(spelling)) for spelling in spellings}) == 1, endpoint.path
