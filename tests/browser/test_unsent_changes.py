"""Messages, edits and deletions that are offline, late, lost or refused."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.browser_users import Devices, message, open_chat, write
from tests.browser.message_menu import choose, row
from tests.e2e.people import Api, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_edits_and_deletions_without_a_connection_outlive_the_page(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "to change", "to delete")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await message(page, "to delete").wait_for()
    await page.evaluate("navigator.serviceWorker.ready")
    await page.context.set_offline(True)
    await choose(page, "to change", "Edit")
    await write(page, "changed")
    await choose(page, "to delete", "Delete")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    texts, field = page.locator(".message .text"), page.locator(".composer textarea")
    await expect(texts).to_have_text(["changed", "Message deleted"])
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await field.press("ArrowUp")
    await expect(field).to_have_value("changed")
    await field.press("Escape")
    await write(page, "new")
    await choose(page, "new", "Edit")
    await write(page, "new and changed")
    await write(page, "never sent")
    await choose(page, "never sent", "Delete")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await write(page, "dropped in another tab")
    await expect(texts).to_have_text(["changed", "Message deleted", "new and changed", "dropped in another tab"])
    await page.reload()
    await expect(texts).to_have_text(["changed", "Message deleted", "new and changed", "dropped in another tab"])
    tab = await page.context.new_page()
    await tab.goto(page.url)
    await choose(tab, "new and changed", "Edit")
    await write(tab, "changed in another tab")
    await choose(tab, "dropped in another tab", "Delete")
    await tab.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(tab.get_by_role("dialog")).to_have_count(0)
    await page.context.set_offline(False)
    for shown in (page, tab):
        await expect(shown.locator(".message [title='Waiting to be sent']")).to_have_count(0)
        await expect(shown.locator(".message .text")).to_have_text(
            ["changed", "Message deleted", "changed in another tab"]
        )
    assert [item["text"] for item in await boris.messages(anna)] == ["changed in another tab", "", "changed"]


async def test_a_late_answer_does_not_undo_the_reaction_of_another_device(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    (sent,) = await boris.sends(anna, "we have a boat")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    stored, answered = asyncio.Event(), asyncio.Event()

    async def late(route: Any) -> None:  # noqa: ANN401 - playwright's own
        response = await route.fetch()
        stored.set()
        await answered.wait()
        await route.fulfill(response=response)

    await page.route("**/reaction", late)
    await choose(page, "we have a boat", "React")
    await page.get_by_role("dialog").get_by_role("button", name="👍").click()
    await asyncio.wait_for(stored.wait(), 60)
    path = f"/v1/conversations/{boris.user_id}/messages/{sent['message_id']}/reaction"
    assert (await anna.ask("PUT", path, json={"emoji": "⛵"})).status_code == 204
    # The stream has brought both by the time that it brings what comes after them.
    await boris.sends(anna, "and a sail")
    await message(page, "and a sail").wait_for()
    answered.set()
    await page.unroute_all(behavior="wait")
    await expect(page.locator(".chip")).to_have_text(["⛵1"])


async def test_a_message_is_shown_once_while_its_answer_is_late(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    answered = asyncio.Event()

    async def late(route: Any) -> None:  # noqa: ANN401 - playwright's own
        response = await route.fetch()
        await answered.wait()
        await route.fulfill(response=response)

    await page.route("**/messages", late)
    await write(page, "once")
    texts = page.locator(".message .text")
    await expect(page.locator(".messages:not(.waiting) .message .text")).to_have_text(["once"])
    assert await texts.all_text_contents() == ["once"]
    answered.set()
    await page.unroute_all(behavior="wait")
    await write(page, "once")
    await expect(page.locator(".messages:not(.waiting) .message .text")).to_have_text(["once", "once"])
    await expect(texts).to_have_text(["once", "once"])


async def test_a_message_whose_answer_is_lost_is_still_deleted(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    if not await page.evaluate("navigator.onLine"):
        pytest.skip("the machine has no network: what is sent counts as not sent")
    await open_chat(page, boris)
    stored = asyncio.Event()

    async def lost(route: Any) -> None:  # noqa: ANN401 - playwright's own
        await route.fetch()
        await page.context.set_offline(True)
        await route.abort("internetdisconnected")
        stored.set()

    await page.route("**/messages", lost)
    await write(page, "sent by mistake")
    await asyncio.wait_for(stored.wait(), 60)
    await page.unroute("**/messages")
    waiting = page.locator(".messages.waiting .message")
    await waiting.hover()
    await waiting.locator(".more").click()
    await page.get_by_role("menuitem", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(waiting).to_have_count(0)
    await page.context.set_offline(False)
    await expect(page.locator(".message .text")).to_have_text(["Message deleted"])
    await expect(page.locator(".message [title='Waiting to be sent']")).to_have_count(0)

    # His reads do not wait for what she wrote.
    async def is_deleted() -> bool:
        return [item["text"] for item in await boris.messages(anna)] == [""]

    await eventually(is_deleted, "the deletion, for the other one")


async def test_a_refused_message_keeps_the_focus_and_blocks_nothing_once_deleted(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    requests: asyncio.Queue[Any] = asyncio.Queue()
    refused = {"status": 403, "code": "not_friends", "title": "", "detail": ""}
    await page.route("**/messages", requests.put)
    await write(page, "refused")
    await (await asyncio.wait_for(requests.get(), 60)).fulfill(status=403, json=refused)
    await page.get_by_role("button", name="Try again").focus()
    await page.keyboard.press("Enter")
    again = await asyncio.wait_for(requests.get(), 60)
    await expect(row(page, "refused")).to_be_focused()
    await choose(page, "refused", "Delete")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await write(page, "the next one")
    await again.fulfill(status=403, json=refused)
    await (await asyncio.wait_for(requests.get(), 60)).continue_()
    await expect(page.locator(".message [title='Waiting to be sent']")).to_have_count(0)
    assert [item["text"] for item in await boris.messages(anna)] == ["the next one"]


async def test_a_refused_edit_says_why_and_keeps_its_text(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    (sent,) = await anna.sends(boris, "deleted elsewhere")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await message(page, "deleted elsewhere").wait_for()
    await page.context.set_offline(True)
    await choose(page, "deleted elsewhere", "Edit")
    await write(page, "a long and careful text")
    assert (await anna.delete(boris, sent["message_id"])).status_code == 204
    await page.context.set_offline(False)
    why = page.locator(".why")
    await expect(why).to_contain_text("Not changed: This message was deleted.")
    await expect(why).to_contain_text("a long and careful text")
    await expect(page.locator(".message .text")).to_have_text(["Message deleted"])
    await page.get_by_role("button", name="Put the text into the field").click()
    await expect(page.locator(".composer textarea")).to_have_value("a long and careful text")
    await expect(why).to_have_count(0)


async def test_a_refused_edit_delays_nothing_else(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "an old one")
    page, other = await devices.log_in(anna), await devices.log_in(boris)
    await open_chat(page, boris)
    await open_chat(other, anna)
    too_old = {"status": 409, "code": "edit_window_over", "title": "", "detail": ""}
    await page.route("**/messages/*", lambda route: route.fulfill(status=409, json=too_old))
    await choose(page, "an old one", "Edit")
    await write(page, "too late")
    await expect(page.locator(".why")).to_contain_text("Not changed: This message is too old to be changed.")
    await choose(page, "an old one", "React")
    await page.get_by_role("dialog").get_by_role("button", name="🙏").click()
    await write(page, "a new one")
    await expect(message(other, "a new one")).to_be_visible()
    await expect(row(other, "an old one").locator(".chip")).to_have_text(["🙏1"])


async def test_changes_that_come_before_an_older_page_are_not_undone_by_it(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    first, second = await boris.sends(anna, "first", "second")
    page = await devices.log_in(anna)
    await page.locator(".chat .last", has_text="second").wait_for()
    await page.locator("#app[data-line=up]").wait_for()

    async def late(route: Any) -> None:  # noqa: ANN401 - playwright's own
        answered = await route.fetch()
        assert (await boris.edit(anna, first["message_id"], "first, changed")).status_code == 200
        assert (await boris.delete(anna, second["message_id"])).status_code == 204
        # The last of the changes has come.
        await expect(page.locator(".chat .last")).to_contain_text("Message deleted")
        await route.fulfill(response=answered)

    await page.route("**/messages?*", late, times=1)
    await open_chat(page, boris)
    await expect(page.locator(".message .text")).to_have_text(["first, changed", "Message deleted"])
