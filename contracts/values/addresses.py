"""Truncates the network address of a login before it is recorded, since events are kept."""

import ipaddress
from typing import Literal

Keeps = Literal["full", "prefix", "none"]
# Bits kept of a prefix: enough to locate a network roughly, not to identify a user.
_IPV4_PREFIX, _IPV6_PREFIX = 24, 48


def truncate_address(address: str, keeps: Keeps) -> str:
    """Returns the address to record: all of it, its network (`192.0.2.0/24`, `2001:db8::/48`), or nothing."""
    if keeps == "none":
        return ""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        # Not an IP address, so it has no network.
        return address if keeps == "full" else ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if keeps == "full":
        return str(parsed)
    bits = _IPV4_PREFIX if parsed.version == 4 else _IPV6_PREFIX
    return str(ipaddress.ip_network(f"{parsed}/{bits}", strict=False))
