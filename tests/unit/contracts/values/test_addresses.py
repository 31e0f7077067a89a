"""How much of an IP address is stored."""

import pytest

from contracts.values.addresses import Keeps, network_of, overlap, parse_network, truncate_address


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
def test_an_address_is_recorded_whole_as_its_network_or_not_at_all(address: str, full: str, prefix: str) -> None:
    expected: dict[Keeps, str] = {"full": full, "prefix": prefix, "none": ""}
    assert {keeps: truncate_address(address, keeps) for keeps in expected} == expected


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.77/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("2001:DB8::/48", "2001:db8::/48"),
        ("::ffff:192.0.2.77", "192.0.2.77/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::1/128"),
        ("192.0.2.300", None),
        ("192.0.2.1/33", None),
        ("a socket", None),
        ("", None),
    ],
)
def test_a_recorded_address_is_a_network(address: str, network: str | None) -> None:
    assert network_of(address) == network


def test_networks_overlap_if_one_holds_the_other() -> None:
    def overlapping(one: str, other: str) -> bool:
        a, b = parse_network(one), parse_network(other)
        assert a is not None
        assert b is not None
        return overlap(a, b)

    assert overlapping("192.0.2.1", "192.0.2.0/24")
    assert overlapping("192.0.0.0/16", "192.0.2.1")
    assert not overlapping("192.0.2.1", "192.0.2.2")
    assert not overlapping("192.0.2.1", "2001:db8::/48")
