"""Composition root of the auth service: gRPC server, mail and session reactors, users projection."""

from datetime import timedelta

from infra.runtime.service_process import service_process
from infra.settings import Settings
from projections.engine.read_model import ReadModel
from projections.engine.running.runner_group import Runners
from projections.registry import find, owned_by
from services.auth.claim_keys import ClaimKeys
from services.auth.clients import Sessions
from services.auth.commands import Commands
from services.auth.login import Login
from services.auth.mail.delivery import Delivery
from services.auth.mail.security_notices import SecurityNotices
from services.auth.mail.transport import outbox
from services.auth.passwords.change import PasswordChanges
from services.auth.passwords.hashing import Passwords
from services.auth.passwords.weak_passwords import WeakPasswords, common_passwords
from services.auth.queries import Queries
from services.auth.reactions import MailReactor, SessionRevoker
from services.auth.repositories import Aggregates
from services.auth.server import AuthServer
from services.auth.tokens.device_tokens import DeviceTokens
from services.auth.tokens.email_verification import VerificationTokens
from services.auth.tokens.password_reset import ResetTokens


async def main(settings: Settings) -> None:
    mails = outbox(settings.smtp_url, settings.mail_from, settings.data_dir / "mail")
    weak = WeakPasswords(common_passwords())
    async with service_process("auth", settings) as process:
        aggregates = Aggregates(process.log)
        passwords = Passwords(settings.bcrypt_cost, process.secrets.password_key)
        keys = ClaimKeys(process.secrets.claims_key)
        tokens = VerificationTokens(process.secrets.mail_key)
        commands = Commands(
            aggregates, passwords, weak, keys, tokens, lifetime=timedelta(hours=settings.verification_hours)
        )
        runners = Runners(owned_by("auth"), process.nats, process.pool, settings.database_url)
        queries = Queries(ReadModel(find("users"), process.pool, runners.waiting), aggregates)
        resets, sessions = ResetTokens(process.secrets.mail_key), Sessions(process.client("session"))
        devices = DeviceTokens(process.secrets.devices_key)
        changes = PasswordChanges(
            aggregates,
            passwords,
            weak,
            queries.address_of,
            keys,
            resets,
            sessions,
            devices,
            lifetime=timedelta(minutes=settings.password_reset_minutes),
        )
        login = Login(aggregates, passwords, keys, sessions, devices, queries.address_of)
        await runners.start()
        process.ready_when(runners.ready)
        process.spawn(runners.watch(), "projections")
        delivery = Delivery(aggregates, keys, mails, mails_an_hour=settings.mails_an_hour)
        account_mail = MailReactor(process.nats, aggregates, tokens, resets, delivery, page=settings.issuer)
        process.spawn(account_mail.run(), "account mail")
        notices = SecurityNotices(process.nats, aggregates, delivery, page=settings.issuer)
        process.spawn(notices.run(), "security notices")
        process.spawn(SessionRevoker(process.nats, sessions).run(), "password endings")
        try:
            await process.serve([AuthServer(commands, login, changes, queries)])
        finally:
            await runners.stop()
            passwords.close()
