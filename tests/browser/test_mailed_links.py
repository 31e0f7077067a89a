"""A change of the e-mail address, and the pages of mailed links: nothing changes before their reader agrees."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.browser_users import DESKTOP, PHONE, Devices
from tests.browser.forms import assert_wrong, fill, refusing, submit
from tests.browser.readability import assert_readable
from tests.e2e.people import PASSWORD, Api, Person, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

BOTH = pytest.mark.parametrize(
    ("language", "scheme", "size"), [("en", "light", DESKTOP), ("ru", "dark", PHONE)], ids=["en", "ru"]
)


async def link_to(api: Api, email: str, path: str) -> str:
    """The newest link of this kind that was mailed to the address, from its path on."""

    async def link() -> str:
        texts = [mail.get_body(("plain",)).get_content() for mail in api.messages_to(email)]  # type: ignore[union-attr]
        links = [match for text in texts for match in re.findall(rf"/#/{path}/\S+", text)]
        return links[-1] if links else ""

    return await eventually(link, f"a link #/{path}/ to {email}")


async def change_requested(api: Api, person: Person) -> str:
    """Requests another address; returns it."""
    email = f"new.{person.email}"
    body = {"email": email, "password": PASSWORD}
    response = await person.ask("PUT", "/v1/users/me/email", json=body)
    assert response.status_code == 202, response.text
    return email


async def address_of(person: Person) -> str:
    email: str = (await person.get("/v1/users/me")).json()["email"]
    return email


@BOTH
async def test_the_address_is_changed_in_the_settings_with_the_token_of_the_mail(
    devices: Devices, api: Api, language: str, scheme: str, size: dict[str, int]
) -> None:
    anna = await api.person()
    page = await devices.log_in(anna, locale=language, color_scheme=scheme, size=size)
    await page.goto("/#/settings")
    card = page.locator(".card", has=page.locator(".address"))
    await expect(card.locator(".address")).to_have_text(anna.email)
    change, dialog = card.get_by_role("button"), page.get_by_role("dialog")
    await change.click()
    await expect(page.locator("#field-email")).to_be_focused()
    await fill(page, email="no address")
    await submit(dialog).click()
    await assert_wrong(page, "email", re.compile("Mail cannot be sent|нельзя отправить"))
    await assert_readable(page, f"email-{scheme}-{language}")
    email = f"new.{anna.email}"
    await fill(page, email=email, password="not this one")
    await submit(dialog).click()
    await assert_wrong(page, "password", re.compile("password is wrong|Пароль неверный"))
    await fill(page, password=PASSWORD)
    await submit(dialog).click()
    await expect(page.locator("#field-token")).to_be_focused()
    await expect(dialog).to_contain_text(email)
    await assert_readable(page, f"email-token-{scheme}-{language}")
    await fill(page, token="no token")
    await submit(dialog).click()
    await assert_wrong(page, "token", re.compile("not the token|Это не тот код|код из письма"))
    await fill(page, token=await api.mailed_token(email))
    await submit(dialog).click()
    await expect(dialog).to_have_count(0)
    await expect(card.locator(".address")).to_have_text(email)
    await expect(card.locator(".outcome")).to_contain_text(email)
    await expect(change).to_be_focused()
    assert PASSWORD not in await page.content()
    assert (await api.log_in(email)).status_code == 201


@BOTH
async def test_the_link_to_a_new_address_asks_for_the_password_of_the_account(
    devices: Devices, api: Api, language: str, scheme: str, size: dict[str, int]
) -> None:
    anna = await api.person()
    email = await change_requested(api, anna)
    page = await devices.log_in(anna, locale=language, color_scheme=scheme, size=size)
    await page.goto(await link_to(api, email, "confirm"))
    await expect(page.get_by_role("heading", level=2)).to_contain_text(anna.username)
    await expect(page.locator("#field-password")).to_be_focused()
    assert page.url == f"{api.system.url}/"
    assert await address_of(anna) == anna.email
    await assert_readable(page, f"change-{scheme}-{language}")
    await fill(page, password="not this one")
    await submit(page).click()
    await assert_wrong(page, "password", re.compile("password is wrong|Пароль неверный"))
    await fill(page, password=PASSWORD)
    await submit(page).click()
    await expect(page.get_by_role("heading", level=2)).to_be_focused()
    assert await address_of(anna) == email
    # This browser is still logged in.
    await page.get_by_role("link", name=re.compile("To the messenger|К мессенджеру")).click()
    await page.locator("nav.tabs").wait_for()


async def test_a_change_to_the_address_of_another_person_is_refused_there(devices: Devices, api: Api) -> None:
    anna = await api.person()
    email = await change_requested(api, anna)
    page = await devices.page()
    await page.goto(await link_to(api, email, "confirm"))
    await page.get_by_role("button", name="This is not me").click()
    await expect(page.get_by_text("The change is cancelled")).to_be_visible()
    await page.goto(await link_to(api, email, "confirm"))
    await expect(page.locator("form .said")).to_contain_text(re.compile("."))
    assert await address_of(anna) == anna.email


@BOTH
async def test_a_change_is_undone_from_the_earlier_address_once_its_reader_agrees(
    devices: Devices, api: Api, language: str, scheme: str, size: dict[str, int]
) -> None:
    anna = await api.person()
    email = await change_requested(api, anna)
    body = {"token": await api.mailed_token(email), "password": PASSWORD}
    assert (await api.http.post("/v1/users/verify-email", json=body)).status_code == 204
    page = await devices.page(locale=language, color_scheme=scheme, size=size)
    link = await link_to(api, anna.email, "undo-email-change")
    await page.goto(link)
    await expect(page.get_by_role("heading", level=2)).to_have_text(re.compile("Undo the change|Отмена смены"))
    assert page.url == f"{api.system.url}/"
    await assert_readable(page, f"undo-{scheme}-{language}")
    await page.get_by_role("link").click()
    await page.locator("#field-login").wait_for()
    assert await address_of(anna) == email

    # Without the token it has to be entered.
    await page.goto("/#/undo-email-change/")
    await page.locator("#field-token").wait_for()
    await submit(page).click()
    await assert_wrong(page, "token", re.compile("fill this in|Заполните"))
    await page.goto(link)
    await page.locator("form:not(:has(input))").wait_for()
    expired = refusing(410, {"code": "token_expired", "detail": "English"})
    await page.route("**/v1/users/undo-email-change", expired, times=1)
    await submit(page).click()
    await expect(page.locator("form .problem")).to_have_text(re.compile("has expired|истёк|истекло"))
    await submit(page).click()
    await expect(page.get_by_text(re.compile("account's again|снова принадлежит"))).to_be_visible()
    await expect(page.get_by_role("heading", level=2)).to_be_focused()
    assert (await anna.get("/v1/users/me")).status_code == 401
    await open_reset(api, page, anna.email)


async def open_reset(api: Api, page: Page, email: str) -> None:
    """The way back into the account: the mail with which a new password is set."""
    await page.goto(await link_to(api, email, "reset"))
    await fill(page, new_password="a much better one")
    await submit(page).click()
    await expect(page.locator("#field-login")).to_be_visible()
    assert (await api.log_in(email, "a much better one")).status_code == 201


@BOTH
async def test_who_reports_that_it_was_not_them_sets_a_new_password_at_once(
    devices: Devices, api: Api, language: str, scheme: str, size: dict[str, int]
) -> None:
    anna = await api.person()
    thief = await api.again(anna, device="A thief's phone")
    link = await link_to(api, anna.email, "not-me")
    page = await devices.page(locale=language, color_scheme=scheme, size=size)
    await page.goto(link)
    await expect(page.get_by_role("heading", level=2)).to_have_text(re.compile("not you|не вы"))
    assert page.url == f"{api.system.url}/"
    await assert_readable(page, f"not-me-{scheme}-{language}")
    assert (await thief.get("/v1/users/me")).status_code == 200

    await page.route("**/v1/users/not-me", lambda route: route.abort("connectionrefused"), times=1)
    await submit(page).click()
    await expect(page.locator("form .problem")).to_have_text(re.compile("No connection|Нет связи"))
    await submit(page).click()
    await expect(page.locator("#field-new_password")).to_be_focused()
    assert (await thief.get("/v1/users/me")).status_code == 401
    assert (await api.log_in(anna.username)).status_code == 401
    await fill(page, new_password="a much better one")
    await submit(page).click()
    await page.locator("#field-login").wait_for()
    assert (await api.log_in(anna.username, "a much better one")).status_code == 201
