"""The card that deletes the account, and what the page says to who logs in again."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.browser_users import DESKTOP, PHONE, Devices
from tests.browser.readability import assert_readable
from tests.e2e.people import PASSWORD, Api, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXTS = {
    "en": ("Delete account", "The password is wrong", "is to be deleted on", "this login has cancelled its deletion"),
    "ru": ("Удалить учётную запись", "Пароль неверный", "будет удалена", "этот вход отменил её удаление"),
}

KEPT_UNSENT = "async (one) => { await (await import('/web/js/storage.js')).keepUnsent(one); }"
UNSENT = "async (owner) => (await (await import('/web/js/storage.js')).unsentOf(owner)).map((one) => one.id)"
DELETED_BY_NOW = """async (owner) => {
  (await import('/web/js/preferences.js')).rememberErasure(owner, '2026-01-01T00:00:00Z');
}"""


async def nothing_unsent(page: Page, owner: str) -> bool:
    return bool(await page.evaluate(UNSENT, owner) == [])


@pytest.mark.parametrize(("language", "scheme", "size"), [("en", "light", DESKTOP), ("ru", "dark", PHONE)])
async def test_an_account_is_deleted_with_the_password_and_the_next_login_keeps_it(
    devices: Devices, api: Api, language: str, scheme: str, size: dict[str, int]
) -> None:
    delete, wrong, deleted, kept = TEXTS[language]
    anna = await api.person()
    page = await devices.log_in(anna, locale=language, color_scheme=scheme, size=size)
    other = await devices.log_in(anna, locale=language)
    await other.evaluate(KEPT_UNSENT, {"id": "one", "owner": anna.user_id, "at": 1})
    await page.goto("/#/settings")
    card = page.locator(".card", has=page.get_by_role("heading", name=delete))
    await card.get_by_role("button", name=delete).click()
    dialog = page.get_by_role("dialog")
    await assert_readable(page, f"delete-account-{scheme}-{language}")
    await dialog.locator("#field-password").fill("a wrong password")
    await dialog.locator("button[type=submit]").click()
    await expect(dialog).to_contain_text(re.compile(wrong))
    await dialog.locator("#field-password").fill(PASSWORD)
    await dialog.locator("button[type=submit]").click()
    await expect(page.locator(".panel")).to_contain_text(deleted)
    await assert_readable(page, f"account-deleted-{scheme}-{language}")
    # The other device is logged out too, and says why.
    await expect(other.locator(".panel")).to_contain_text(re.compile("to be deleted|будет удалена"))
    # What was not sent from there waits until the account is deleted indeed.
    assert await other.evaluate(UNSENT, anna.user_id) == ["one"]
    assert await other.evaluate("() => Object.keys(JSON.parse(localStorage['vestnik.erasures']))") == [anna.user_id]
    await other.evaluate(DELETED_BY_NOW, anna.user_id)
    await other.reload()
    await eventually(lambda: nothing_unsent(other, anna.user_id), "what was not sent is gone")
    await page.locator("#field-login").fill(anna.username)
    await page.locator("#field-password").fill(PASSWORD)
    await page.locator("form button[type=submit]").click()
    await expect(page.locator(".notice")).to_contain_text(kept)
    assert await page.evaluate("() => localStorage['vestnik.erasures']") == "{}"
    await page.locator(".notice button").click()
    await expect(page.locator(".notice")).to_have_count(0)
