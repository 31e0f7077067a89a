"""Composition root of the auth service: gRPC server, reactions, users projection."""

from datetime import timedelta
from urllib.parse import urlsplit

from contracts.durable_consumers import (
    ACCOUNT_ALERTS,
    DATA_EXPORT_ALERTS,
    EMAIL_ALERTS,
    PASSWORD_ALERTS,
    SECOND_FACTOR_ALERTS,
    SESSION_ALERTS,
)
from contracts.subjects import DATA_EXPORTS
from infra.runtime.service_process import service_process
from infra.security.key_lifecycle import KeyTerms
from infra.settings import Settings
from projections.engine.read_model import ReadModel
from projections.engine.read_servers import read_servers
from projections.engine.running.runner_group import Runners
from projections.registry import find, owned_by
from services.auth import reads
from services.auth.alerts.not_me import NotMeReports
from services.auth.alerts.reaction import AccountAlerts
from services.auth.alerts.recipients import Recipients
from services.auth.claim_keys import ClaimKeys
from services.auth.clients import Drafts, Messages, Sessions
from services.auth.commands import Commands
from services.auth.data_export.clients import Services
from services.auth.data_export.commands import DataExportCommands
from services.auth.data_export.reactions import DataExportMails, DataExportMaking
from services.auth.data_export.store import FileStore
from services.auth.data_keys.creation import DataKeyCreation
from services.auth.data_keys.holds import Holds
from services.auth.data_keys.reactions import KeyDestructions
from services.auth.data_keys.retention import KeyRetention
from services.auth.data_keys.rings import RecordedKeys
from services.auth.data_keys.unrecorded import UnrecordedKeys
from services.auth.email_change.change import EmailChanges
from services.auth.email_change.mails import EmailChangeMails
from services.auth.email_change.undo import EmailChangeUndoing
from services.auth.erasure.commands import Erasures
from services.auth.erasure.decisions import ErasureTerms
from services.auth.erasure.process import ErasureProcess
from services.auth.erasure.queries import ErasureQueries
from services.auth.erasure.reactions import AccountEndings
from services.auth.erasure.registrations import EndedRegistrations
from services.auth.erasure.removal import Removal
from services.auth.failures.failed_logins import FailedLogins
from services.auth.failures.queries import FailureQueries
from services.auth.login import Login
from services.auth.mail.delivery import Delivery
from services.auth.mail.transport import FolderTransport, outbox
from services.auth.passwords.change import PasswordChanges
from services.auth.passwords.hashing import Passwords
from services.auth.passwords.weak_passwords import WeakPasswords, common_passwords
from services.auth.queries import Queries
from services.auth.reactions import MAIL_RETRIES, AccountMails, PasswordEndings, SecurityNotices
from services.auth.repositories import Aggregates
from services.auth.second_factor.codes import RecoveryDigests
from services.auth.second_factor.commands import SecondFactors
from services.auth.second_factor.sealing import SecretSeal
from services.auth.server import AuthServer
from services.auth.tokens.device_tokens import DeviceTokens
from services.auth.tokens.email_change_undo import EmailChangeUndoTokens
from services.auth.tokens.email_verification import VerificationTokens
from services.auth.tokens.not_me import NotMeTokens
from services.auth.tokens.password_reset import ResetTokens
from streams.jetstream.key_value import KeyValue
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.reactions.reactor import EventReactor


async def main(settings: Settings) -> None:
    transport = outbox(settings.smtp_url, settings.mail_from, settings.data_dir / "mail")
    weak = WeakPasswords(common_passwords())
    async with service_process("auth", settings) as process:
        aggregates = Aggregates(process.log)
        key_store = KeyStore(process.nats)
        master_keys = process.secrets.personal_data_keys(KeyTerms.of(settings))
        data_keys = DataKeyCreation(aggregates.users, KeyCreation(key_store, master_keys, RecordedKeys(process.log)))
        process.seal(data_keys.create_own)
        passwords = Passwords(settings.bcrypt_cost, process.secrets.password_key)
        keys = ClaimKeys(process.secrets.claims_key)
        tokens = VerificationTokens(process.secrets.mail_key)
        lifetime = timedelta(hours=settings.verification_hours)
        failures = FailedLogins(
            aggregates.login_failures,
            keeps_addresses=settings.audit_address,
            keep_origins=timedelta(days=settings.address_retention_days) or None,
        )
        email_changes = EmailChanges(aggregates, passwords, keys, failures, lifetime=lifetime)
        commands = Commands(aggregates, passwords, weak, keys, tokens, email_changes, failures, lifetime=lifetime)
        runners = Runners(owned_by("auth"), process.nats, process.pool, settings.database_url)
        queries = Queries(ReadModel(find("users"), process.pool, runners.waiting), aggregates)
        recorded = FailureQueries(ReadModel(find("login_failures"), process.pool, runners.waiting))
        resets, sessions = ResetTokens(process.secrets.mail_key), Sessions(process.client("session"))
        devices = DeviceTokens(process.secrets.devices_key)
        reset_lifetime = timedelta(minutes=settings.password_reset_minutes)
        second_factors = SecondFactors(
            aggregates,
            passwords,
            SecretSeal(process.secrets.totp_keys(KeyTerms.of(settings))),
            RecoveryDigests(process.secrets.password_key),
            devices,
            failures,
            host=urlsplit(settings.issuer).hostname or "",
        )
        changes = PasswordChanges(
            aggregates,
            passwords,
            weak,
            queries.address_of,
            keys,
            resets,
            sessions,
            devices,
            failures,
            second_factors,
            lifetime=reset_lifetime,
        )
        undos = EmailChangeUndoTokens(process.secrets.mail_key)
        email_undo = EmailChangeUndoing(aggregates, undos, sessions, reset_lifetime=reset_lifetime)
        login = Login(aggregates, passwords, keys, sessions, devices, second_factors, queries.address_of, failures)
        await runners.start()
        process.ready_when(runners.ready)
        process.spawn(runners.watch(), "projections")
        delivery = Delivery(aggregates, keys, transport, mails_an_hour=settings.mails_an_hour)
        reported = NotMeTokens(process.secrets.mail_key)
        change_mails = EmailChangeMails(aggregates, tokens, undos, reported, page=settings.issuer)
        mails = AccountMails(aggregates, tokens, resets, change_mails, delivery, page=settings.issuer)
        process.spawn(mails.run(process.nats), "account mail")
        notices = SecurityNotices(aggregates, delivery, page=settings.issuer)
        process.spawn(notices.run(process.nats), "security notices")
        endings = PasswordEndings(sessions, second_factors)
        process.spawn(endings.run(process.nats), "password endings")
        process.spawn(failures.run(), "failed logins")
        reports = NotMeReports(aggregates, reported, resets, sessions, lifetime=reset_lifetime)
        recipients = Recipients(aggregates, keys, queries)
        alerts = AccountAlerts(aggregates, recipients, sessions, reported, delivery, page=settings.issuer)
        files = FileStore(
            KeyValue(process.nats, DATA_EXPORTS),
            process.secrets.mail_key,
            most_bytes=settings.data_export_mb * 1024**2,
        )
        making = DataExportMaking(aggregates, files, Services(process.client), queries, recorded, recipients)
        process.spawn(making.run(process.nats), "copies of users' data")
        export_mails = DataExportMails(aggregates, recipients, delivery, page=settings.issuer)
        process.spawn(export_mails.run(process.nats), "mails about copies of users' data")
        destruction = KeyDestruction(key_store)
        process.spawn(KeyDestructions(destruction).run(process.nats), "destruction of keys")
        # Without a term of messages too: origins of logins may have had one.
        keep = timedelta(days=settings.message_retention_days) or None
        retention = KeyRetention(key_store, aggregates.data_keys, Messages(process.client("messaging")), keep)
        process.spawn(retention.run(), "retention of keys")
        erasures = Erasures(
            aggregates,
            passwords,
            keys,
            sessions,
            queries.own_address,
            failures,
            ErasureTerms(
                grace=timedelta(days=settings.erasure_grace_days), name_reuse=timedelta(days=settings.name_reuse_days)
            ),
        )
        written = transport if isinstance(transport, FolderTransport) else None
        if written is not None:
            process.spawn(written.remove_nameless(), "old mails that name no user")
        removal = Removal(aggregates, destruction, sessions, Drafts(process.client("messaging")), files, written)
        account_endings = AccountEndings(aggregates.users, sessions, removal)
        process.spawn(account_endings.run(process.nats), "what follows the erasure of an account")
        timers = ErasureQueries(ReadModel(find("erasures"), process.pool, runners.waiting))
        process.spawn(ErasureProcess(erasures, timers, key_store, removal).run(), "erasures")
        registrations = EndedRegistrations(key_store, aggregates.users, erasures, lifetime)
        process.spawn(registrations.run(), "registrations that have ended")
        process.spawn(UnrecordedKeys(key_store, aggregates.data_keys).run(), "keys without a record")
        for durable in (
            SESSION_ALERTS,
            PASSWORD_ALERTS,
            SECOND_FACTOR_ALERTS,
            EMAIL_ALERTS,
            DATA_EXPORT_ALERTS,
            ACCOUNT_ALERTS,
        ):
            reactor = EventReactor(process.nats, durable, alerts.alert, at_once=2, retries=MAIL_RETRIES)
            process.spawn(reactor.run(), durable.name)
        try:
            server = AuthServer(
                commands,
                login,
                changes,
                second_factors,
                email_changes,
                email_undo,
                queries,
                recorded,
                reports,
                data_keys,
                Holds(aggregates.users, aggregates.data_keys),
                DataExportCommands(aggregates, files),
                erasures,
            )
            shown = read_servers(reads, lambda name: ReadModel(find(name), process.pool, runners.waiting))
            await process.serve([server, *shown])
        finally:
            await failures.close()
            await runners.stop()
            passwords.close()
