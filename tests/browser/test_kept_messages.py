"""Messages that are kept on the device's disk: gone once they are deleted, or the session has ended."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.browser_users import Devices, open_chat
from tests.e2e.people import Api, Person, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
# The texts of a person's messages on this device's disk; undefined if nothing is kept.
KEPT_TEXTS = """(person) => new Promise((resolve) => {
  indexedDB.open("vestnik").onsuccess = ({ target: { result: database } }) => {
    database.transaction("seen").objectStore("seen").get(person).onsuccess = ({ target: { result: seen } }) => {
      database.close();
      resolve(seen && seen.threads.flatMap(([, items]) => items.map(({ text }) => text)));
    };
  };
})"""


async def test_what_was_deleted_or_edited_while_no_page_was_open_leaves_the_disk_without_its_chat_being_opened(
    devices: Devices, api: Api
) -> None:
    anna, boris = await api.friends()
    first, second, *_ = await boris.sends(anna, "a secret", "a slip", "the last one")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await kept(page, anna, ["a secret", "a slip", "the last one"])
    await page.goto("about:blank")
    assert (await boris.delete(anna, first["message_id"])).status_code == 204
    assert (await boris.edit(anna, second["message_id"], "corrected")).status_code == 200
    await page.goto("/#/people")
    await kept(page, anna, ["", "corrected", "the last one"])
    # What cannot be checked is dropped.
    await page.goto("about:blank")
    await page.route("**/messages?*", lambda route: route.fulfill(status=503, json={"code": "unavailable"}))
    await page.goto("/#/people")
    await kept(page, anna, [])


async def test_what_was_read_leaves_the_disk_of_a_device_whose_session_was_ended_while_no_page_was_open(
    devices: Devices, api: Api
) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "for your eyes")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await kept(page, anna, ["for your eyes"])
    await page.goto("about:blank")
    assert (await anna.ask("DELETE", "/v1/sessions")).status_code == 204
    await page.goto("/")
    await expect(page.locator("#field-login")).to_be_visible()
    await kept(page, anna, None)


async def kept(page: Page, person: Person, texts: list[str] | None) -> None:
    async def is_kept() -> bool:
        on_disk = await page.evaluate(KEPT_TEXTS, person.user_id)
        return bool(on_disk == texts)

    await eventually(is_kept, f"on the disk: {texts}", within=20)
