"""Auth and session wired as in their main modules, inside the test's process and over real gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts import envelope, subjects
from contracts.durable_consumers import PASSWORD_ENDINGS
from contracts.events.session import AccountAlerted
from contracts.rpc.vestnik.auth.v1 import AuthServiceStub
from contracts.rpc.vestnik.session.v1 import SessionServiceStub, Tokens, ValidateSessionRequest
from contracts.subjects import DATA_EXPORTS
from contracts.values.addresses import Keeps
from infra.embedded.ports import free_port
from infra.rpc.client import Client
from infra.rpc.server import RpcServer
from infra.runtime.connections import open_pool
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import Secrets
from infra.settings import Settings
from projections.engine.read_model import ReadModel
from projections.engine.running.runner_group import Runners
from projections.login_failures import LoginFailures
from projections.session_audit import SessionAudit
from projections.sessions import Sessions
from projections.users import Users
from services.auth.alerts.not_me import NotMeReports
from services.auth.claim_keys import ClaimKeys
from services.auth.clients import Sessions as SessionClient
from services.auth.commands import Commands as AuthCommands
from services.auth.data_export.commands import DataExportCommands
from services.auth.data_export.store import FileStore
from services.auth.data_keys.creation import DataKeyCreation
from services.auth.data_keys.holds import Holds
from services.auth.data_keys.rings import RecordedKeys
from services.auth.email_change.chain import OwnAddress
from services.auth.email_change.change import EmailChanges
from services.auth.email_change.mails import EmailChangeMails
from services.auth.email_change.undo import EmailChangeUndoing
from services.auth.erasure.commands import Erasures
from services.auth.erasure.decisions import ErasureTerms
from services.auth.failures.failed_logins import FailedLogins
from services.auth.failures.queries import FailureQueries
from services.auth.login import Login
from services.auth.mail.delivery import Delivery
from services.auth.mail.transport import MailTransport
from services.auth.passwords.change import Addresses, PasswordChanges
from services.auth.passwords.hashing import Passwords
from services.auth.passwords.weak_passwords import WeakPasswords
from services.auth.queries import Queries as AuthQueries
from services.auth.reactions import PasswordEndings
from services.auth.repositories import Aggregates
from services.auth.second_factor.codes import RecoveryDigests
from services.auth.second_factor.commands import SecondFactors
from services.auth.second_factor.sealing import SecretSeal
from services.auth.server import AuthServer
from services.auth.tokens.device_tokens import DeviceTokens
from services.auth.tokens.email_change_undo import EmailChangeUndoTokens
from services.auth.tokens.email_verification import Verification, VerificationTokens
from services.auth.tokens.not_me import NotMeTokens
from services.auth.tokens.password_reset import Reset, ResetTokens
from services.session.commands import Commands as SessionCommands
from services.session.domain import Terms as SessionTerms
from services.session.queries import Queries as SessionQueries
from services.session.server import SessionServer
from services.session.tokens import AccessTokens, RefreshTokens
from streams.jetstream.key_value import KeyValue
from streams.log import Log
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.reactions.reactor import EventReactor
from streams.reactions.retries import Retries
from tests.conditions import until
from tests.integration.authorized_client import ActingClient

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
TERMS = KeyTerms(lead=timedelta(seconds=600), life=timedelta(seconds=900))
ERASURE = ErasureTerms(grace=14 * DAY, name_reuse=30 * DAY)
PASSWORD = "correct horse"


class Clock:
    """A clock that tests can move forward."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return envelope.now() + self._ahead

    def forward(self, span: timedelta) -> None:
        self._ahead += span


async def nowhere(user_id: str) -> str:
    """Returns no address for any user."""
    return ""


class Auth:
    """The domain side of one replica of auth: its own caches, shared streams."""

    def __init__(self, nats: NATS, secrets: Secrets, clock: Callable[[], datetime] = envelope.now) -> None:
        self.aggregates = Aggregates(Log(nats))
        self.master_keys = secrets.personal_data_keys(TERMS)
        self.passwords = Passwords(4, secrets.password_key)
        self.weak = WeakPasswords(frozenset({"password1"}))
        self.keys = ClaimKeys(secrets.claims_key)
        self.tokens = VerificationTokens(secrets.mail_key)
        self.resets = ResetTokens(secrets.mail_key)
        self.devices = DeviceTokens(secrets.devices_key)
        self.failures = FailedLogins(self.aggregates.login_failures, clock=clock)
        self.undos = EmailChangeUndoTokens(secrets.mail_key)
        self.reported = NotMeTokens(secrets.mail_key)
        self.clock = clock
        self.email_changes = EmailChanges(
            self.aggregates, self.passwords, self.keys, self.failures, lifetime=DAY, clock=clock
        )
        self.second_factors = SecondFactors(
            self.aggregates,
            self.passwords,
            SecretSeal(secrets.totp_keys(TERMS)),
            RecoveryDigests(secrets.password_key),
            self.devices,
            self.failures,
            host="chat.example.org",
            clock=clock,
        )
        self.commands = AuthCommands(
            self.aggregates,
            self.passwords,
            self.weak,
            self.keys,
            self.tokens,
            self.email_changes,
            self.failures,
            lifetime=DAY,
            clock=clock,
        )

    async def token(self, email: str) -> str:
        """The token in the latest mail to the address: that of its newest registration."""
        key = self.keys.of_email(email)
        newest = (await self.aggregates.addresses.load(key)).state.pending[-1]
        return self.tokens.sign(Verification(user_id=newest.user_id, claim_key=key, expires_at=newest.expires_at))

    def delivery(self, outbox: MailTransport, *, mails_an_hour: int = 1000) -> Delivery:
        return Delivery(self.aggregates, self.keys, outbox, mails_an_hour=mails_an_hour, clock=self.clock)

    def changes(self, sessions: SessionClient, addresses: Addresses = nowhere) -> PasswordChanges:
        return PasswordChanges(
            self.aggregates,
            self.passwords,
            self.weak,
            addresses,
            self.keys,
            self.resets,
            sessions,
            self.devices,
            self.failures,
            self.second_factors,
            lifetime=HOUR,
            clock=self.clock,
        )

    def data_keys(self, nats: NATS) -> DataKeyCreation:
        return DataKeyCreation(self.aggregates.users, self.key_creation(nats), clock=self.clock)

    def holds(self) -> Holds:
        return Holds(self.aggregates.users, self.aggregates.data_keys)

    def key_creation(self, nats: NATS) -> KeyCreation:
        return KeyCreation(KeyStore(nats), self.master_keys, RecordedKeys(self.aggregates.log))

    def login(
        self, sessions: SessionClient, addresses: Addresses = nowhere, *, passwords: Passwords | None = None
    ) -> Login:
        return Login(
            self.aggregates,
            passwords or self.passwords,
            self.keys,
            sessions,
            self.devices,
            self.second_factors,
            addresses,
            self.failures,
            clock=self.clock,
        )

    def erasures(self, sessions: SessionClient, own_address: OwnAddress, terms: ErasureTerms = ERASURE) -> Erasures:
        return Erasures(
            self.aggregates,
            self.passwords,
            self.keys,
            sessions,
            own_address,
            self.failures,
            terms,
            clock=self.clock,
        )

    def email_change_mails(self, page: str = "https://chat.example.org") -> EmailChangeMails:
        return EmailChangeMails(self.aggregates, self.tokens, self.undos, self.reported, page=page, clock=self.clock)

    def email_undo(self, sessions: SessionClient) -> EmailChangeUndoing:
        return EmailChangeUndoing(self.aggregates, self.undos, sessions, reset_lifetime=HOUR, clock=self.clock)

    async def reset_token(self, email: str, expires_at: datetime | None = None) -> str:
        """The token that a reset mail to the address would contain."""
        owner = (await self.aggregates.addresses.load(self.keys.of_email(email))).state.owner
        assert owner is not None
        credential = (await self.aggregates.credentials.load(owner)).state
        asked = Reset(user_id=owner, credential=credential.generation, expires_at=expires_at or self.clock() + HOUR)
        return self.resets.sign(asked)


def session_commands(
    nats: NATS,
    secrets: Secrets,
    clock: Callable[[], datetime] = envelope.now,
    *,
    log: Log | None = None,
    keeps_addresses: Keeps = "full",
) -> SessionCommands:
    return SessionCommands(
        log or Log(nats),
        RefreshTokens(secrets.refresh_key),
        AccessTokens(secrets.signing_keys(TERMS), issuer="https://chat.example.org", seconds=900),
        terms=SessionTerms(30 * DAY, 90 * DAY),
        keeps_addresses=keeps_addresses,
        clock=clock,
    )


class Services:
    """Both services behind gRPC, called as the gateway calls them."""

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        auth: Auth,
        log: Log,
        sessions: SessionClient,
        auth_queries: AuthQueries,
        session_queries: SessionQueries,
    ) -> None:
        self.settings = settings
        self.secrets = secrets
        self.auth_replica = auth
        self.log = log
        # The client with which auth calls session.
        self.sessions = sessions
        self.from_auth = ActingClient("session", me="auth", settings=settings, secrets=secrets)
        self.from_operator = ActingClient("session", me="operator", settings=settings, secrets=secrets)
        self.auth_queries = auth_queries
        self.session_queries = session_queries
        self.to_auth = ActingClient("auth", settings=settings, secrets=secrets)
        self.to_session = ActingClient("session", settings=settings, secrets=secrets)
        self.auth = self.to_auth.stub(AuthServiceStub)
        self.session = self.to_session.stub(SessionServiceStub)


@asynccontextmanager
async def running(nats: NATS, database_url: str, secrets: Secrets) -> AsyncIterator[Services]:
    settings = Settings(
        addresses={service: f"127.0.0.1:{free_port()}" for service in ("auth", "session")},
        public_url="https://chat.example.org",
    )
    async with AsyncExitStack() as stack:
        pool = await open_pool(database_url, "test")
        stack.push_async_callback(pool.close)
        runners = Runners([Users, LoginFailures, Sessions, SessionAudit], nats, pool, database_url)
        await runners.start()
        stack.push_async_callback(runners.stop)
        auth = Auth(nats, secrets)
        stack.callback(auth.passwords.close)
        between = Client("session", me="auth", settings=settings, secrets=secrets)
        stack.callback(between.close)
        sessions = SessionClient(between)
        queries = AuthQueries(ReadModel(Users, pool, runners.waiting), auth.aggregates)
        login = auth.login(sessions, queries.address_of)
        reports = NotMeReports(
            auth.aggregates, NotMeTokens(secrets.mail_key), auth.resets, sessions, lifetime=HOUR, clock=auth.clock
        )
        recorded = FailureQueries(ReadModel(LoginFailures, pool, runners.waiting))
        changes = auth.changes(sessions, queries.address_of)
        session_queries = SessionQueries(ReadModel(Sessions, pool, runners.waiting))
        session = SessionServer(session_commands(nats, secrets), session_queries, Log(nats))
        files = FileStore(KeyValue(nats, DATA_EXPORTS), secrets.mail_key, most_bytes=1024**2)
        servers = {
            "auth": RpcServer(
                "auth",
                [
                    AuthServer(
                        auth.commands,
                        login,
                        changes,
                        auth.second_factors,
                        auth.email_changes,
                        auth.email_undo(sessions),
                        queries,
                        recorded,
                        reports,
                        auth.data_keys(nats),
                        auth.holds(),
                        DataExportCommands(auth.aggregates, files, clock=auth.clock),
                        auth.erasures(sessions, queries.own_address),
                    )
                ],
                secrets=secrets,
            ),
            "session": RpcServer("session", [session], secrets=secrets),
        }
        for name, server in servers.items():
            await server.start(*settings.listen_address(name))
            server.set_ready(True)
            stack.push_async_callback(server.drain, 1.0)
        services = Services(settings, secrets, auth, Log(nats), sessions, queries, session_queries)
        stack.callback(services.to_auth.close)
        stack.callback(services.to_session.close)
        stack.callback(services.from_auth.close)
        stack.callback(services.from_operator.close)
        endings = asyncio.create_task(
            EventReactor(
                nats,
                PASSWORD_ENDINGS,
                PasswordEndings(sessions, auth.second_factors).complete,
                ack_wait=1.0,
                retries=Retries(first_pause=0.05),
            ).run()
        )
        stack.push_async_callback(_cancelled, endings)
        await until(runners.ready)
        yield services


@pytest_asyncio.fixture
async def services(streams: NATS, database_url: str, secrets: Secrets) -> AsyncIterator[Services]:
    async with running(streams, database_url, secrets) as made:
        yield made


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def active(services: Services, tokens: Tokens) -> bool:
    request = ValidateSessionRequest(session_id=tokens.session_id)
    return (await services.to_session.call(services.session.validate_session, request)).active


async def alerts_about(services: Services, user_id: str) -> list[AccountAlerted]:
    messages = await services.log.read(subjects.alerts(user_id))
    return [event for message in messages if isinstance(event := message.open().data, AccountAlerted)]


def mails(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.eml"))


class Stored(msgspec.Struct, frozen=True):
    """The parts of a stored event that tests check."""

    sequence: int
    subject: str
    type: str
    id: str
    causation_id: str | None


async def stored(nats: NATS, stream: str) -> list[Stored]:
    """Returns all events of the stream, in order."""
    jetstream = nats.jetstream()
    end = (await jetstream.stream_info(stream)).state.last_seq
    events = []
    for sequence in range(1, end + 1):
        message = await jetstream.get_msg(stream, sequence)
        assert message.data is not None
        sealed = envelope.decode(message.data)
        events.append(Stored(sequence, str(message.subject), sealed.type, sealed.id, sealed.causation_id))
    return events
