"""The networks between the hosts: a bridge for each network of the compose file, and the links of the hosts to them.

All of it is in the network namespace of the rehearsal itself, which has the first address in every network.
"""

import asyncio
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network

import msgspec

# A network without a subnet of its own gets one of these.
_SUBNETS = "10.77.{number}.0/24"
_HUB, _FIRST_HOST = 1, 101


class Link(msgspec.Struct, frozen=True):
    """A host's place in a network."""

    host: str
    network: str
    address: str
    aliases: tuple[str, ...]
    # The end of the link at the bridge.
    port: str
    # The end of the link on the host.
    device: str


class Links:
    def __init__(self, subnets: Mapping[str, str]) -> None:
        """`subnets`: by network, empty for any."""
        self._networks = {
            name: IPv4Network(subnet or _SUBNETS.format(number=number))
            for number, (name, subnet) in enumerate(subnets.items(), 1)
        }
        # By network.
        self.bridges = {name: f"bridge{number}" for number, name in enumerate(subnets, 1)}
        self._hosts: dict[str, int] = {}
        # By host: the pid of a process in its network namespace.
        self.namespaces: dict[str, int] = {}
        self.links: list[Link] = []

    def hub_address(self, network: str) -> str:
        return str(self._networks[network][_HUB])

    async def open(self) -> None:
        """Makes the bridges."""
        commands = ["link set lo up"]
        for name, bridge in self.bridges.items():
            commands += [
                f"link add {bridge} type bridge",
                f"address add {self.hub_address(name)}/{self._networks[name].prefixlen} dev {bridge}",
                f"link set {bridge} up",
            ]
        await ip(commands)

    async def attach(self, host: str, namespace: int, networks: Mapping[str, tuple[Sequence[str], str]]) -> None:
        """Links a host to networks; `networks`: by name the host's aliases and its address there, empty for any.

        `namespace`: the pid of a process in the host's network namespace.
        """
        number = self._hosts.setdefault(host, len(self._hosts))
        self.namespaces[host] = namespace
        commands, inside = [], ["link set lo up"]
        for position, (network, (aliases, fixed)) in enumerate(networks.items()):
            subnet, port = self._networks[network], f"h{number}n{position}"
            address = fixed or str(subnet[_FIRST_HOST + number])
            commands += [
                f"link add {port} type veth peer name eth{position} netns {namespace}",
                f"link set {port} master {self.bridges[network]} up",
            ]
            inside += [f"address add {address}/{subnet.prefixlen} dev eth{position}", f"link set eth{position} up"]
            self.links.append(Link(host, network, address, tuple(aliases), port, f"eth{position}"))
        await ip(commands)
        await ip(inside, namespace)

    async def cut(self, host: str) -> None:
        """Takes every link of the host down."""
        await ip([f"link set {link.port} down" for link in self.of(host)])

    async def heal(self, host: str) -> None:
        await ip([f"link set {link.port} up" for link in self.of(host)])

    def of(self, host: str) -> list[Link]:
        """The links of a host, its first network first."""
        return [link for link in self.links if link.host == host]

    def address_of(self, host: str) -> str:
        """The host's address in its first network, as the rehearsal reaches it."""
        return self.of(host)[0].address


async def ip(commands: Sequence[str], namespace: int = 0) -> None:
    """Runs commands of `ip`, in the rehearsal's network namespace or in that of a process."""
    await _batch("ip", commands, namespace)


async def tc(commands: Sequence[str], namespace: int = 0) -> None:
    """Runs commands of `tc`, which shapes what leaves a device."""
    await _batch("tc", commands, namespace)


async def _batch(tool: str, commands: Sequence[str], namespace: int) -> None:
    program = [tool, "-batch", "-"]
    if namespace:
        program = ["nsenter", "--target", str(namespace), "--net", *program]
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate("\n".join([*commands, ""]).encode())
    assert process.returncode == 0, f"{tool} failed: {output.decode()}"
