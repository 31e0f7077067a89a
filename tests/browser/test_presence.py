"""Typing notices, who is online, and the settings that follow their owner to every device."""

import pytest
from playwright.async_api import expect

from tests.browser.browser_users import Devices, message, open_chat, write
from tests.e2e.people import Api

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_friend_sees_that_one_is_typing_until_the_message_is_there(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    writer, reader = await devices.log_in(anna), await devices.log_in(boris)
    await open_chat(writer, boris)
    await open_chat(reader, anna)
    field = writer.locator(".composer textarea")
    shown = reader.locator(".head p")
    await expect(shown).not_to_have_text("typing…")

    # The notice holds for six seconds; a key now and then keeps it up, as a person's typing does.
    await field.press_sequentially("half a thought, and then some more", delay=150)
    await expect(shown).to_have_text("typing…")
    await expect(reader.get_by_role("status").filter(has_text=f"{anna.username} is typing.")).to_be_attached()
    await write(writer, "here it is")
    await expect(message(reader, "here it is")).to_be_visible()
    await expect(shown).not_to_have_text("typing…")


async def test_friends_see_who_is_online_unless_one_of_them_hides_it(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page, other = await devices.log_in(anna), await devices.log_in(boris)
    await open_chat(page, boris)
    shown = page.locator(".head p")
    await expect(shown).to_have_text("online")
    await expect(page.locator(".chat").get_by_role("img", name="online")).to_be_visible()

    await other.get_by_role("link", name="Settings").click()
    await other.get_by_label("Who sees when you are online").select_option("Nobody")
    await expect(shown).to_have_text(f"@{boris.username}")
    await expect(other.locator(".chat").get_by_role("img", name="online")).to_have_count(0)
    await other.get_by_label("Who sees when you are online").select_option("Friends")
    await expect(shown).to_have_text("online")
    await expect(other.locator(".chat").get_by_role("img", name="online")).to_be_visible()

    # Who has left was last seen a moment ago.
    await other.close()
    await expect(shown).to_have_text("last seen just now")


async def test_who_is_no_friend_any_more_is_not_shown_as_online_and_as_a_friend_again_is(
    devices: Devices, api: Api
) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await devices.log_in(boris)
    await open_chat(page, boris)
    shown = page.locator(".head p")
    await expect(shown).to_have_text("online")
    assert (await boris.remove(anna)).status_code == 204
    await expect(page.get_by_role("button", name="Add")).to_be_visible()
    await expect(shown).to_have_text(f"@{boris.username}")
    await api.befriend(anna, boris)
    await expect(shown).to_have_text("online")


async def test_the_language_that_is_chosen_holds_on_the_other_devices_of_its_owner(devices: Devices, api: Api) -> None:
    anna = await api.person()
    page, other = await devices.log_in(anna), await devices.log_in(anna)
    await page.get_by_role("link", name="Settings").click()
    async with page.expect_response(
        lambda answer: answer.url.endswith("/v1/profiles/me") and answer.request.method == "PATCH"
    ):
        await page.get_by_label("Language").select_option("ru")
    await expect(page.get_by_role("heading", name="Настройки")).to_be_visible()
    await other.reload()
    await expect(other.get_by_role("link", name="Настройки")).to_be_visible()
