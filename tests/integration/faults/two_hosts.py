"""Two hosts with a link to each other in a network of their own, to see what faults of links do to their packets."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from tests.integration.faults.own_namespaces import in_own_namespaces
from tests.rehearsal.host import Host, Program
from tests.rehearsal.links import Links

ONE, OTHER = "one", "other"
_ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 9))
print("ready", flush=True)
while True:
    content, sender = s.recvfrom(65536)
    try:
        s.sendto(content, sender)
    except OSError:
        pass
"""
# Sends numbered datagrams and reads their echoes; prints for each echo its number and the seconds it took.
_PROBE = """
import json, socket, struct, sys, time
address, (count, size), (pause, wait) = sys.argv[1], map(int, sys.argv[2:4]), map(float, sys.argv[4:])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setblocking(False)
sent, echoes, errors = {}, [], 0
def read(until):
    while time.monotonic() < until and len(echoes) < count:
        try:
            number = struct.unpack(">I", s.recv(65536)[:4])[0]
            echoes.append([number, time.monotonic() - sent[number]])
        except BlockingIOError:
            time.sleep(0.0005)
for number in range(count):
    sent[number] = time.monotonic()
    try:
        s.sendto(struct.pack(">I", number).ljust(size, b"x"), (address, 9))
    except OSError:
        errors += 1
    read(time.monotonic() + pause)
read(time.monotonic() + wait)
print(json.dumps({"echoes": echoes, "errors": errors}))
"""


class Echoes(msgspec.Struct):
    # Number and seconds of each, in the order of arrival.
    echoes: list[tuple[int, float]]
    # Datagrams that could not be sent.
    errors: int

    @property
    def seconds(self) -> list[float]:
        return [seconds for _, seconds in self.echoes]

    @property
    def order(self) -> list[int]:
        return [number for number, _ in self.echoes]


class TwoHosts:
    def __init__(self, folder: Path) -> None:
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        program = Program(command=(sys.executable, "-I", "-S", "-c", _ECHO), environment={})
        self.links = Links({"net": ""})
        self.hosts = {name: Host(name, program, folder, folder / "resolv.conf") for name in (ONE, OTHER)}

    async def open(self) -> None:
        await self.links.open()
        for name, host in self.hosts.items():
            await host.open()
            await self.links.attach(name, host.network, {"net": ((), "")})
            await host.start()
        for host in self.hosts.values():
            async with asyncio.timeout(60):
                while b"ready" not in host.log_file.read_bytes():
                    await asyncio.sleep(0.05)

    async def close(self) -> None:
        for host in self.hosts.values():
            await host.close()

    async def probe(self, count: int = 1, *, pause: float = 0.0, size: int = 100, wait: float = 0.5) -> Echoes:
        """Sends datagrams from one host to the other; `wait`: seconds for the last echoes to come."""
        arguments = (self.links.address_of(OTHER), str(count), str(size), str(pause), str(wait))
        code, output = await self.hosts[ONE].run(sys.executable, "-I", "-S", "-c", _PROBE, *arguments)
        assert code == 0, output
        return msgspec.json.decode(output, type=Echoes)

    async def connected(self) -> None:
        """Waits until there is an echo; the first datagrams over a new link may be lost."""
        async with asyncio.timeout(60):
            while not (await self.probe()).echoes:
                pass


def on_two_hosts(act: Callable[[TwoHosts], Awaitable[None]], folder: Path) -> None:
    """Runs a test with two hosts; skips where there can be none."""

    async def run() -> None:
        two = TwoHosts(folder)
        try:
            await two.open()
            await act(two)
        finally:
            await two.close()

    in_own_namespaces(run)
