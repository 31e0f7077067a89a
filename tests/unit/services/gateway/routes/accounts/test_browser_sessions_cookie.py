"""Which refresh token a page's cookies hold, and how it is given."""

import pytest

from infra.settings import Settings
from services.gateway.routes.accounts.browser_sessions import _cookie, _set


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([], None),
        (["theme=dark"], None),
        (["vestnik_refresh=a.1.b"], "a.1.b"),
        # What other cookies of the host look like is not ours to judge.
        (["flag; vestnik_refresh=a.1.b"], "a.1.b"),
        (['x="y; vestnik_refresh=a.1.b'], "a.1.b"),
        (["ключ=1;vestnik_refresh=a.1.b ; z"], "a.1.b"),
        (["x[]=1", "vestnik_refresh=a.1.b"], "a.1.b"),
        (["vestnik_refresh=; vestnik_refresh=a.1.b"], "a.1.b"),
        (["vestnik_refresh=a.1.b; vestnik_refresh=a.1.b"], "a.1.b"),
        (["vestnik_refresh=a.1.b; vestnik_refresh=evil.1.b"], None),
        (["vestnik_refresh=a.1.b", "vestnik_refresh=evil.1.b"], None),
        (["vestnik_refresh="], None),
        (["not_vestnik_refresh=a"], None),
    ],
)
def test_a_refresh_token_is_found_among_any_cookies_unless_there_are_two(headers: list[str], token: str | None) -> None:
    assert _cookie(headers, "vestnik_refresh") == token


def test_a_cookie_goes_over_tls_alone_wherever_tls_is_promised() -> None:
    assert "; Secure" not in _set(Settings(), "vestnik_device", "t", seconds=1)
    for behind_tls in ({"public_url": "https://chat.example.org"}, {"hsts_seconds": 3600}):
        assert _set(Settings(**behind_tls), "vestnik_device", "t", seconds=1).endswith("; SameSite=Strict; Secure")
