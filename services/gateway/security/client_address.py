"""Client address of a request: its connection's peer, or what trusted proxies report."""

import ipaddress
from functools import lru_cache

from starlette.datastructures import Headers

_FORWARDED = "x-forwarded-for"


def client_address(peer: str, headers: Headers, *, trusted_hops: int) -> str:
    """The client's address.

    Each proxy appends its peer's address to `X-Forwarded-For`. With `trusted_hops` proxies in front of the gateway,
    the client is that many entries from the end; entries further left are the client's own claim and are ignored.
    Without trusted proxies the header is not read. If it has fewer entries, or the entry is not an address, the
    peer's address is returned.
    """
    if not trusted_hops:
        return peer
    entries = [entry for line in headers.getlist(_FORWARDED) for entry in line.split(",")]
    if len(entries) < trusted_hops:
        return peer
    return _address(entries[-trusted_hops].strip()) or peer


@lru_cache(maxsize=10_000)
def counted_as(address: str) -> str:
    """Rate-limit key of an address: the IPv4 address, or the /64 network that one IPv6 customer has."""
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
    """The address in an entry, to which some proxies append a port; None if it is not an address."""
    text = entry
    if entry.startswith("["):
        text = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        text = entry.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
