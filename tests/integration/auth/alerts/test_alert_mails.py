"""Alerts of an account: each event once, by mail and as `account.alerted`, whatever happens to those who send them."""

from collections import Counter
from contextlib import suppress
from datetime import timedelta

import msgspec
from nats.aio.client import Client as NATS

from contracts.envelope import Provenance
from contracts.errors import RefreshTokenReused
from contracts.events.user import UserErasureRequested
from contracts.notification_kinds import ALERT_MAX_AGE, ALERTS_AN_HOUR
from contracts.positions import Position
from contracts.rpc.vestnik.auth.v1 import (
    GetUserRequest,
    RequestEmailChangeRequest,
    ResetPasswordRequest,
    UndoEmailChangeRequest,
    VerifyEmailRequest,
)
from contracts.rpc.vestnik.session.v1 import RefreshSessionRequest
from contracts.subjects import AUTH
from infra.rpc.call_context import Call
from services.auth.alerts.not_me import LIFETIME
from services.auth.alerts.recipients import Recipients
from services.auth.email_change.decisions import HELD
from services.auth.tokens.email_change_undo import EmailChangeUndo
from services.auth.tokens.not_me import NotMeTokens
from tests.conditions import until
from tests.integration.auth.alerts.alert_mails import (
    ALERTS,
    PAGE,
    Outbox,
    change,
    log_in,
    reacting,
    register,
    settled,
    tokens_of,
)
from tests.integration.auth.alerts.reports import change_address
from tests.integration.auth_and_session import PASSWORD, Clock, Services, active, alerts_about


async def test_a_login_from_a_new_device_is_mailed_and_the_first_one_and_known_devices_are_not(
    services: Services, streams: NATS, anna: str
) -> None:
    outbox = Outbox()
    async with reacting(services, outbox, streams):
        new = await log_in(services)
        await until(lambda: len(outbox.sent) == 1)
        await log_in(services, device_token=new.device_token)
        await settled(streams)
    (mail,) = outbox.sent
    assert (mail.kind, mail.recipient, mail.username) == ("alert_new_device", "anna@example.org", "anna")
    assert mail.circumstances is not None
    assert (mail.circumstances.device, mail.circumstances.address) == ("Vestnik web, Firefox, Linux", "192.0.2.1")
    assert mail.link.startswith(f"{PAGE}/#/not-me/")
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
        await until(lambda: bool(outbox.sent))
    (mail,) = outbox.sent
    assert mail.kind == "alert_erasure_requested"
    assert mail.good_for is not None
    assert timedelta(days=2, hours=23) < mail.good_for < timedelta(days=3)


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
        await until(lambda: len(outbox.sent) >= 5)
        await settled(streams)
    kinds = Counter({"alert_new_device": 2, "alert_refresh_token_reused": 1})
    assert Counter(outbox.kinds) == kinds + Counter(["alert_password_changed", "alert_password_reset"])
    assert {mail.language for mail in outbox.sent} == {"ru"}
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
    owner_until = (await auth.aggregates.addresses.load(key)).state.owner_until
    assert owner_until is not None
    token = auth.undos.sign(EmailChangeUndo(user_id=anna, claim_key=key, until=owner_until))
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
    assert (await auth.aggregates.credentials.load(anna)).state.reported_at == owner_until - HELD


async def test_an_event_is_alerted_once_by_two_replicas_and_after_their_consumers_were_lost(
    services: Services, streams: NATS, anna: str
) -> None:
    """As after an import into an empty system, where the reactions begin at the first event."""
    outbox = Outbox()
    async with reacting(services, outbox, streams), reacting(services, outbox, streams):
        await change(services, tokens_of(await log_in(services)), "another horse")
        await log_in(services, password="another horse")
        await until(lambda: len(outbox.sent) >= 3)
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
        await until(lambda: len(outbox.sent) == 2)
        await settled(streams)
    assert len({mail.event_id for mail in outbox.sent}) == 1
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
        await until(lambda: len(outbox.sent) == ALERTS_AN_HOUR)
        for _ in range(10):
            await log_in(services)
        await settled(streams, waiting=10)
        assert len(outbox.sent) == len(await alerts_about(services, anna)) == ALERTS_AN_HOUR
        # The mailbox has room again; the first of the waiting events to be tried is mailed and covers the earlier ones.
        clock.forward(timedelta(hours=1, minutes=1))
        for durable in ALERTS:
            await streams.jetstream().delete_consumer(durable.stream, durable.name)
        await until(lambda: len(outbox.sent) > ALERTS_AN_HOUR)
        await settled(streams, waiting=10)
    assert ALERTS_AN_HOUR < len(outbox.sent) <= ALERTS_AN_HOUR + 3


async def test_alerts_go_to_the_address_that_the_account_has_left_too_for_as_long_as_it_is_the_accounts(
    services: Services, streams: NATS, anna: str
) -> None:
    auth, clock, outbox = services.auth_replica, Clock(), Outbox()
    await change_address(services, anna, "new@example.org")
    async with reacting(services, outbox, streams, clock):
        await log_in(services)
        await until(lambda: len(outbox.sent) == 2)
        await settled(streams)
    assert [(mail.kind, mail.recipient) for mail in outbox.sent] == [
        ("alert_new_device", "new@example.org"),
        ("alert_new_device", "anna@example.org"),
    ]
    # The earlier address reports no longer than it can undo the change.
    tokens = NotMeTokens(services.secrets.mail_key)
    new, old = (tokens.read(mail.link.rpartition("/")[2]) for mail in outbox.sent)
    owner_until = (await auth.aggregates.addresses.load(auth.keys.of_email("anna@example.org"))).state.owner_until
    assert owner_until is not None
    assert old.event_at + LIFETIME == owner_until < new.event_at + LIFETIME
    assert [token.claim_key for token in (new, old)] == [
        auth.keys.of_email(email) for email in ("new@example.org", "anna@example.org")
    ]
    recipients = Recipients(auth.aggregates, auth.keys, services.auth_queries, clock=clock)
    clock.forward(HELD)
    end = Position.at(AUTH, await services.log.end_of(AUTH))
    assert [recipient.email for recipient in await recipients.of(anna, end)] == ["new@example.org"]
