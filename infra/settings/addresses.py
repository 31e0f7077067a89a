"""Addresses of services: `host:port`, or a name in DNS with the port of all its replicas."""

from infra.settings.variables import BadSetting

# What begins a name that is looked up in DNS, in an address; the server to ask (`dns://server/name`) cannot be chosen.
SCHEME, DNS = "dns://", "dns:///"


def split_address(text: str, *, after: str = "") -> tuple[str, int]:
    """`host:port`, after a prefix, as a pair.

    Raises:
        BadSetting: the text has another form.
    """
    host, _, port = text.strip().removeprefix(after).rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise BadSetting(f"{text!r} is not {after}host:port")
    return host.strip("[]"), int(port)
