"""Blocking in the messenger: who blocks sees it everywhere, who is blocked sees an ended friendship."""

import pytest
from playwright.async_api import expect

from tests.browser.browser_users import Sitting, open_chat
from tests.e2e.people import Api

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_person_is_blocked_from_the_chat_and_unblocked_in_the_settings(sitting: Sitting, api: Api) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "buy my watches")
    page, phone, other = await sitting.log_in(anna), await sitting.log_in(anna), await sitting.log_in(boris)
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
