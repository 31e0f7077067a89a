"""Composition root of the profile service: gRPC and REST servers, profile creation, projections."""

import asyncio

from infra.rpc.service_tokens import Verifier
from infra.rpc.tls import HTTP, server_side
from infra.runtime.service_process import service_process
from infra.runtime.sockets import open_listener
from infra.settings import Settings
from projections.engine import ReadModel, Runners
from projections.engine.read_servers import read_servers
from projections.registry import find, owned_by
from services.profile import reads
from services.profile.commands import ProfileCommands, profile_repository
from services.profile.queries import ProfileQueries
from services.profile.reactions import ProfileCreation, ProfileErasures
from services.profile.rest import profile_app, serve_rest
from services.profile.server import ProfileServer


async def main(settings: Settings) -> None:
    async with service_process("profile", settings) as process:
        runners = Runners(owned_by("profile"), process.nats, process.pool, settings.database_url)
        await runners.start()
        try:
            queries = ProfileQueries(ReadModel(find("profiles"), process.pool, runners.waiting))
            commands = ProfileCommands(process.log, profile_repository(process.log), queries)
            process.spawn(ProfileCreation(commands).run(process.nats), "profile creation")
            process.spawn(ProfileErasures(commands).run(process.nats), "profile erasures")
            process.spawn(runners.watch(), "projections")
            process.ready_when(runners.ready)

            stop = asyncio.Event()
            app = profile_app(commands, Verifier("profile", process.secrets))
            drained = asyncio.Event()

            async def rest() -> None:
                try:
                    if await process.accepts_calls():
                        address, shared = settings.listen_address("profile_rest"), settings.listen_shared == "on"
                        listener = open_listener(*address, shared=shared)
                        context = server_side(settings, "profile", HTTP)
                        await serve_rest(app, listener, stop, settings.drain_seconds, context)
                finally:
                    drained.set()

            process.spawn(rest(), "REST server")
            try:
                shown = read_servers(reads, lambda name: ReadModel(find(name), process.pool, runners.waiting))
                await process.serve([ProfileServer(commands, queries), *shown])
            finally:
                stop.set()
                await drained.wait()
        finally:
            await runners.stop()
