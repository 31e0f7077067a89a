"""A chat opens where one has stopped reading, and only what was on the screen has been seen."""

import re

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.browser_users import PHONE, Devices, message, open_chat
from tests.e2e.people import Api, Person, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The lowest message whose end is on the screen.
LOWEST = """node => {
  const bottom = node.getBoundingClientRect().bottom;
  const shown = (row) => row.getBoundingClientRect().bottom <= bottom;
  return [...node.querySelectorAll(".message .text")].filter(shown).at(-1).textContent;
}"""


async def seen(person: Person, other: Person) -> int:
    conversation = await person.conversation(other)
    assert conversation is not None
    return int(conversation["seen_sequence"])


async def seen_up_to(person: Person, other: Person, sequence: int) -> None:
    async def there() -> bool:
        return await seen(person, other) == sequence

    await eventually(there, f"everything up to {sequence} was marked")


async def lowest(log: Locator) -> int:
    return int(re.sub(r"\D", "", await log.evaluate(LOWEST)))


async def top_of(page: Page, text: str) -> float:
    box = await message(page, text).bounding_box()
    assert box is not None
    return float(box["y"])


@pytest.mark.parametrize(("size", "language", "said"), [(None, "en", "New messages"), (PHONE, "ru", "Новые сообщения")])
async def test_a_chat_with_many_unread_messages_opens_at_the_first_and_marks_what_was_shown(
    devices: Devices, api: Api, size: dict[str, int] | None, language: str, said: str
) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, *(f"number {number}." for number in range(1, 301)))
    await anna.sees(boris, 100)
    page = await devices.log_in(anna, locale=language, **({"size": size} if size else {}))
    await open_chat(page, boris)
    log, jump, line = page.locator(".log"), page.locator(".jump"), page.locator(".fresh-line")
    await expect(line).to_have_text(said)
    await expect(line).to_be_in_viewport()
    await expect(message(page, "number 101.")).to_be_in_viewport()
    await expect(message(page, "number 100.")).to_be_in_viewport()

    # What is below the screen stays unread, and is counted.
    async def marked() -> bool:
        # The lowest one may be there but for a part of its line with the time.
        return await lowest(log) - await seen(anna, boris) in (0, 1)

    await eventually(marked, "what was shown was marked, and nothing else")
    shown = await seen(anna, boris)
    assert 101 <= shown < 140
    await expect(jump.locator(".badge")).to_have_text("99+")
    await expect(jump).to_have_attribute("aria-label", re.compile(str(300 - shown)))

    # New ones raise the count and do not move the page, nor does one's reading on take the line away.
    before = await top_of(page, "number 101.")
    await boris.sends(anna, "number 301.")
    await expect(jump).to_have_attribute("aria-label", re.compile(str(301 - shown)))
    assert await top_of(page, "number 101.") == before
    await log.evaluate("node => { node.scrollTop += 300 }")
    await eventually(marked, "what was scrolled to was marked")
    assert shown < await seen(anna, boris) < 200
    await expect(line).to_have_count(1)

    # One click goes to the end, from where one scrolls back without a gap.
    await jump.click()
    await expect(message(page, "number 301.")).to_be_in_viewport()
    await expect(jump).to_be_hidden()
    await seen_up_to(anna, boris, 301)

    async def back() -> bool:
        await log.evaluate("node => { node.scrollTop = 0 }")
        return int(await message(page, "number 150.").count()) > 0

    await eventually(back, "older messages", within=60)
    numbers = [int(re.sub(r"\D", "", text)) for text in await page.locator(".message .text").all_text_contents()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_one_reads_on_from_the_first_unread_message_to_the_last(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, *(f"number {number}." for number in range(1, 331)))
    await anna.sees(boris, 20)
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await expect(message(page, "number 21.")).to_be_in_viewport()
    log = page.locator(".log")

    async def at_the_end() -> bool:
        await log.evaluate("node => { node.scrollTop += 500 }")
        return int(await message(page, "number 330.").count()) > 0 and await lowest(log) == 330

    await eventually(at_the_end, "the end", within=60)
    await seen_up_to(anna, boris, 330)
    await boris.sends(anna, "number 331.")
    await expect(message(page, "number 331.")).to_be_in_viewport()


async def test_what_comes_while_the_page_is_hidden_is_unread_until_it_was_shown(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, *(f"number {number}." for number in range(1, 11)))
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await seen_up_to(anna, boris, 10)
    await page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    await boris.sends(anna, *(f"number {number}." for number in range(11, 91)))
    await expect(page.locator(".tabs [data-view=chats] .badge")).to_have_text("80")
    assert await seen(anna, boris) == 10
    await page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    await expect(page.locator(".fresh-line")).to_be_in_viewport()
    await expect(message(page, "number 11.")).to_be_in_viewport()

    async def marked() -> bool:
        return await seen(anna, boris) > 10

    await eventually(marked, "what is shown was marked")
    assert await seen(anna, boris) < 60
