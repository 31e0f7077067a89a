"""Puts auth together: commands, login and queries behind gRPC, the mail reaction and the users projection beside."""

from datetime import timedelta

from infra.process import service_process
from infra.settings import Settings
from projections.engine.read_model import ReadModel
from projections.engine.runners import Runners
from projections.users import Users
from services.auth.aggregates import Aggregates
from services.auth.claims import ClaimKeys
from services.auth.clients import Sessions
from services.auth.commands import Commands
from services.auth.login import Login
from services.auth.outbox import outbox
from services.auth.passwords import Passwords
from services.auth.queries import Queries
from services.auth.reactions import VerificationMail
from services.auth.server import AuthServer
from services.auth.verification import VerificationTokens

CALLERS = {"gateway", "contact"}


async def main(settings: Settings) -> None:
    mails = outbox(settings.smtp_url, settings.mail_from, settings.data_dir / "mail")
    passwords = Passwords(settings.bcrypt_cost)
    async with service_process("auth", settings) as process:
        aggregates = Aggregates(process.log)
        keys = ClaimKeys(process.secrets.claims_key)
        tokens = VerificationTokens(process.secrets.mail_key)
        commands = Commands(aggregates, passwords, keys, tokens, lifetime=timedelta(hours=settings.verification_hours))
        login = Login(aggregates, passwords, keys, Sessions(process.client("session")))
        runners = Runners([Users], process.nats, process.pool, settings.database_url)
        await runners.start()
        queries = Queries(ReadModel(Users, process.pool, runners.waiting), aggregates)
        process.ready_when(runners.ready)
        process.spawn(runners.watch(), "projections")
        process.spawn(VerificationMail(process.nats, aggregates, tokens, mails).run(), "verification mail")
        try:
            await process.serve([AuthServer(commands, login, queries)], callers=CALLERS)
        finally:
            await runners.stop()
            passwords.close()
