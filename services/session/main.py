"""Puts session together: commands and queries behind gRPC, and the two projections of its stream."""

from datetime import timedelta

from infra.process import service_process
from infra.settings import Settings
from projections.engine.read_model import ReadModel
from projections.engine.runners import Runners
from projections.session_audit import SessionAudit
from projections.sessions import Sessions
from services.session.commands import Commands
from services.session.queries import Queries
from services.session.server import SessionServer
from services.session.tokens import AccessTokens, RefreshTokens

CALLERS = {"gateway", "auth"}


async def main(settings: Settings) -> None:
    async with service_process("session", settings) as process:
        key_id, key = process.secrets.access_signing_key()
        commands = Commands(
            process.log,
            RefreshTokens(process.secrets.refresh_key),
            AccessTokens(key_id, key, issuer=settings.issuer, seconds=settings.access_token_seconds),
            lifetime=timedelta(days=settings.session_days),
        )
        runners = Runners([Sessions, SessionAudit], process.nats, process.pool, settings.database_url)
        await runners.start()
        queries = Queries(ReadModel(Sessions, process.pool, runners.waiting))
        process.ready_when(runners.ready)
        process.spawn(runners.watch(), "projections")
        try:
            await process.serve([SessionServer(commands, queries, process.log)], callers=CALLERS)
        finally:
            await runners.stop()
