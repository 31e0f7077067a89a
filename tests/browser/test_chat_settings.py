"""Mute, pin and archive: in the menus, in the list, and live on one's other devices."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, expect

from contracts.values.timestamps import rfc3339
from tests.browser.browser_users import Devices, open_chat
from tests.e2e.people import Api, Person, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def choose(page: Page, item: str) -> None:
    """Chooses an item of the menu of the open chat."""
    await page.locator(".head button").click()
    await page.get_by_role("menuitem", name=item, exact=True).click()


async def listed(page: Page, *people: Person) -> None:
    """Waits until the list shows the chats with these people, in this order."""
    await expect(page.locator(".chat")).to_have_count(len(people))
    for index, person in enumerate(people):
        await expect(page.locator(".chat").nth(index)).to_have_attribute("href", f"#/chat/{person.user_id}")


async def test_a_chat_is_muted_pinned_and_archived_on_all_devices_of_its_reader(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    clara = await api.person()
    await api.befriend(anna, clara)
    await clara.sends(anna, "newest")
    page, phone = await devices.log_in(anna), await devices.log_in(anna)
    await listed(page, clara, boris)
    await open_chat(page, boris)

    await choose(page, "Pin")
    await listed(page, boris, clara)
    await listed(phone, boris, clara)
    await expect(phone.get_by_role("img", name="Pinned")).to_be_visible()

    # A muted chat does not count in the title.
    await expect(phone).to_have_title("(1) Vestnik")
    await open_chat(page, clara)
    await expect(page).to_have_title("Vestnik")
    await choose(page, "Mute for 8 hours")
    await expect(phone.locator(".chat").get_by_role("img", name="Muted")).to_be_visible()
    await page.locator(f".chat[href='#/chat/{boris.user_id}']").click()
    await clara.sends(anna, "hush")
    await expect(page.locator(".chat .badge.calm")).to_have_text("1")
    await expect(page).to_have_title("Vestnik")
    await page.locator(f".chat[href='#/chat/{clara.user_id}']").click(button="right")
    await page.get_by_role("menuitem", name="Unmute").click()
    await expect(phone.get_by_role("img", name="Muted")).to_have_count(0)
    await expect(page).to_have_title("(1) Vestnik")

    # By keyboard alone; the focus is back on the chat afterwards.
    row = page.locator(f".chat[href='#/chat/{clara.user_id}']")
    await row.focus()
    await page.keyboard.press("Shift+F10")
    await expect(page.get_by_role("menuitem").first).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(row).to_be_focused()
    await page.keyboard.press("Shift+F10")
    # Upwards from the first item: block, report, archive.
    for _ in range(3):
        await page.keyboard.press("ArrowUp")
    await page.keyboard.press("Enter")
    await listed(page, boris)
    await listed(phone, boris)

    # A message does not take it out of the archive; a reload neither.
    await clara.sends(anna, "still there?")
    archive = page.get_by_role("button", name="Archived: 1")
    await expect(archive.get_by_role("img", name="1 unread chat")).to_be_visible()
    await page.reload()
    await listed(page, boris)
    await archive.click()
    await listed(page, clara)
    await expect(page.locator(".chat .last")).to_contain_text("still there?")
    await open_chat(page, clara)
    await choose(page, "Take out of the archive")
    await listed(page, boris, clara)
    await listed(phone, boris, clara)


async def test_a_message_is_found_by_its_words_and_shown_in_its_chat(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    text = "Perhaps the key is under the <b>flowerpot</b>"
    await boris.sends(anna, text, *(f"line {number}" for number in range(150)))

    async def searchable() -> bool:
        """The page asks once; the search has others' messages a moment after they are shown."""
        return bool((await anna.get("/v1/messages", params={"query": "flowerp"})).json()["items"])

    await eventually(searchable, "the message in the search")
    page = await devices.log_in(anna)
    await expect(page.locator(".chat")).to_have_count(1)
    await page.locator("body").press("/")
    field = page.get_by_role("combobox")
    await expect(field).to_be_focused()
    await field.fill("flowerp")
    hit = page.get_by_role("option").filter(has_text="under the <b>flowerpot</b>")
    await expect(hit.locator("mark")).to_have_text("flowerp")
    # 30 characters before the hit would begin within a word.
    await expect(hit.locator(".excerpt")).to_have_text(text)
    await page.keyboard.press("Enter")
    found_message = page.locator(".message").filter(has_text="flowerpot")
    await expect(found_message).to_be_in_viewport()
    await expect(found_message).to_be_focused()

    # The same one again, from far below; and within one chat.
    await page.get_by_role("button", name="To the newest").click()
    await expect(page.locator(".message").filter(has_text="line 149")).to_be_in_viewport()
    await choose(page, "Search messages")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await field.fill("KEY")
    await expect(page.get_by_role("option")).to_have_count(1)
    await page.keyboard.press("Enter")
    await expect(found_message).to_be_in_viewport()


async def test_the_end_of_a_mute_is_shown_without_any_event(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await page.locator("#app[data-line=up]").wait_for()
    until = rfc3339(datetime.now(UTC) + timedelta(seconds=8))
    patch = {"json": {"muted_until": until}, "headers": {"Content-Type": "application/merge-patch+json"}}
    assert (await anna.ask("PATCH", f"/v1/conversations/{boris.user_id}", **patch)).status_code == 204
    await expect(page.get_by_role("img", name="Muted")).to_be_visible()
    await boris.sends(anna, "hush")
    await expect(page.locator(".chat .badge.calm")).to_have_text("1")
    await expect(page).to_have_title("(1) Vestnik")
    await expect(page.get_by_role("img", name="Muted")).to_have_count(0)
