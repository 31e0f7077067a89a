"""Lists that cannot be loaded: of notifications, friends and blocked people."""

import pytest
from playwright.async_api import expect

from tests.browser.browser_users import Devices, disconnect, reconnect
from tests.e2e.people import Api

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNAVAILABLE = "A part of the server cannot be reached. Try again in a moment."
EMPTY = "Nothing has happened yet."


async def test_notifications_that_cannot_be_loaded_say_so_until_they_are_there(devices: Devices, api: Api) -> None:
    anna = await api.person()
    page = await devices.log_in(anna)
    await page.locator(".connection").wait_for(state="hidden")
    failing = "**/v1/notifications?*"
    await page.route(failing, lambda route: route.fulfill(status=503, json={"code": "unavailable"}))
    await page.reload()
    await page.locator("nav a[data-view=notifications]").click()
    await expect(page.get_by_role("alert").filter(has_text=UNAVAILABLE)).to_be_visible()
    await expect(page.get_by_text(EMPTY)).to_have_count(0)
    # The page tries again on its own.
    await page.unroute(failing)
    await expect(page.get_by_text(EMPTY)).to_be_visible()
    await expect(page.get_by_text(UNAVAILABLE)).to_have_count(0)


async def test_a_list_of_notifications_that_failed_is_loaded_when_the_line_is_back(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await page.locator("nav a[data-view=notifications]").click()
    await expect(page.locator(".person", has_text=boris.username)).to_have_count(1)
    await page.locator("nav a[data-view=people]").click()
    await disconnect(page)
    await page.locator("nav a[data-view=notifications]").click()
    # What is known is still there, and that it may be old is said.
    await expect(page.get_by_role("alert").filter(has_text="No connection.")).to_be_visible()
    await expect(page.locator(".person", has_text=boris.username)).to_have_count(1)
    await reconnect(page)
    await expect(page.get_by_role("alert").filter(has_text="No connection.")).to_have_count(0)


async def test_friends_and_blocked_people_that_are_not_loaded_are_not_said_to_be_none(
    devices: Devices, api: Api
) -> None:
    anna = await api.person()
    page = await devices.log_in(anna)
    lists = "**/v1/{friends,blocks}*"
    await page.route(lists, lambda route: route.fulfill(status=503, json={"code": "unavailable"}))
    await page.reload()
    none, loading = page.get_by_text("None.", exact=True), page.get_by_text("Loading…", exact=True)
    for view in ("people", "settings"):
        await page.locator(f"nav a[data-view={view}]").click()
        await expect(page.locator("main").locator(loading)).to_have_count(1)
        await expect(none).to_have_count(0)
    await page.unroute(lists)
    await expect(none).to_be_visible()
    await page.locator("nav a[data-view=people]").click()
    await expect(none).to_be_visible()
