"""Alerts of an account: each event once, by mail and as `account.alerted`, whatever happens to those who send them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

import msgspec
import pyotp
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS
from nats.js.errors import NotFoundError

from contracts import envelope, subjects
from contracts.durable_consumers import (
    ACCOUNT_ALERTS,
    EMAIL_ALERTS,
    PASSWORD_ALERTS,
    SECOND_FACTOR_ALERTS,
    SESSION_ALERTS,
)
from contracts.envelope import Provenance
from contracts.errors import (
    InvalidCredentials,
    InvalidToken,
    RefreshTokenReused,
    TokenExpired,
    TotpNotBegun,
    VestnikError,
)
from contracts.events.session import AccountAlerted
from contracts.events.user import UserErasureRequested
from contracts.notification_kinds import ALERT_MAX_AGE, ALERTS_AN_HOUR
from contracts.positions import Position
from contracts.rpc.vestnik.auth.v1 import (
    ChangePasswordRequest,
    GetUserRequest,
    LoginRequest,
    LoginResponse,
    RegisterRequest,
    ReportNotMeRequest,
    RequestEmailChangeRequest,
    ResetPasswordRequest,
    UndoEmailChangeRequest,
    VerifyEmailRequest,
)
from contracts.rpc.vestnik.session.v1 import RefreshSessionRequest, Tokens, ValidateSessionRequest
from contracts.subjects import AUTH
from infra.rpc.call_context import Call
from infra.security.secrets import Secrets
from services.auth.alerts.not_me import LIFETIME
from services.auth.alerts.reaction import AccountAlerts
from services.auth.alerts.recipients import Recipients
from services.auth.email_change.decisions import HELD
from services.auth.mail.templates import Mail
from services.auth.mail.transport import DeliveryFailed
from services.auth.reactions import PasswordEndings
from services.auth.tokens.email_change_undo import EmailChangeUndo
from services.auth.tokens.not_me import NotMe, NotMeTokens
from streams.reactions.reactor import EventReactor
from streams.reactions.retries import Retries
from tests.integration.auth_and_session import PASSWORD, Clock, Services, eventually, running

ALERTS = (SESSION_ALERTS, PASSWORD_ALERTS, EMAIL_ALERTS, SECOND_FACTOR_ALERTS, ACCOUNT_ALERTS)
PAGE = "https://chat.example.org"


class Outbox:
    """Records the mails sent; after `failures` of them it reports that it could not send."""

    def __init__(self, failures: int = 0) -> None:
        self.sent: list[Mail] = []
        self.failures = failures

    async def send(self, letter: Mail) -> None:
        self.sent.append(letter)
        if self.failures:
            self.failures -= 1
            raise DeliveryFailed("the answer is lost")

    @property
    def kinds(self) -> list[str]:
        return [letter.kind for letter in self.sent]


@pytest_asyncio.fixture
async def services(streams: NATS, database_url: str, secrets: Secrets) -> AsyncIterator[Services]:
    async with running(streams, database_url, secrets) as made:
        yield made


@pytest_asyncio.fixture
async def anna(services: Services) -> str:
    return await register(services, "anna")


async def register(services: Services, name: str, language: str = "en") -> str:
    """Registers and verifies a user who has logged in once; returns the id."""
    answer = await services.to_auth.call(
        services.auth.register,
        RegisterRequest(email=f"{name}@example.org", username=name, password=PASSWORD, language=language),
    )
    assert answer.user is not None
    token = await services.auth_replica.token(f"{name}@example.org")
    await services.to_auth.call(services.auth.verify_email, VerifyEmailRequest(token=token))
    await log_in(services, name=name)
    return answer.user.user_id


async def log_in(
    services: Services, *, name: str = "anna", password: str = PASSWORD, device_token: str = ""
) -> LoginResponse:
    return await services.to_auth.call(
        services.auth.login,
        LoginRequest(
            login=name, password=password, device="Vestnik web, Firefox, Linux", address="192.0.2.1",
            device_token=device_token,
        ),
    )  # fmt: skip


def tokens_of(answer: LoginResponse) -> Tokens:
    assert answer.tokens is not None
    return answer.tokens


async def change(services: Services, tokens: Tokens, new: str) -> None:
    request = ChangePasswordRequest(
        user_id=tokens.user_id, current_password=PASSWORD, new_password=new, session_id=tokens.session_id
    )
    call = Call(request_id="request", actor=tokens.user_id)
    await services.to_auth.call(services.auth.change_password, request, context=call)


@asynccontextmanager
async def reacting(
    services: Services, outbox: Outbox, streams: NATS, clock: Clock | None = None
) -> AsyncIterator[None]:
    auth, clock = services.auth_replica, clock or Clock()
    delivery = auth.delivery(outbox)
    delivery._clock = clock
    tokens = NotMeTokens(services.secrets.mail_key)
    recipients = Recipients(auth.aggregates, auth.keys, services.auth_queries, clock=clock)
    alerts = AccountAlerts(auth.aggregates, recipients, services.sessions, tokens, delivery, page=PAGE, clock=clock)
    tasks = {
        asyncio.create_task(EventReactor(streams, durable, alerts.alert, retries=Retries(first_pause=0.05)).run())
        for durable in ALERTS
    }
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            assert task.cancelled(), task.exception()


async def settled(streams: NATS, *, waiting: int = 0) -> None:
    """Waits until the reactions have dealt with all events but those that wait for room."""
    async with asyncio.timeout(60):
        for durable in ALERTS:
            while True:
                with suppress(NotFoundError):  # not made yet
                    info = await streams.jetstream().consumer_info(durable.stream, durable.name)
                    if info.num_pending == 0 and info.num_ack_pending <= waiting:
                        break
                await asyncio.sleep(0.01)


async def alerts_about(services: Services, user_id: str) -> list[AccountAlerted]:
    messages = await services.log.read(subjects.alerts(user_id))
    return [event for message in messages if isinstance(event := message.open().data, AccountAlerted)]


async def test_a_login_from_a_new_device_is_mailed_and_the_first_one_and_known_devices_are_not(
    services: Services, streams: NATS, anna: str
) -> None:
    outbox = Outbox()
    async with reacting(services, outbox, streams):
        new = await log_in(services)
        await eventually(lambda: len(outbox.sent) == 1)
        await log_in(services, device_token=new.device_token)
        await settled(streams)
    (letter,) = outbox.sent
    assert (letter.kind, letter.recipient, letter.username) == ("alert_new_device", "anna@example.org", "anna")
    assert letter.circumstances is not None
    assert (letter.circumstances.device, letter.circumstances.address) == ("Vestnik web, Firefox, Linux", "192.0.2.1")
    assert letter.link.startswith(f"{PAGE}/#/not-me/")
    (alert,) = await alerts_about(services, anna)
    assert (alert.kind, alert.session_id) == ("new_device", tokens_of(new).session_id)


async def test_a_mail_about_an_erasure_names_the_time_that_is_left_when_it_is_sent(
    services: Services, streams: NATS, anna: str
) -> None:
    outbox, clock = Outbox(), Clock()
    request = UserErasureRequested(erase_at=clock() + timedelta(days=5))
    await services.auth_replica.aggregates.users.execute(anna, lambda _: (request,), Provenance())
    clock.forward(timedelta(days=2))
    async with reacting(services, outbox, streams, clock):
        await eventually(lambda: bool(outbox.sent))
    (letter,) = outbox.sent
    assert letter.kind == "alert_erasure_requested"
    assert letter.good_for is not None
    assert timedelta(days=2, hours=23) < letter.good_for < timedelta(days=3)


async def test_changes_and_resets_of_the_password_and_a_reused_token_are_mailed_in_the_owners_language(
    services: Services, streams: NATS
) -> None:
    boris = await register(services, "boris", "ru")
    outbox = Outbox()
    async with reacting(services, outbox, streams):
        tokens = tokens_of(await log_in(services, name="boris"))
        for _ in range(2):
            request = RefreshSessionRequest(refresh_token=tokens.refresh_token)
            answer = await services.to_session.call(services.session.refresh_session, request)
        assert answer.tokens is not None
        newest = RefreshSessionRequest(refresh_token=answer.tokens.refresh_token)
        await services.to_session.call(services.session.refresh_session, newest)
        with suppress(RefreshTokenReused):
            await services.to_session.call(services.session.refresh_session, request)
        await change(services, tokens_of(await log_in(services, name="boris")), "another horse")
        reset = ResetPasswordRequest(
            token=await services.auth_replica.reset_token("boris@example.org"), new_password="a third horse"
        )
        await services.to_auth.call(services.auth.reset_password, reset)
        await eventually(lambda: len(outbox.sent) >= 5)
        await settled(streams)
    kinds = Counter({"alert_new_device": 2, "alert_refresh_token_reused": 1})
    assert Counter(outbox.kinds) == kinds + Counter(["alert_password_changed", "alert_password_reset"])
    assert {letter.language for letter in outbox.sent} == {"ru"}
    assert {f"alert_{alert.kind}" for alert in await alerts_about(services, boris)} == set(outbox.kinds)


async def test_a_change_of_the_address_is_listed_without_a_mail_and_its_undo_ends_all_sessions(
    services: Services, streams: NATS, anna: str
) -> None:
    auth, outbox, call = services.auth_replica, Outbox(), Call(request_id="request", actor=anna)
    session = tokens_of(await log_in(services))

    async def address(position: str) -> str:
        of_user = msgspec.structs.replace(call, position=Position.decode(position))
        answer = await services.to_auth.call(services.auth.get_user, GetUserRequest(user_id=anna), context=of_user)
        assert answer.user is not None
        return answer.user.email

    wanted = RequestEmailChangeRequest(user_id=anna, email="New@example.org", password=PASSWORD)
    await services.to_auth.call(services.auth.request_email_change, wanted, context=call)
    confirmation = VerifyEmailRequest(token=await auth.token("new@example.org"), password=PASSWORD)
    confirmed = await services.to_auth.call(services.auth.verify_email, confirmation)
    assert await address(confirmed.position) == "New@example.org"
    assert await active(services, session)
    key = auth.keys.of_email("anna@example.org")
    until = (await auth.aggregates.addresses.load(key)).state.owner_until
    assert until is not None
    token = auth.undos.sign(EmailChangeUndo(user_id=anna, claim_key=key, until=until))
    for _ in range(2):
        undone = await services.to_auth.call(services.auth.undo_email_change, UndoEmailChangeRequest(token=token))
        assert await address(undone.position) == "anna@example.org"
    assert not await active(services, session)
    async with reacting(services, outbox, streams):
        await settled(streams)
    # Four consumers append them, each on its own.
    kinds = sorted(alert.kind for alert in await alerts_about(services, anna))
    assert kinds == ["email_changed", "email_changed", "new_device"]
    assert outbox.kinds == ["alert_new_device"]
    # A second factor that was turned on since the change ends with the reset.
    assert (await auth.aggregates.credentials.load(anna)).state.reported_at == until - HELD


async def test_an_event_is_alerted_once_by_two_replicas_and_after_their_consumers_were_lost(
    services: Services, streams: NATS, anna: str
) -> None:
    """As after an import into an empty system, where the reactions begin at the first event."""
    outbox = Outbox()
    async with reacting(services, outbox, streams), reacting(services, outbox, streams):
        await change(services, tokens_of(await log_in(services)), "another horse")
        await log_in(services, password="another horse")
        await eventually(lambda: len(outbox.sent) >= 3)
        await settled(streams)
    for durable in ALERTS:
        await streams.jetstream().delete_consumer(durable.stream, durable.name)
    async with reacting(services, outbox, streams):
        await settled(streams)
    assert sorted(outbox.kinds) == ["alert_new_device", "alert_new_device", "alert_password_changed"]
    assert len(await alerts_about(services, anna)) == 3


async def test_a_mail_whose_record_is_lost_is_sent_again_with_the_same_id_and_recorded_once(
    services: Services, streams: NATS, anna: str
) -> None:
    outbox = Outbox(failures=1)
    async with reacting(services, outbox, streams):
        await log_in(services)
        await eventually(lambda: len(outbox.sent) == 2)
        await settled(streams)
    assert len({letter.event_id for letter in outbox.sent}) == 1
    assert len(await alerts_about(services, anna)) == 1


async def test_an_old_event_is_neither_mailed_nor_listed(services: Services, streams: NATS, anna: str) -> None:
    await log_in(services)
    clock, outbox = Clock(), Outbox()
    clock.forward(ALERT_MAX_AGE + timedelta(hours=1))
    async with reacting(services, outbox, streams, clock):
        await settled(streams)
    assert outbox.sent == []
    assert await alerts_about(services, anna) == []


async def test_a_flood_of_logins_is_bounded_and_the_next_mail_covers_what_happened_since(
    services: Services, streams: NATS, anna: str
) -> None:
    clock, outbox = Clock(), Outbox()
    async with reacting(services, outbox, streams, clock):
        for _ in range(ALERTS_AN_HOUR):
            await log_in(services)
        await eventually(lambda: len(outbox.sent) == ALERTS_AN_HOUR)
        for _ in range(10):
            await log_in(services)
        await settled(streams, waiting=10)
        assert len(outbox.sent) == len(await alerts_about(services, anna)) == ALERTS_AN_HOUR
        # The mailbox has room again; the first of the waiting events to be tried is mailed and covers the earlier ones.
        clock.forward(timedelta(hours=1, minutes=1))
        for durable in ALERTS:
            await streams.jetstream().delete_consumer(durable.stream, durable.name)
        await eventually(lambda: len(outbox.sent) > ALERTS_AN_HOUR)
        await settled(streams, waiting=10)
    assert ALERTS_AN_HOUR < len(outbox.sent) <= ALERTS_AN_HOUR + 3


BY_NOBODY = Provenance(correlation_id="request")


def link(
    services: Services,
    user_id: str,
    *,
    generation: int = 1,
    at: datetime | None = None,
    email: str = "anna@example.org",
) -> str:
    """The token in the mail to that address about an event at that time."""
    report = NotMe(
        user_id=user_id,
        credential=generation,
        event_id=user_id,
        event_at=at or envelope.now(),
        claim_key=services.auth_replica.keys.of_email(email),
    )
    return NotMeTokens(services.secrets.mail_key).sign(report)


async def report(services: Services, token: str) -> str:
    answer = await services.to_auth.call(services.auth.report_not_me, ReportNotMeRequest(token=token))
    return answer.reset_token


async def reset(services: Services, token: str, new: str = "another horse") -> None:
    await services.to_auth.call(services.auth.reset_password, ResetPasswordRequest(token=token, new_password=new))


async def active(services: Services, tokens: Tokens) -> bool:
    request = ValidateSessionRequest(session_id=tokens.session_id)
    return (await services.to_session.call(services.session.validate_session, request)).active


async def test_the_link_in_a_mail_ends_all_sessions_and_the_password_until_a_reset(
    services: Services, streams: NATS, anna: str
) -> None:
    outbox = Outbox()
    async with reacting(services, outbox, streams):
        stolen = await log_in(services)
        await eventually(lambda: len(outbox.sent) == 1)
        token = outbox.sent[0].link.rpartition("/")[2]
        reset_token = await report(services, token)
        assert not await active(services, tokens_of(stolen))
        for device_token in ("", stolen.device_token):
            with pytest.raises(InvalidCredentials):
                await log_in(services, device_token=device_token)
        # The same until the password is reset, then never again.
        assert await report(services, token)
        await reset(services, reset_token)
        with pytest.raises(TokenExpired):
            await report(services, token)
        await log_in(services, password="another horse")
        await eventually(lambda: outbox.kinds.count("alert_password_reset") == 1)
        await settled(streams)
    messages = [message.open() for message in await services.log.read(subjects.credential(anna))]
    assert [message.type for message in messages] == ["credential.set", "password.voided", "password.changed"]
    assert messages[1].causation_id == (await alerts_about(services, anna))[0].about


async def test_a_thief_of_the_password_cannot_void_the_links_by_changing_it(services: Services, anna: str) -> None:
    token, thief = link(services, anna), tokens_of(await log_in(services))
    await change(services, thief, "the horse of a thief")
    await reset(services, await report(services, token))
    assert not await active(services, thief)
    with pytest.raises(InvalidCredentials):
        await log_in(services, password="the horse of a thief")


async def test_tokens_that_are_old_or_of_another_kind_end_nothing(services: Services, anna: str) -> None:
    tokens = tokens_of(await log_in(services))
    with pytest.raises(TokenExpired):
        await report(services, link(services, anna, at=envelope.now() - timedelta(days=7, minutes=1)))
    with pytest.raises(TokenExpired):
        await report(services, link(services, anna, generation=2))
    others = [await services.auth_replica.reset_token("anna@example.org"), "x", link(services, anna)[:-1]]
    for other in others:
        with pytest.raises(InvalidToken):
            await report(services, other)
    assert await active(services, tokens)


@pytest.mark.parametrize("rounds", [5])
async def test_a_report_that_races_logins_changes_and_resets_leaves_no_session_and_no_old_password(
    services: Services, anna: str, rounds: int
) -> None:
    password, generation = PASSWORD, 1
    for number in range(rounds):
        thief = tokens_of(await log_in(services, password=password))
        token, new = link(services, anna, generation=generation), f"horse number {number}"
        change_request = ChangePasswordRequest(
            user_id=anna, current_password=password, new_password="the horse of a thief", session_id=thief.session_id
        )
        mailed = ResetPasswordRequest(
            token=await services.auth_replica.reset_token("anna@example.org"), new_password="from an older mail"
        )
        outcomes = await asyncio.gather(
            *(log_in(services, password=password) for _ in range(3)),
            services.to_auth.call(
                services.auth.change_password, change_request, context=Call(request_id="request", actor=anna)
            ),
            services.to_auth.call(services.auth.reset_password, mailed),
            report(services, token),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, VestnikError) for outcome in outcomes if isinstance(outcome, BaseException))
        reported = outcomes[-1]
        if isinstance(reported, str):
            logged_in = [outcome for outcome in outcomes if isinstance(outcome, LoginResponse)]
            for ended in (thief, *map(tokens_of, logged_in)):
                assert not await active(services, ended)
            await reset(services, reported, new)
            password = new
        else:
            # The reset was first: it is the owner's, too, and it made the link useless.
            assert isinstance(reported, TokenExpired)
            password = "from an older mail"
        generation = (await services.auth_replica.aggregates.credentials.load(anna)).state.generation


async def turn_on(services: Services, user_id: str, password: str = PASSWORD) -> None:
    factors = services.auth_replica.second_factors
    begun = await factors.begin(user_id=user_id, password=password, provenance=BY_NOBODY)
    code = pyotp.TOTP(begun.secret).now()
    await factors.confirm(user_id=user_id, code=code, session_id="", provenance=BY_NOBODY)


async def has_second_factor(services: Services, user_id: str) -> bool:
    return (await services.auth_replica.aggregates.second_factors.load(user_id)).state.secret is not None


async def test_the_reset_removes_a_second_factor_that_was_turned_on_since_the_reported_event(
    services: Services, anna: str
) -> None:
    seen = envelope.now()
    for began, is_left in ((seen, False), (seen + LIFETIME, False), (seen + LIFETIME + timedelta(hours=1), True)):
        await turn_on(services, anna)
        generation = (await services.auth_replica.aggregates.credentials.load(anna)).state.generation
        await reset(services, await report(services, link(services, anna, generation=generation, at=began)), PASSWORD)
        assert await has_second_factor(services, anna) == is_left


async def test_a_reset_that_is_processed_again_leaves_a_second_factor_that_the_owner_set_up_after_it(
    services: Services, anna: str
) -> None:
    auth = services.auth_replica
    await reset(services, await report(services, link(services, anna)))
    await turn_on(services, anna, "another horse")
    changed = [message.open() for message in await services.log.read(subjects.credential(anna))][-1]
    assert changed.type == "password.changed"
    await PasswordEndings(services.sessions, auth.second_factors).complete(changed)
    assert await has_second_factor(services, anna)


async def test_a_set_up_that_was_begun_before_a_reset_is_not_confirmed_after_it(services: Services, anna: str) -> None:
    factors = services.auth_replica.second_factors
    begun = await factors.begin(user_id=anna, password=PASSWORD, provenance=BY_NOBODY)
    await reset(services, await report(services, link(services, anna)))
    code = pyotp.TOTP(begun.secret).now()
    with pytest.raises(TotpNotBegun):
        await factors.confirm(user_id=anna, code=code, session_id="", provenance=BY_NOBODY)


@pytest.mark.parametrize(
    "order", ["reset by mail first", "and then its own mail", "newest mail", "undo of a change of the address"]
)
async def test_a_second_factor_of_a_thief_is_removed_in_whatever_order_the_owner_takes_the_account_back(
    services: Services, anna: str, order: str
) -> None:
    auth = services.auth_replica
    thief = tokens_of(await log_in(services))
    await turn_on(services, anna)
    if order == "and then its own mail":
        on_since = (await auth.aggregates.second_factors.load(anna)).state.on_since
        assert on_since is not None
        await reset(services, await auth.reset_token("anna@example.org"))
        with pytest.raises(TokenExpired):
            await report(services, link(services, anna, at=on_since + timedelta(milliseconds=1)))
        await reset(services, await report(services, link(services, anna, at=on_since)), "a third horse")
    elif order == "reset by mail first":
        await reset(services, await auth.reset_token("anna@example.org"))
        await reset(services, await report(services, link(services, anna, generation=2)), "a third horse")
    elif order == "newest mail":
        await change(services, thief, "the horse of a thief")
        await reset(services, await report(services, link(services, anna, generation=2)))
    else:
        await change_address(services, anna, "thief@example.org")
        key = auth.keys.of_email("anna@example.org")
        until = (await auth.aggregates.addresses.load(key)).state.owner_until
        assert until is not None
        undo = auth.undos.sign(EmailChangeUndo(user_id=anna, claim_key=key, until=until))
        await services.to_auth.call(services.auth.undo_email_change, UndoEmailChangeRequest(token=undo))
        await reset(services, await auth.reset_token("anna@example.org"))
    assert not await has_second_factor(services, anna)


async def change_address(services: Services, user_id: str, email: str) -> None:
    auth = services.auth_replica
    await auth.email_changes.request(
        user_id=user_id,
        email=email,
        password=PASSWORD,
        own_address=services.auth_queries.own_address,
        position=Position(),
        provenance=BY_NOBODY,
    )
    await auth.commands.verify_email(await auth.token(email), BY_NOBODY, password=PASSWORD)


@pytest.mark.parametrize("thief_resets", [False, True])
async def test_a_link_that_was_mailed_to_an_address_before_a_thief_replaced_it_restores_it(
    services: Services, anna: str, thief_resets: bool
) -> None:
    auth, token, thief = services.auth_replica, link(services, anna), "thief@example.org"
    await log_in(services)
    await change_address(services, anna, thief)
    voids = await report(services, link(services, anna, email=thief)) if thief_resets else ""
    if thief_resets:
        await reset(services, voids, "the horse of a thief")
    voids = await auth.reset_token(thief)
    await report(services, token)
    # Repeated, it answers the same.
    reset_token = await report(services, token)
    owners = [
        (await auth.aggregates.addresses.load(auth.keys.of_email(email))).state for email in ("anna@example.org", thief)
    ]
    assert [(address.owner, address.owner_until) for address in owners] == [(anna, None), (None, None)]
    for generation in (1, 2, 3):
        with pytest.raises(TokenExpired):
            await report(services, link(services, anna, generation=generation, email=thief))
    with pytest.raises(TokenExpired):
        await reset(services, voids)
    await reset(services, reset_token)
    await log_in(services, name="anna@example.org", password="another horse")


async def test_alerts_go_to_the_address_that_the_account_has_left_too_for_as_long_as_it_is_the_accounts(
    services: Services, streams: NATS, anna: str
) -> None:
    auth, clock, outbox = services.auth_replica, Clock(), Outbox()
    await change_address(services, anna, "new@example.org")
    async with reacting(services, outbox, streams, clock):
        await log_in(services)
        await eventually(lambda: len(outbox.sent) == 2)
        await settled(streams)
    assert [(letter.kind, letter.recipient) for letter in outbox.sent] == [
        ("alert_new_device", "new@example.org"),
        ("alert_new_device", "anna@example.org"),
    ]
    # The earlier address reports no longer than it can undo the change.
    tokens = NotMeTokens(services.secrets.mail_key)
    new, old = (tokens.read(letter.link.rpartition("/")[2]) for letter in outbox.sent)
    until = (await auth.aggregates.addresses.load(auth.keys.of_email("anna@example.org"))).state.owner_until
    assert until is not None
    assert old.event_at + LIFETIME == until < new.event_at + LIFETIME
    assert [token.claim_key for token in (new, old)] == [
        auth.keys.of_email(email) for email in ("new@example.org", "anna@example.org")
    ]
    recipients = Recipients(auth.aggregates, auth.keys, services.auth_queries, clock=clock)
    clock.forward(HELD)
    end = Position.at(AUTH, await services.log.end_of(AUTH))
    assert [recipient.email for recipient in await recipients.of(anna, end)] == ["new@example.org"]
