"""Clients that request missed events and do not read them: they cost little memory and block no other client."""

import asyncio
import socket
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.people import Api, Person
from tests.fix_system import System
from tests.sse_client import Stream, listening

MESSAGES, TEXT = 300, "🦉" * 4_000
CLIENTS = 30
# MiB that each process may grow by. Clients that were sent whole pages of messages, without a turn, cost it 200.
MOST = 100
_UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: vestnik.v1\r\n"
)


def memory(system: System) -> dict[str, float]:
    """Resident memory of the processes of the gateway and of messaging, in MiB."""
    mebibytes = {}
    for process in system.processes():
        command = process.command
        if command[-2:-1] == ["serve"] and command[-1] in {"gateway", "messaging"} and process.alive:
            status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            mebibytes[command[-1]] = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))
    assert set(mebibytes) == {"gateway", "messaging"}
    return mebibytes


def opened(system: System, person: Person, path: str, since: str, more: str = "") -> socket.socket:
    """A connection with a small buffer that requests events and does not read them."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    line.connect(("127.0.0.1", urlsplit(system.url).port or 0))
    head = f"GET {path}?since={since} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.access_token}\r\n"
    line.sendall(f"{head}{more}\r\n".encode())
    return line


async def test_clients_that_read_nothing_of_what_they_missed_cost_little_memory(own_api: Api) -> None:
    system = own_api.system
    anna, boris = await own_api.friends()
    before = (await anna.get("/v1/conversations")).headers["Vestnik-Position"]
    for number in range(MESSAGES):
        await anna.sends(boris, f"{number:03}{TEXT[3:]}")
    # What was told lately would come from the gateway's memory.
    system.stop()
    system.start()
    at_first = memory(system)
    lines = [opened(system, boris, "/v1/events", before) for _ in range(CLIENTS)]
    lines += [opened(system, boris, "/v1/ws", before, _UPGRADE) for _ in range(CLIENTS)]
    for _ in range(40):
        # They are served while others are.
        assert (await anna.get("/v1/users/me")).status_code == 200
        grown = {name: now - at_first[name] for name, now in memory(system).items()}
        assert max(grown.values()) < MOST, grown
        await asyncio.sleep(0.1)
    for line in lines:
        line.close()
    # Several devices that read get all of it, at the same time.
    devices = [listening(system.url, boris.access_token, since=before) for _ in range(6)]
    await asyncio.gather(*(_all_of_it(device) for device in devices))


async def _all_of_it(device: AbstractAsyncContextManager[Stream]) -> None:
    async with device as stream:
        await stream.until(lambda received: len(received.events) >= MESSAGES, within=120)
        assert [event.data["sequence"] for event in stream.events] == list(range(1, MESSAGES + 1))
