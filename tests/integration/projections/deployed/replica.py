"""A service's process with one of the two versions: answers a sequence with its count as of that sequence or later.

Usage: replica.py before|after PORT, with the settings of a service in the environment.
"""

import asyncio
import importlib
import sys

import msgspec

from contracts.errors import VestnikError
from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import MessagingServiceBase
from contracts.subjects import MESSAGING
from infra.logs.log_setup import configure_logging
from infra.runtime.service_process import service_process
from infra.settings import Settings
from projections.engine import Projection, ReadModel, Runners


class Count(msgspec.Struct):
    messages: int


class Answer(msgspec.Struct):
    messages: int = 0
    sequence: int = 0
    error: str = ""


async def main(deployed: str, port: int) -> None:
    talks: type[Projection] = importlib.import_module(f"tests.integration.projections.deployed.{deployed}").Talks
    settings = Settings.load()
    configure_logging(settings, "messaging")
    async with service_process("messaging", settings) as process:
        runners = Runners([talks], process.nats, process.pool, settings.database_url)
        await runners.start()
        model = ReadModel(talks, process.pool, runners.waiting)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await counted(model, int(line))) + b"\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", port)
        try:
            process.spawn(runners.watch(), "projections")
            process.ready_when(runners.ready)
            # Only the service's health is used; none of its methods is called.
            await process.serve([MessagingServiceBase()])
        finally:
            server.close()
            await runners.stop()


async def counted(model: ReadModel, sequence: int) -> Answer:
    try:
        await model.wait_for(Position.at(MESSAGING, sequence))
        rows, position = await model.select(Count, "SELECT coalesce(sum(messages), 0)::bigint AS messages FROM {talks}")
    except VestnikError as error:
        return Answer(error=error.code)
    return Answer(rows[0].messages, position.sequence(MESSAGING))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
