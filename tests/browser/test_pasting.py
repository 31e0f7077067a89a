"""Pasted text is not truncated: the page says what is too long."""

import pytest
from playwright.async_api import expect

from tests.browser.browser_users import PHONE, Devices, message, open_chat
from tests.e2e.people import Api

pytestmark = pytest.mark.asyncio(loop_scope="session")

PASTE = "(text) => document.execCommand('insertText', false, text)"


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "The message has 4001 characters; at most 4,000 are possible."),
        ("ru", "Знаков в сообщении: 4001, а можно не больше 4000."),
    ],
)
async def test_a_message_that_is_too_long_is_kept_whole_and_said_to_be_too_long(
    devices: Devices, api: Api, language: str, said: str
) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna, locale=language, size=PHONE)
    await open_chat(page, boris)
    field = page.locator(".composer textarea")
    # A character outside of the basic plane is one to the gateway, and two units to a browser's own limit.
    text = "🚂" + "a" * 3999 + "b"
    await field.focus()
    await page.evaluate(PASTE, text)
    assert await field.input_value() == text
    await expect(page.locator("#too-long")).to_contain_text(said)
    await page.locator(".composer button").click()
    await expect(field).to_have_value(text)
    await expect(page.locator(".message")).to_have_count(0)
    await field.press("End")
    await field.press("Backspace")
    await expect(page.locator("#too-long")).to_have_text("")
    await page.locator(".composer button").click()
    await expect(field).to_have_value("")
    await expect(page.locator(".messages:not(.waiting) .message")).to_have_count(1)
    assert [item["text"] for item in await boris.messages(anna)] == [text[:-1]]
    await expect(message(page, text[:-1])).to_be_visible()


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "The text about you has up to 500 visible characters."),
        ("ru", "В тексте о себе может быть до 500 видимых знаков."),
    ],
)
async def test_a_text_about_oneself_that_is_too_long_is_kept_whole_and_refused_in_words(
    devices: Devices, api: Api, language: str, said: str
) -> None:
    anna = await api.person()
    page = await devices.log_in(anna, locale=language)
    await page.goto("/#/settings")
    field = page.locator("#field-bio")
    await field.focus()
    await page.evaluate(PASTE, "a" * 501)
    card = page.locator(".card", has=field)
    await card.locator("button[type=submit]").click()
    await expect(card.locator("#field-bio-wrong")).to_have_text(said)
    await expect(field).to_be_focused()
    await expect(field).to_have_value("a" * 501)
