"""Composition root of the profile service: gRPC and REST servers, profile creation, projections."""

import asyncio

from infra.rpc.service_tokens import Verifier
from infra.rpc.tls import HTTP, server_side
from infra.runtime.service_process import service_process
from infra.runtime.sockets import open_listener
from infra.settings import Settings
from projections.engine import ReadModel, Runners
from projections.registry import find, owned_by
from services.profile.commands import ProfileCommands, profile_repository
from services.profile.queries import ProfileQueries
from services.profile.reactions import create_profiles
from services.profile.rest import profile_app, serve_rest
from services.profile.server import ProfileServer


async def main(settings: Settings) -> None:
    async with service_process("profile", settings) as process:
        runners = Runners(owned_by("profile"), process.nats, process.pool, settings.database_url)
        await runners.start()
        try:
            queries = ProfileQueries(ReadModel(find("profiles"), process.pool, runners.waiting))
            commands = ProfileCommands(process.log, profile_repository(process.log), queries)
            process.spawn(create_profiles(process.nats, commands), "profile creation")
            process.spawn(runners.watch(), "projections")
            process.ready_when(runners.ready)

            stop = asyncio.Event()
            listener = open_listener(*settings.listen_address("profile_rest"), shared=settings.listen_shared == "on")
            app = profile_app(commands, Verifier("profile", process.secrets))
            context = server_side(settings, "profile", HTTP)
            rest_server = asyncio.create_task(serve_rest(app, listener, stop, settings.drain_seconds, context))
            try:
                await process.serve([ProfileServer(commands, queries)])
            finally:
                stop.set()
                await rest_server
        finally:
            await runners.stop()
