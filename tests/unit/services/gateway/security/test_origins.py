"""Which pages may have a browser refresh their session."""

import pytest
from starlette.datastructures import Headers

from contracts.errors import Forbidden
from services.gateway.security.origins import check_own

PUBLIC = "https://chat.example.org"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "same-origin", "origin": "https://behind.a.proxy"},
        {"origin": "https://chat.example.org"},
        {"origin": "http://127.0.0.1:8080"},
        {"origin": "HTTPS://CHAT.example.org"},
    ],
)
def test_a_page_of_this_origin_and_a_program_that_is_no_browser_are_let_in(headers: dict[str, str]) -> None:
    check_own(Headers({"host": "127.0.0.1:8080", **headers}), PUBLIC)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "https://chat.example.org"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example.org"},
        {"origin": "https://chat.example.org.evil.test"},
        {"origin": "null"},
        {"origin": ""},
    ],
)
def test_a_page_of_another_origin_is_not(headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        check_own(Headers({"host": "127.0.0.1:8080", **headers}), PUBLIC)
