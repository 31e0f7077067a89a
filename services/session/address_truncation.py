"""How much of a network address the installation keeps of a login: decided when it is recorded, since events stay."""

import ipaddress
from typing import Literal

Keeps = Literal["full", "prefix", "none"]
# What is left of an address that says about where somebody is and not who: bits.
_IPV4_PREFIX, _IPV6_PREFIX = 24, 48


def truncate_address(address: str, keeps: Keeps) -> str:
    """What is recorded: all of it, its network (`192.0.2.0/24`, `2001:db8::/48`), or nothing."""
    if keeps == "none":
        return ""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        # Whatever it is, its network is not known.
        return address if keeps == "full" else ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if keeps == "full":
        return str(parsed)
    bits = _IPV4_PREFIX if parsed.version == 4 else _IPV6_PREFIX
    return str(ipaddress.ip_network(f"{parsed}/{bits}", strict=False))
