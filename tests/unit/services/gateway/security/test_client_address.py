"""Where a request comes from, with and without proxies that are trusted."""

import pytest
from starlette.datastructures import Headers

from services.gateway.security.client_address import client_address, counted_as


def address(*forwarded: str, hops: int, peer: str = "10.0.0.1") -> str:
    raw = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return client_address(peer, Headers(raw=raw), trusted_hops=hops)


def test_without_a_trusted_proxy_a_forwarded_address_is_ignored() -> None:
    assert address("192.0.2.1", hops=0) == "10.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "hops", "found"),
    [
        (["192.0.2.1"], 1, "192.0.2.1"),
        (["forged, 192.0.2.1"], 1, "192.0.2.1"),
        (["198.51.100.7", "192.0.2.1"], 1, "192.0.2.1"),
        (["198.51.100.7, 192.0.2.1,10.0.0.2"], 2, "192.0.2.1"),
        (["192.0.2.1:4711"], 1, "192.0.2.1"),
        (["[2001:db8::1]:4711"], 1, "2001:db8::1"),
        (["2001:db8::1"], 1, "2001:db8::1"),
    ],
)
def test_the_entry_counts_that_the_outermost_trusted_proxy_wrote(forwarded: list[str], hops: int, found: str) -> None:
    assert address(*forwarded, hops=hops) == found


@pytest.mark.parametrize(("forwarded", "hops"), [([], 1), (["192.0.2.1"], 2), (["unknown"], 1), ([""], 1), (["\r"], 1)])
def test_a_request_that_bypassed_the_proxies_counts_under_the_address_of_its_peer(
    forwarded: list[str], hops: int
) -> None:
    assert address(*forwarded, hops=hops) == "10.0.0.1"


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_network_counts_as_one_client(given: str, key: str) -> None:
    assert counted_as(given) == key
