"""A system with real servers and minimal services, to test the supervisor in isolation.

python small_system.py up DATA_DIR PORT   runs it
python small_system.py serve SERVICE      is one of its services
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from grpclib.health.service import Health
from grpclib.server import Server

from infra.settings import Settings

if TYPE_CHECKING:
    from infra.embedded.child_process import Child, OnLine
    from infra.supervisor.service_program import StartProcess


def command_of(service: str) -> list[str]:
    return [sys.executable, __file__, "serve", service]


def broken_contact(service: str) -> list[str]:
    if service == "contact":
        return [sys.executable, "-c", "import sys; sys.exit('contact cannot')"]
    return command_of(service)


def started_with(command_for: Callable[[str], list[str]]) -> "StartProcess":
    """Starts each service as a program of its own."""

    from infra.embedded.child_process import Child

    async def start(
        service: str, environment: Mapping[str, str], descriptors: Mapping[str, int], on_line: "OnLine"
    ) -> "Child":
        numbers = {name: str(descriptor) for name, descriptor in descriptors.items()}
        return await Child.start(
            command_for(service),
            death_signal=signal.SIGKILL,
            environ={**os.environ, **environment, **numbers},
            on_line=on_line,
            descriptors=list(descriptors.values()),
        )

    return start


async def serve(service: str) -> None:
    settings = Settings.load(dotenv=None)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if service == "gateway":
        await _answer_http(settings, stop)
        return
    health = Health({})
    server = Server([health])
    await server.start(*settings.listen_address(service), reuse_port=settings.listen_shared == "on")
    print(f"{service} listens")  # noqa: T201 - read by the supervisor
    await stop.wait()
    server.close()
    await server.wait_closed()


async def _answer_http(settings: Settings, stop: asyncio.Event) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    with socket.socket(fileno=settings.listen_fd) as listener:
        server = await asyncio.start_server(answer, sock=listener)
        await stop.wait()
        server.close()


def main() -> None:
    if sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2]))
        return
    # Only here: the services, a hundred processes in one run of the tests, start in half the CPU time without them.
    from infra.supervisor.log_console import Console
    from infra.supervisor.system import System

    settings = Settings(data_dir=Path(sys.argv[2]), port=int(sys.argv[3]), log_level="info")
    settings = msgspec.structs.replace(settings, replicas=int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    start_process = started_with(broken_contact if sys.argv[1] == "up-broken" else command_of)
    asyncio.run(System(settings, Console(), start_process=start_process).run())


if __name__ == "__main__":
    main()
