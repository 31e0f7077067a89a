"""A known device logs in while others guess passwords; a change or a reset voids all devices but its own."""

import pytest

from contracts.errors import InvalidCredentials, RateLimited
from contracts.rpc.vestnik.auth.v1 import (
    ChangePasswordRequest,
    LoginRequest,
    RequestPasswordResetRequest,
    ResetPasswordRequest,
)
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from services.auth.tokens.device_tokens import DeviceTokens
from tests.integration.auth.password_calls import NEW, log_in, reset
from tests.integration.auth_and_session import PASSWORD, Services


async def log_in_from(services: Services, token: str, *, password: str = PASSWORD, login: str = "anna") -> str:
    """Logs in while others have guessed too often; the device's token."""
    request = LoginRequest(
        login=login,
        password=password,
        device="phone",
        address="192.0.2.1",
        device_token=token,
        known_device_only=True,
    )
    return (await services.to_auth.call(services.auth.login, request)).device_token


async def device(services: Services) -> str:
    request = LoginRequest(login="anna", password=PASSWORD, device="phone", address="192.0.2.1")
    return (await services.to_auth.call(services.auth.login, request)).device_token


async def test_a_device_that_has_logged_in_does_so_whatever_others_have_tried(services: Services, anna: str) -> None:
    token = await device(services)
    for login in ("anna", "Anna@example.org"):
        assert await log_in_from(services, token, login=login) == token
    with pytest.raises(InvalidCredentials):
        await log_in_from(services, token, password="wrong password")


async def test_without_a_good_device_token_known_and_unknown_logins_are_refused_alike(
    services: Services, anna: str
) -> None:
    forged = DeviceTokens(b"f" * 32).make(anna, 1)
    of_nobody = services.auth_replica.devices.make(new_id(), 0)
    for login in ("anna", "anna@example.org", "nobody", "nobody@example.org"):
        for token in ("", "x", forged, of_nobody):
            with pytest.raises(RateLimited):
                await log_in_from(services, token, login=login)


async def test_a_change_of_the_password_voids_all_devices_but_the_one_that_made_it(
    services: Services, anna: str
) -> None:
    here, token = await log_in(services), await device(services)
    answer = await services.to_auth.call(
        services.auth.change_password,
        ChangePasswordRequest(user_id=anna, current_password=PASSWORD, new_password=NEW, session_id=here.session_id),
        context=Call(request_id="request", actor=anna),
    )
    with pytest.raises(RateLimited):
        await log_in_from(services, token, password=NEW)
    assert await log_in_from(services, answer.device_token, password=NEW) == answer.device_token


async def test_a_reset_voids_all_devices_but_the_one_that_made_it(services: Services, anna: str) -> None:
    token = await device(services)
    request = ResetPasswordRequest(token=await services.auth_replica.reset_token("anna@example.org"), new_password=NEW)
    answer = await services.to_auth.call(services.auth.reset_password, request)
    with pytest.raises(RateLimited):
        await log_in_from(services, token, password=NEW)
    assert await log_in_from(services, answer.device_token, password=NEW) == answer.device_token


async def test_resets_that_others_ask_for_take_nothing_from_the_owner(services: Services, anna: str) -> None:
    token = await device(services)
    first = await services.auth_replica.reset_token("anna@example.org")
    for _ in range(5):
        await services.to_auth.call(
            services.auth.request_password_reset, RequestPasswordResetRequest(email="anna@example.org")
        )
    assert await log_in_from(services, token) == token
    assert (await log_in(services)).user_id == anna
    await reset(services, first)
