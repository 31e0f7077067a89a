"""Where a request comes from: the peer of its connection, or what trusted proxies in front of the gateway say."""

import ipaddress
from functools import lru_cache

from starlette.datastructures import Headers

_FORWARDED = "x-forwarded-for"


def client_address(peer: str, headers: Headers, *, trusted_hops: int) -> str:
    """The client's address.

    Each proxy appends to `X-Forwarded-For` whom it was asked by, so with `trusted_hops` proxies in front of us the
    client is that many entries from the end; what stands further left is the client's own word and counts for
    nothing. With no proxy to be trusted the header is not looked at. A request that did not come through all of them,
    or brings something that is no address, counts as its peer's.
    """
    if not trusted_hops:
        return peer
    entries = [entry for line in headers.getlist(_FORWARDED) for entry in line.split(",")]
    if len(entries) < trusted_hops:
        return peer
    return _address(entries[-trusted_hops].strip()) or peer


@lru_cache(maxsize=10_000)
def counted_as(address: str) -> str:
    """What of an address is counted: an IPv4 address, or the /64 network that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(parsed)


def _address(entry: str) -> str | None:
    """The address in an entry, which some proxies write with a port."""
    text = entry
    if entry.startswith("["):
        text = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        text = entry.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
