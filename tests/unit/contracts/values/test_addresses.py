"""How much of an address is kept."""

import pytest

from contracts.values.addresses import Keeps, truncate_address


@pytest.mark.parametrize(
    ("address", "full", "prefix"),
    [
        ("192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("2001:DB8::1", "2001:db8::1", "2001:db8::/48"),
        ("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::1", "fe80::/48"),
        ("a socket", "a socket", ""),
        ("", "", ""),
    ],
)
def test_all_of_it_its_network_or_nothing(address: str, full: str, prefix: str) -> None:
    expected: dict[Keeps, str] = {"full": full, "prefix": prefix, "none": ""}
    assert {keeps: truncate_address(address, keeps) for keeps in expected} == expected
