"""Network addresses in events: as much of an address as is recorded, and the comparison of recorded addresses."""

import ipaddress
import re
from functools import lru_cache
from typing import Literal

Keeps = Literal["full", "prefix", "none"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Bits kept of a prefix: enough to locate a network roughly, not to identify a user.
_IPV4_PREFIX, _IPV6_PREFIX = 24, 48
_SCOPE = re.compile("%[^/]*")


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


def network_of(address: str) -> str | None:
    """Returns the recorded address as a network with its bits, `192.0.2.1/32`; None if it is not of IP."""
    network = parse_network(address)
    return None if network is None else str(network)


@lru_cache(maxsize=10_000)
def parse_network(text: str) -> Network | None:
    """Parses an address or a network, ignoring host bits and an IPv6 scope; None if it is neither."""
    try:
        network = ipaddress.ip_network(_SCOPE.sub("", text), strict=False)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}", strict=False)
    return network


def overlap(one: Network, other: Network) -> bool:
    """Whether the networks have an address in common. A single address is a network of one."""
    return one.version == other.version and one.overlaps(other)
