"""The URL of a chat with a person who is not a friend, and requests answered in the notifications."""

import asyncio
import uuid

import pytest
from playwright.async_api import Route, expect

from tests.browser.browser_users import PHONE, Devices, message, open_chat, write
from tests.e2e.people import Api

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_address_of_a_stranger_leads_to_a_friendship_and_the_chat_comes_and_goes_with_it(
    devices: Devices, api: Api
) -> None:
    anna = await api.person(display_name="Anna")
    boris = await api.person(display_name="Boris <b>Bold</b>")
    page = await devices.log_in(anna)
    stranger, field = page.locator(".stranger"), page.locator(".composer textarea")
    await page.goto(f"/#/chat/{boris.user_id}")
    await expect(stranger.locator("h3")).to_have_text("Boris <b>Bold</b>")
    await expect(stranger).to_contain_text("You are not friends")
    await expect(field).to_be_hidden()
    await page.get_by_role("button", name="Add").click()
    await expect(stranger).to_contain_text("You have asked")
    await page.get_by_role("button", name="Withdraw").click()
    await expect(stranger).to_contain_text("You are not friends")
    # The other one asks, and is answered here.
    await boris.add(anna)
    await page.get_by_role("button", name="Accept").click()
    await field.fill("half a thought")
    await expect(stranger).to_be_hidden()

    # It ends while the chat is open, and comes back.
    await boris.sends(anna, "before the end")
    await expect(message(page, "before the end")).to_be_visible()
    await boris.remove(anna)
    await expect(stranger).to_be_visible()
    await expect(field).to_be_hidden()
    await expect(message(page, "before the end")).to_have_count(0)
    await boris.add(anna)
    await expect(stranger).to_contain_text("asks to be your friend")
    await anna.add(boris)
    await expect(field).to_have_value("half a thought")
    await expect(message(page, "before the end")).to_be_visible()
    await write(page, "all of it")
    await expect(message(page, "all of it")).to_be_visible()

    for address, said in ((uuid.uuid4(), "There is no such person."), (anna.user_id, "This is you")):
        await page.goto(f"/#/chat/{address}")
        await expect(stranger).to_contain_text(said)
        await expect(stranger.get_by_role("button")).to_have_count(0)


async def test_a_request_is_answered_in_the_notifications_and_messages_are_read_there_with_their_chat(
    devices: Devices, api: Api
) -> None:
    anna, boris = await api.friends()
    clara, diego = await api.person(display_name="Clara"), await api.person(display_name="Diego")
    await boris.sends(anna, "hello")
    await clara.add(anna)
    await diego.add(anna)
    page = await devices.log_in(anna, size=PHONE)
    await page.get_by_role("link", name="Notifications").click()

    claras, diegos = page.locator(".person", has_text="Clara"), page.locator(".person", has_text="Diego")
    await claras.get_by_role("button", name="Accept").click()
    await expect(claras).to_contain_text("You are friends.")
    await diegos.get_by_role("button", name="Decline").click()
    await expect(diegos).to_contain_text("No longer open.")
    await expect(page.locator(".person").get_by_role("button")).to_have_count(0)
    # The message, and that Boris has accepted.
    await expect(page.locator(".person.fresh")).to_have_count(2)
    await page.get_by_role("link", name="Chats").click()
    await open_chat(page, boris)
    await expect(message(page, "hello")).to_be_visible()
    await page.goto("/#/notifications")
    await expect(page.locator(".person.fresh")).to_have_count(1)
    await boris.sends(anna, "again")
    await expect(page.locator(".person.fresh")).to_have_count(2)
    async with page.expect_response("**/v1/notifications/read"):
        await page.get_by_role("button", name="Mark all as read").click()
    await expect(page.locator(".person.fresh")).to_have_count(0)
    assert (await anna.get("/v1/notifications/unread")).json() == {"unread_count": 0}


async def test_a_list_of_notifications_that_arrives_late_undoes_nothing_that_happened_meanwhile(
    devices: Devices, api: Api
) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await expect(page.get_by_role("link", name="Notifications 1")).to_be_visible()
    asked, answered = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        answer = await route.fetch()
        asked.set()
        await answered.wait()
        await route.fulfill(response=answer)

    await page.route("**/v1/notifications?*", late, times=1)
    await page.get_by_role("link", name="Notifications").click()
    await asyncio.wait_for(asked.wait(), 20)
    fresh = page.locator(".person.fresh")
    await expect(fresh).to_have_count(1)
    await boris.sends(anna, "meanwhile")
    await expect(fresh).to_have_count(2)
    await page.get_by_role("button", name="Mark all as read").click()
    await expect(fresh).to_have_count(0)
    await boris.sends(anna, "and again")
    await expect(fresh).to_have_count(1)
    async with page.expect_response("**/v1/notifications?*"):
        answered.set()
    # The acceptance, and the newest message of the conversation.
    await expect(page.locator(".person")).to_have_count(2)
    await expect(fresh).to_have_count(1)


async def test_a_conversation_is_one_notification_however_much_is_written_in_it(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    vera = await api.person(display_name="Vera")
    await vera.add(anna)
    *_, last = await boris.sends(anna, *(f"message {number}" for number in range(110)))
    page = await devices.log_in(anna)
    await page.get_by_role("link", name="Notifications").click()
    written, asked = page.locator(".person", has_text="wrote to you"), page.locator(".person", has_text="Vera")
    await expect(written.locator(".badge")).to_have_text(["110 unread messages"])
    # It has not pushed out what else there is.
    await expect(asked.get_by_role("button", name="Accept")).to_be_visible()
    await boris.sends(anna, "one more")
    await expect(written.locator(".badge")).to_have_text(["111 unread messages"])
    # After a deletion of the newest, an earlier one stands for the conversation.
    *_, gone = await boris.sends(anna, "a slip")
    assert (await boris.delete(anna, gone["message_id"])).status_code == 204
    await expect(written).to_have_count(1)
    await expect(page.locator(".person.fresh", has_text="wrote to you")).to_have_count(1)
    await anna.sees(boris, last["sequence"] + 2)
    await expect(written).to_have_count(1)
    await expect(page.locator(".person.fresh", has_text="wrote to you")).to_have_count(0)
    await page.reload()
    await expect(written).to_have_count(1)
    await expect(page.locator(".person.fresh", has_text="Vera")).to_have_count(1)
