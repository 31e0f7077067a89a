"""What can be done to a message in the messenger's page: edit, delete, answer, react; also by keyboard and touch."""

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.browser_users import Devices, message, open_chat, write
from tests.browser.message_menu import answer, choose, press_long, row
from tests.browser.readability import assert_readable
from tests.e2e.people import Api

pytestmark = pytest.mark.asyncio(loop_scope="session")
SMALL_PHONE = {"width": 360, "height": 640}


async def test_an_edit_is_seen_by_both_and_marked_with_its_time(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page, other = await devices.log_in(anna), await devices.log_in(boris)
    await open_chat(page, boris)
    await open_chat(other, anna)
    await write(page, "tomorow at nine")
    await message(other, "tomorow at nine").wait_for()
    field = page.locator(".composer textarea")
    await field.fill("a draft")
    await choose(page, "tomorow at nine", "Edit")
    await expect(field).to_have_value("tomorow at nine")
    await expect(page.locator(".context")).to_contain_text("Editing")
    await field.fill("tomorrow")
    await page.goto("/#/people")
    await expect(field).to_have_count(0)
    await page.goto(f"/#/chat/{boris.user_id}")
    await expect(page.locator(".context")).to_contain_text("Editing")
    await expect(field).to_have_value("tomorrow")
    await write(page, "tomorrow at nine")
    await expect(field).to_have_value("a draft")
    await expect(page.locator(".context")).to_be_hidden()
    for shown in (page, other):
        await expect(shown.locator(".message .text")).to_have_text(["tomorrow at nine"])
        await expect(shown.locator(".message .edited")).to_have_attribute("title", re.compile(r"Changed \d"))
    await expect(other.locator(".chat .last")).to_have_text("tomorrow at nine")
    await expect(other.locator("#notes")).to_contain_text("changed a message: tomorrow at nine")
    await page.reload()
    await expect(page.locator(".message .text")).to_have_text(["tomorrow at nine"])
    await expect(page.locator(".message .edited")).to_be_visible()


async def test_a_deleted_message_leaves_its_place_to_both(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page, other = await devices.log_in(anna), await devices.log_in(boris)
    await open_chat(page, boris)
    await open_chat(other, anna)
    await write(page, "a secret")
    await message(other, "a secret").wait_for()
    await choose(page, "a secret", "Delete")
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(row(page, "a secret")).to_be_focused()
    await choose(page, "a secret", "Delete")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    for shown in (page, other):
        await expect(shown.locator(".message .text")).to_have_text(["Message deleted"])
        await expect(shown.locator(".chat .last")).to_contain_text("Message deleted")
        await expect(shown.locator(".message .more")).to_have_count(0)
        await expect(shown.get_by_text("a secret")).to_have_count(0)
    await expect(other.locator("#notes")).to_contain_text("deleted a message")
    # One that was not seen yet leaves no notification that is new.
    await other.goto("/#/notifications")
    (unseen,) = await anna.sends(boris, "not seen yet")
    fresh = other.locator(".person.fresh", has_text="wrote to you")
    await expect(fresh).to_have_count(1)
    assert (await anna.delete(boris, unseen["message_id"])).status_code == 204
    await expect(fresh).to_have_count(0)


async def test_a_reply_shows_what_it_answers_and_leads_there(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    (old,) = await boris.sends(anna, "an old question")
    sent = await boris.sends(anna, *(f"message {number}" for number in range(160)))
    assert (await anna.sees(boris, sent[-1]["sequence"])).status_code == 204
    page, other = await devices.log_in(anna), await devices.log_in(boris)
    await open_chat(page, boris)
    await open_chat(other, anna)
    await message(other, "message 159").wait_for()
    await choose(page, "message 159", "Reply")
    await expect(page.locator(".context")).to_contain_text("message 159")
    await page.keyboard.press("Escape")
    await expect(page.locator(".context")).to_be_hidden()
    await choose(page, "message 159", "Reply")
    await write(page, "a near answer")
    await expect(page.locator(".context")).to_be_hidden()
    await expect(row(other, "a near answer").locator(".quote")).to_contain_text("message 159")
    # One far away, which neither page has loaded.
    await answer(anna, boris, old, "a late answer")
    quote = row(page, "a late answer").locator(".quote")
    await expect(quote).to_contain_text("an old question")
    await expect(message(page, "an old question")).to_have_count(0)
    await quote.click()
    await expect(message(page, "an old question")).to_be_in_viewport()
    await expect(row(page, "an old question")).to_be_focused()
    await page.locator(".jump").click()
    await expect(message(page, "a late answer")).to_be_in_viewport()
    await choose(other, "a near answer", "Reply")
    await write(other, "to an answer")
    assert (await boris.delete(anna, sent[-1]["message_id"])).status_code == 204
    for shown in (page, other):
        await expect(row(shown, "a near answer").locator(".quote")).to_contain_text("Message deleted")


async def test_what_is_answered_or_was_found_is_gone_once_it_is_deleted(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    asked, found_message = await boris.sends(anna, "a rash question", "a rash remark")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await choose(page, "a rash question", "Reply")
    context = page.locator(".context")
    await expect(context).to_contain_text("a rash question")
    assert (await boris.edit(anna, asked["message_id"], "a calm question")).status_code == 200
    await expect(context).to_contain_text("a calm question")
    assert (await boris.delete(anna, asked["message_id"])).status_code == 204
    await expect(context).to_contain_text("Message deleted")
    await expect(page.get_by_text("calm question")).to_have_count(0)
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox").fill("rash rem")
    option = page.get_by_role("option").filter(has_text="a rash remark")
    await expect(option).to_have_count(1)
    assert (await boris.delete(anna, found_message["message_id"])).status_code == 204
    await expect(option).to_have_count(0)


async def test_two_people_react_to_a_message(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "we have a boat")
    page, other = await devices.log_in(anna), await devices.log_in(boris)
    await open_chat(page, boris)
    await open_chat(other, anna)
    await choose(page, "we have a boat", "React")
    await page.get_by_role("dialog").get_by_role("button", name="👍").click()
    chip, others = page.locator(".chip"), other.locator(".chip")
    await expect(chip).to_have_attribute("aria-pressed", "true")
    await expect(others).to_have_attribute("aria-pressed", "false")
    await expect(others).to_have_text("👍1")
    # A message that changes under its open menu keeps its button.
    more = row(page, "we have a boat").locator(".more")
    await more.click()
    await others.click()
    await expect(chip).to_have_text("👍2")
    await page.keyboard.press("Escape")
    await expect(more).to_be_focused()
    await choose(page, "we have a boat", "React")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Shift+Tab")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(chip).to_have_attribute("title", re.compile(rf"You, {boris.username}|{boris.username}, You"))
    # Another one takes the place of the first; it is written.
    await choose(page, "we have a boat", "React")
    await page.get_by_label("Any other emoji").fill("⛵")
    await page.keyboard.press("Enter")
    for shown in (page, other):
        await expect(shown.locator(".chip")).to_have_text(["👍1", "⛵1"])
    await choose(page, "we have a boat", "React")
    await page.get_by_label("Any other emoji").fill("a boat")
    await page.keyboard.press("Enter")
    await expect(page.locator(".why")).to_contain_text("A reaction is one emoji.")
    await page.get_by_role("button", name="Discard").click()
    await expect(page.locator(".why")).to_have_count(0)
    await page.locator(".chip", has_text="⛵").click()
    for shown in (page, other):
        await expect(shown.locator(".chip")).to_have_text(["👍1"])
    await page.reload()
    # Before the page has loaded its messages, it shows those that it kept, which may be older.
    await expect(chip).to_have_text(["👍1"])


async def test_screen_readers_hear_what_others_do(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    vera = await api.person(display_name="Vera")
    await api.befriend(anna, vera)
    (mine,) = await anna.sends(boris, "are you there?")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await message(page, "are you there?").wait_for()
    notes = page.locator("#notes p")
    await boris.sends(anna, "I am here")
    await expect(notes).to_have_text([f"{boris.username}: I am here"])
    path = f"/v1/conversations/{anna.user_id}/messages/{mine['message_id']}/reaction"
    assert (await boris.ask("PUT", path, json={"emoji": "👍"})).status_code == 204
    await expect(notes.last).to_have_text(f"{boris.username} reacted with 👍")
    # Of another chat only that there is something new: once, until it is read.
    await vera.sends(anna, "one", "two")
    await expect(page.locator(f".chat[href='#/chat/{vera.user_id}'] .badge")).to_have_text("2")
    await expect(notes.filter(has_text="New message from Vera")).to_have_count(1)
    await expect(notes.filter(has_text="two")).to_have_count(0)


async def test_the_keyboard_alone_edits_answers_and_reacts(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "mine")
    await boris.sends(anna, "from another")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await message(page, "from another").wait_for()
    field, menu = page.locator(".composer textarea"), page.get_by_role("menu")
    await field.press("ArrowUp")
    await expect(field).to_have_value("mine")
    await field.press("Escape")
    await expect(field).to_have_value("")
    await expect(page.locator(".context")).to_be_hidden()
    await page.locator(".log").focus()
    await page.keyboard.press("ArrowUp")
    await expect(row(page, "from another")).to_be_focused()
    await page.keyboard.press("Shift+F10")
    await expect(menu.get_by_role("menuitem")).to_have_text(["Reply", "React", "Copy the text", "Report"])
    await expect(menu.get_by_role("menuitem", name="Reply")).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Escape")
    await expect(menu).to_have_count(0)
    await expect(row(page, "from another")).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ContextMenu")
    await expect(menu.get_by_role("menuitem")).to_have_text(["Reply", "React", "Edit", "Copy the text", "Delete"])
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog", name="React")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(row(page, "mine").locator(".chip")).to_have_text("👍1")
    await expect(row(page, "mine")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await expect(field).to_be_focused()
    await page.keyboard.type("an answer")
    await page.keyboard.press("Enter")
    await expect(row(page, "an answer").locator(".quote")).to_contain_text("mine")
    await page.keyboard.press("Escape")
    await expect(page.locator(".nothing")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_on_a_small_phone_in_russian_a_long_press_opens_the_menu(devices: Devices, api: Api, scheme: str) -> None:
    anna, boris = await api.friends()
    (asked,) = await boris.sends(anna, "Во сколько встречаемся? " * 4)
    (gone,) = await boris.sends(anna, "Ошибка")
    await answer(anna, boris, asked, "В девять")
    assert (await boris.delete(anna, gone["message_id"])).status_code == 204
    phone: dict[str, Any] = {"size": SMALL_PHONE, "has_touch": True, "is_mobile": True}
    page = await devices.log_in(anna, **phone, locale="ru", color_scheme=scheme)
    await open_chat(page, boris)
    await message(page, "В девять").wait_for()
    menu = page.get_by_role("menu")
    await press_long(page, row(page, "В девять"))
    await expect(menu.get_by_role("menuitem")).to_have_text(
        ["Ответить", "Реакция", "Изменить", "Скопировать текст", "Удалить"]
    )
    await assert_readable(page, f"menu-{scheme}")
    await menu.get_by_role("menuitem", name="Реакция").tap()
    picker = page.get_by_role("dialog", name="Реакция")
    await expect(picker).to_be_visible()
    await assert_readable(page, f"picker-{scheme}")
    await picker.get_by_role("button", name="🔥").tap()
    await page.locator(".chip").wait_for()
    await press_long(page, row(page, "В девять"))
    await menu.get_by_role("menuitem", name="Изменить").tap()
    await expect(page.locator(".context")).to_contain_text("Изменение")
    await assert_readable(page, f"actions-{scheme}")
    assert await page.evaluate("document.documentElement.scrollWidth") == SMALL_PHONE["width"]
