"""Composition root of the session service: gRPC server, projections, removal of retired keys."""

from datetime import timedelta

from infra.runtime.service_process import service_process
from infra.security.access_keys import AccessKeys
from infra.security.key_lifecycle import KeyTerms
from infra.settings import Settings
from projections.engine.read_model import ReadModel
from projections.engine.read_servers import read_servers
from projections.engine.running.runner_group import Runners
from projections.registry import find, owned_by
from services.session import domain, reads
from services.session.commands import Commands
from services.session.key_cleanup import remove_retired_keys
from services.session.late_sessions import LateSessions
from services.session.queries import Queries
from services.session.server import SessionServer
from services.session.tokens import AccessTokens, RefreshTokens


async def main(settings: Settings) -> None:
    async with service_process("session", settings) as process:
        terms = KeyTerms.of(settings)
        keys = process.secrets.signing_keys(terms)
        commands = Commands(
            process.log,
            RefreshTokens(process.secrets.refresh_key),
            AccessTokens(keys, issuer=settings.issuer, seconds=settings.access_token_seconds),
            terms=domain.Terms(
                timedelta(days=settings.session_days),
                timedelta(days=settings.session_longest_days),
                timedelta(days=settings.address_retention_days) or None,
            ),
            keeps_addresses=settings.audit_address,
        )
        runners = Runners(owned_by("session"), process.nats, process.pool, settings.database_url)
        await runners.start()
        queries = Queries(ReadModel(find("sessions"), process.pool, runners.waiting))
        process.ready_when(runners.ready)
        process.spawn(runners.watch(), "projections")
        process.spawn(remove_retired_keys(AccessKeys(settings.secrets_path, terms)), "retired keys")
        process.spawn(LateSessions(commands, queries).run(), "sessions of erased users")
        try:
            shown = read_servers(reads, lambda name: ReadModel(find(name), process.pool, runners.waiting))
            await process.serve([SessionServer(commands, queries, process.log), *shown])
        finally:
            await runners.stop()
