"""A second factor that a thief has turned on ends with the owner's reset; one that the owner sets up stays."""

from datetime import timedelta

import pyotp
import pytest

from contracts import envelope, subjects
from contracts.errors import TokenExpired, TotpNotBegun
from contracts.rpc.vestnik.auth.v1 import UndoEmailChangeRequest
from services.auth.alerts.not_me import LIFETIME
from services.auth.reactions import PasswordEndings
from services.auth.tokens.email_change_undo import EmailChangeUndo
from tests.integration.auth.accounts import NO_ACTOR
from tests.integration.auth.alerts.alert_mails import change, log_in, tokens_of
from tests.integration.auth.alerts.reports import change_address, has_second_factor, link, report, reset, turn_on
from tests.integration.auth_and_session import PASSWORD, Services


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
    begun = await factors.begin(user_id=anna, password=PASSWORD, provenance=NO_ACTOR)
    await reset(services, await report(services, link(services, anna)))
    code = pyotp.TOTP(begun.secret).now()
    with pytest.raises(TotpNotBegun):
        await factors.confirm(user_id=anna, code=code, session_id="", provenance=NO_ACTOR)


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
        owner_until = (await auth.aggregates.addresses.load(key)).state.owner_until
        assert owner_until is not None
        undo = auth.undos.sign(EmailChangeUndo(user_id=anna, claim_key=key, until=owner_until))
        await services.to_auth.call(services.auth.undo_email_change, UndoEmailChangeRequest(token=undo))
        await reset(services, await auth.reset_token("anna@example.org"))
    assert not await has_second_factor(services, anna)
