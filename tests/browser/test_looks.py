"""How it looks and reads: every view, on both sizes, in both schemes and languages."""

import re
from typing import Any, Literal

import pytest
from playwright.async_api import Browser

from tests.browser.browser_users import Devices, open_chat
from tests.browser.readability import SIZES, assert_readable
from tests.e2e.people import Api
from tests.fix_system import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_every_view_can_be_read_by_everybody(
    devices: Devices, api: Api, size: str, scheme: str, language: str
) -> None:
    anna = await api.person(display_name="Anna Karenina")
    boris = await api.person(display_name="Борис")
    clara = await api.person(display_name="Clara")
    await api.befriend(anna, boris)
    assert (await clara.add(anna)).status_code == 201
    await boris.sends(anna, "Добрый день!", "How was the journey? " * 12)
    await anna.sends(boris, "Long, but fine. 🚂", "See you tomorrow at nine.")
    options: dict[str, Any] = {"size": SIZES[size], "color_scheme": scheme, "locale": language}
    name = f"{size}-{scheme}-{language}"
    stranger = await devices.page(**options)
    await assert_readable(stranger, f"{name}-welcome")
    page = await devices.log_in(anna, **options)
    await page.locator(".chat .last").wait_for()
    await assert_readable(page, f"{name}-chats")
    await page.get_by_role("button", name=re.compile("^(Find|Найти)$")).click()
    await page.get_by_role("option").first.wait_for()
    await assert_readable(page, f"{name}-palette")
    await page.keyboard.press("Escape")
    await open_chat(page, boris)
    await page.locator(".message").nth(3).wait_for()
    await assert_readable(page, f"{name}-chat")
    for view, there in (("people", ".person"), ("notifications", ".person"), ("settings", ".card .person")):
        await page.goto(f"/#/{view}")
        await page.locator(there).first.wait_for()
        await assert_readable(page, f"{name}-{view}")


async def test_every_phrase_is_said_in_every_language(devices: Devices) -> None:
    page = await devices.page()
    words = await page.evaluate("import('/web/js/i18n.js').then((module) => module.WORDS)")
    assert words["en"].keys() == words["ru"].keys()

    def names(phrase: str | dict[str, str]) -> set[str]:
        texts = [phrase] if isinstance(phrase, str) else list(phrase.values())
        return {part.partition("}")[0] for text in texts for part in text.split("{")[1:]}

    for key, phrase in words["en"].items():
        assert names(phrase) == names(words["ru"][key]), key
    assert set(words["ru"]["unread"]) == {"one", "few", "many", "other"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_on_the_interface_fits_a_small_phone_and_leads_to_the_login(
    browser: Browser, web_system: System, scheme: Literal["light", "dark"]
) -> None:
    page = await browser.new_page(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    await page.goto(f"{web_system.url}/docs#messages_send")
    lock = page.locator("#messages_send .lock")
    await lock.wait_for()
    await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert await page.evaluate("document.documentElement.scrollWidth") == 320
    await lock.get_by_role("link", name="login").click()
    await page.wait_for_url("**/docs#sessions_log_in")
    assert await page.locator("#sessions_log_in .lock").inner_text() == "Needs no access token."
    await page.close()
