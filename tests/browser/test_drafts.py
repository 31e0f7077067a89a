"""Drafts: unsent text is kept for its author only."""

import pytest
from playwright.async_api import expect

from tests.browser.browser_users import Devices, message, open_chat, submit_login
from tests.e2e.people import Api, Person, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Everything in the page's database, as text.
STORED = """async () => {
  const database = await new Promise((resolve) => {
    const request = indexedDB.open("vestnik");
    request.onsuccess = () => resolve(request.result);
  });
  const names = [...database.objectStoreNames];
  const read = (name) => new Promise((resolve) => {
    const store = database.transaction(name).objectStore(name);
    const values = store.getAll(), keys = store.getAllKeys();
    store.transaction.oncomplete = () => resolve(JSON.stringify([values.result, keys.result]));
  });
  const found = (await Promise.all(names.map(read))).join();
  database.close();
  return found;
}"""


async def saved(person: Person, other: Person, draft: str) -> bool:
    conversation = await person.conversation(other)
    return conversation is not None and conversation.get("draft") == draft


async def test_a_draft_is_on_all_devices_and_what_is_being_written_there_stays(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page, phone = await devices.log_in(anna), await devices.log_in(anna)
    field, other = page.locator(".composer textarea"), phone.locator(".composer textarea")
    await expect(phone.locator(".chat")).to_have_count(1)
    await open_chat(page, boris)
    await field.fill("begun at the desk")
    await expect(phone.locator(".chat .last")).to_contain_text("Draft: begun at the desk")
    await open_chat(phone, boris)
    await expect(other).to_have_value("begun at the desk")

    # It goes on there, and is found at the desk; a text in a field that is written in is not replaced.
    await other.fill("gone on with on the way")
    await page.get_by_role("link", name="Settings").click()
    await expect(page.locator(".chat .last")).to_contain_text("Draft: gone on with on the way")
    await open_chat(page, boris)
    await expect(field).to_have_value("gone on with on the way")
    await other.focus()
    await field.fill("finished at the desk")
    await eventually(lambda: saved(anna, boris, "finished at the desk"), "the draft is saved")
    await expect(other).to_have_value("gone on with on the way")

    # What is sent is a draft nowhere.
    await phone.get_by_role("link", name="Settings").click()
    await page.locator(".composer button").click()
    await expect(message(page, "finished at the desk")).to_have_count(1)
    await expect(phone.locator(".draft")).to_have_count(0)
    await open_chat(phone, boris)
    await expect(other).to_have_value("")


async def test_a_draft_waits_for_its_writer_alone_until_it_is_sent_or_they_log_out(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    clara = await api.person()
    await api.befriend(anna, clara)
    await api.befriend(boris, clara)
    page = await devices.log_in(anna)
    field, row = page.locator(".composer textarea"), page.locator(f".chat[href='#/chat/{boris.user_id}']")
    await open_chat(page, boris)
    await field.fill("half a <b>thought</b>\nin two lines")
    # Another chat has its own text; the list shows the one that waits.
    await open_chat(page, clara)
    await expect(field).to_have_value("")
    await field.fill("for Clara")
    await expect(row.locator(".last")).to_contain_text("Draft: half a <b>thought</b>")
    await open_chat(page, boris)
    await expect(field).to_have_value("half a <b>thought</b>\nin two lines")
    await page.reload()
    await expect(field).to_have_value("half a <b>thought</b>\nin two lines")

    # The session is ended elsewhere: another person on this device sees nothing of it, its writer everything.
    await page.locator("#app[data-line=up]").wait_for()
    assert (await anna.ask("DELETE", "/v1/sessions")).status_code == 204
    await page.get_by_role("heading", name="Log in").wait_for()
    await submit_login(page, boris)
    await open_chat(page, clara)
    await expect(field).to_have_value("")
    await expect(page.locator(".draft")).to_have_count(0)
    await page.get_by_role("link", name="Settings").click()
    await page.get_by_role("button", name="Log out", exact=True).click()
    await page.get_by_role("heading", name="Log in").wait_for()
    await submit_login(page, anna)
    await expect(page.locator(".draft")).to_have_count(2)
    await open_chat(page, boris)
    await expect(field).to_have_value("half a <b>thought</b>\nin two lines")

    # What is sent is no draft any more.
    await page.locator(".composer button").click()
    # Until the answer is there, the live stream may have brought it beside the one that waits.
    await expect(message(page, "half a <b>thought</b>")).to_have_count(1)
    await open_chat(page, clara)
    await expect(field).to_have_value("for Clara")
    await expect(row.locator(".draft")).to_have_count(0)
    assert "for Clara" in await page.evaluate(STORED)

    # Logging out leaves nothing here.
    await page.get_by_role("link", name="Settings").click()
    await page.get_by_role("button", name="Log out", exact=True).click()
    await page.get_by_role("heading", name="Log in").wait_for()
    left = await page.evaluate(STORED)
    assert "for Clara" not in left
    assert anna.user_id not in left
