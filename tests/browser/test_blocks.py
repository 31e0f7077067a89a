"""Blocks and reports: who blocks sees it everywhere, who is blocked sees an ended friendship."""

import asyncio

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.browser_users import Devices, open_chat
from tests.e2e.people import Api, Person, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The people with whom the person has a conversation, and messages, on this device's disk.
KEPT = """(person) => new Promise((resolve) => {
  indexedDB.open("vestnik").onsuccess = ({ target: { result: database } }) => {
    database.transaction("seen").objectStore("seen").get(person).onsuccess = ({ target: { result: seen } }) => {
      database.close();
      resolve(seen ? [seen.conversations.map(({ user_id }) => user_id), seen.threads.map(([peer]) => peer)] : null);
    };
  };
})"""


async def test_a_person_is_blocked_from_the_chat_and_unblocked_in_the_settings(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "buy my watches")
    page, phone, other = await devices.log_in(anna), await devices.log_in(anna), await devices.log_in(boris)
    await open_chat(other, anna)
    await open_chat(page, boris)
    name = boris.username

    # Not without being asked; Escape takes it back.
    await page.locator(".head button").click()
    await page.get_by_role("menuitem", name="Block").click()
    dialog = page.get_by_role("dialog", name="Block")
    await expect(dialog).to_contain_text(name)
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await page.locator(".head button").click()
    await page.get_by_role("menuitem", name="Block").click()
    await dialog.get_by_role("button", name="Block").click()

    await expect(page.locator(".stranger")).to_contain_text(f"You have blocked {name}.")
    await expect(phone.locator(".chat")).to_have_count(0)
    await expect(other.get_by_role("button", name="Add")).to_be_visible()
    await expect(other.locator("body")).not_to_contain_text("blocked")

    # What is asked reaches nobody.
    await other.get_by_role("button", name="Add").click()
    await expect(other.get_by_role("button", name="Withdraw")).to_be_visible()
    assert await anna.friends("incoming") == {}

    await phone.get_by_role("link", name="Settings").click()
    await phone.get_by_role("button", name=f"Unblock: {name}").click()
    await expect(phone.get_by_role("button", name=f"Unblock: {name}")).to_have_count(0)
    await expect(page.get_by_role("button", name="Add")).to_be_visible()
    await expect(other.get_by_role("button", name="Add")).to_be_visible()


async def test_a_message_is_reported_and_its_sender_blocked_in_one_step(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "buy my watches")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    row = page.locator(".message").filter(has_text="buy my watches")
    await row.hover()
    await row.locator(".more").click()
    await page.get_by_role("menuitem", name="Report").click()
    dialog = page.get_by_role("dialog", name="Report")
    await dialog.get_by_label("Reason").select_option("Harassment")
    await dialog.get_by_label("What has happened?").fill("x" * 1001)
    await dialog.get_by_role("button", name="Report").click()
    await expect(dialog).to_contain_text("A comment has at most 1,000 characters.")
    await dialog.get_by_label("What has happened?").fill("the third time today")
    await dialog.get_by_label("Block this person, too").check()
    async with page.expect_response("**/v1/reports") as answer:
        await dialog.get_by_role("button", name="Report").click()
    assert (await answer.value).status == 202
    await expect(dialog).to_contain_text("The operators have your report.")
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".stranger")).to_contain_text(f"You have blocked {boris.username}.")


async def test_messages_of_who_is_no_friend_any_more_leave_the_disk_however_late_that_is_known(
    devices: Devices, api: Api
) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "for your eyes")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await expect(page.locator(".message")).to_have_count(1)
    await kept(page, anna, [[boris.user_id], [boris.user_id]])
    known = asyncio.Event()

    async def late(route: Route) -> None:
        await known.wait()
        await route.continue_()

    await page.route("**/v1/friends?*", late)
    assert (await boris.remove(anna)).status_code == 204
    await kept(page, anna, [[], [boris.user_id]])
    known.set()
    await kept(page, anna, [[], []])


async def kept(page: Page, person: Person, expected: list[list[str]]) -> None:
    async def is_kept() -> bool:
        return bool(await page.evaluate(KEPT, person.user_id) == expected)

    await eventually(is_kept, f"on the disk: {expected}", within=20)
