"""The undo of a change of the address, and the return to an earlier one: which tokens they make void."""

import pytest
from nats.aio.client import Client as NATS

from contracts.errors import InvalidCredentials, TokenExpired
from contracts.values.ids import new_id
from services.auth.alerts.not_me import NotMeReports
from services.auth.email_change.decisions import HELD
from services.auth.mail.texts import VOID_PASSWORD
from services.auth.tokens.not_me import NotMe
from services.auth.tokens.password_reset import Reset
from tests.integration.auth.accounts import (
    NO_ACTOR,
    account,
    change,
    log_in,
    owner,
    register,
    request,
    undo,
    undo_token,
)
from tests.integration.auth.mail_reactions import Recording, reacting, settled
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import HOUR, PASSWORD, Auth, Clock, stored


async def test_an_undo_restores_the_address_and_makes_the_password_void_until_a_reset(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "thief@example.org")
    token = await undo_token(one, anna, "anna@example.org")
    before = len(await stored(streams, "AUTH"))
    await undo(other, token)
    assert [event.type for event in (await stored(streams, "AUTH"))[before:]] == [
        "email.restored",
        "password.reset_requested",
        "email.released",
        "password.voided",
    ]
    await undo(one, token)
    assert len(await stored(streams, "AUTH")) == before + 4
    for login in ("anna@example.org", "thief@example.org", "anna"):
        assert await log_in(one, login) == "invalid_credentials"
    with pytest.raises(InvalidCredentials):
        await request(one, anna, "thief@example.org")
    outbox = Recording()
    async with reacting(streams, one, outbox, clock):
        await settled(streams)
    (reset,) = [mail for mail in outbox.sent if mail.kind == "password_reset_after_undo"]
    assert (reset.recipient, reset.text) == ("anna@example.org", VOID_PASSWORD)
    await other.changes(NoSessions()).reset(token=reset.offers[0].token, new="another horse", provenance=NO_ACTOR)
    assert await log_in(one, "anna@example.org", "another horse") == anna.user_id
    # The address that was freed is free at once.
    boris = await register(one, "thief@example.org", "boris")
    await one.commands.verify_email(await one.token("thief@example.org"), NO_ACTOR)
    assert await log_in(one, "thief@example.org") == boris.user_id


async def test_the_undo_of_the_first_of_several_changes_wins_over_all(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    for email in ("b@example.org", "c@example.org", "d@example.org"):
        await change(one, anna, email)
    first, second = [await undo_token(one, anna, f"{name}@example.org") for name in ("anna", "b")]
    await undo(other, second)
    assert await owner(one, "b@example.org") == anna.user_id
    assert [await owner(one, f"{name}@example.org") for name in "cd"] == [None, None]
    await undo(other, first)
    assert await owner(one, "anna@example.org") == anna.user_id
    assert await owner(one, "b@example.org") is None
    with pytest.raises(TokenExpired):
        await undo(one, second)


async def test_an_undo_is_void_after_a_week_and_does_not_undo_a_later_change(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "b@example.org")
    token = await undo_token(one, anna, "anna@example.org")
    clock.forward(HELD)
    with pytest.raises(TokenExpired):
        await undo(other, token)
    anna.email = "b@example.org"
    await change(one, anna, "anna@example.org")
    with pytest.raises(TokenExpired):
        await undo(other, token)


async def test_a_return_to_an_earlier_address_frees_those_that_replaced_it(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "thief@example.org")
    await change(other, anna, "anna@example.org")
    assert await owner(one, "thief@example.org") is None
    assert await log_in(one, "anna@example.org") == anna.user_id
    state = (await one.aggregates.addresses.load(one.keys.of_email("anna@example.org"))).state
    assert (state.owner_until, state.replaced_by) == (None, "")


@pytest.mark.parametrize("undone", [True, False])
async def test_no_token_that_was_mailed_to_an_address_serves_once_it_is_free(
    replicas: tuple[Auth, Auth], clock: Clock, undone: bool
) -> None:
    """Neither a reset nor a link "this was not me", whose answer is a reset, nor the answer to an earlier one."""
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "thief@example.org")
    reports = NotMeReports(other.aggregates, other.reported, other.resets, NoSessions(), lifetime=HOUR, clock=clock)
    mailed_to = one.keys.of_email("thief@example.org")
    alert = one.reported.sign(
        NotMe(user_id=anna.user_id, credential=1, event_id=new_id(), event_at=clock(), claim_key=mailed_to)
    )
    resets = [one.resets.sign(Reset(user_id=anna.user_id, credential=1, expires_at=clock() + HOUR))]
    if undone:
        resets.append((await reports.report(alert, NO_ACTOR)).reset_token)
        await undo(one, await undo_token(one, anna, "anna@example.org"))
    else:
        await change(one, anna, "anna@example.org")
        assert await log_in(one, "anna") == anna.user_id
    with pytest.raises(TokenExpired):
        await reports.report(alert, NO_ACTOR)
    for token in resets:
        with pytest.raises(TokenExpired):
            await other.changes(NoSessions()).reset(token=token, new="the thief's password", provenance=NO_ACTOR)


async def test_a_login_that_races_a_return_to_an_earlier_address_succeeds(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "new@example.org")
    login = other.login(NoSessions(lambda: change(one, anna, "anna@example.org")))
    logged_in = await login.login(login="anna", password=PASSWORD, device="phone", address="192.0.2.1")
    generation = (await one.aggregates.credentials.load(anna.user_id)).state.generation
    assert generation == 2
    assert one.devices.find(logged_in.device_token, anna.user_id, generation) is not None
