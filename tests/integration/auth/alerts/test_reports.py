"""The link in an alert ends all sessions, the password and a thief's change of the address, until it is void."""

import asyncio
from datetime import timedelta

import pytest
from nats.aio.client import Client as NATS

from contracts import envelope, subjects
from contracts.errors import InvalidCredentials, InvalidToken, TokenExpired, VestnikError
from contracts.rpc.vestnik.auth.v1 import ChangePasswordRequest, LoginResponse, ResetPasswordRequest
from infra.rpc.call_context import Call
from tests.conditions import until
from tests.integration.auth.alerts.alert_mails import Outbox, change, log_in, reacting, settled, tokens_of
from tests.integration.auth.alerts.reports import change_address, link, report, reset
from tests.integration.auth_and_session import PASSWORD, Services, active, alerts_about


async def test_the_link_in_a_mail_ends_all_sessions_and_the_password_until_a_reset(
    services: Services, streams: NATS, anna: str
) -> None:
    outbox = Outbox()
    async with reacting(services, outbox, streams):
        stolen = await log_in(services)
        await until(lambda: len(outbox.sent) == 1)
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
        await until(lambda: outbox.kinds.count("alert_password_reset") == 1)
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
