"""What can be done to a message in the messenger's page: edit, delete, answer, react; also by keyboard and offline."""

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.browser_users import Devices, message, open_chat, write
from tests.browser.test_looks import assert_readable
from tests.e2e.people import Api, Json, Person, eventually

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
    asked, found = await boris.sends(anna, "a rash question", "a rash remark")
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
    assert (await boris.delete(anna, found["message_id"])).status_code == 204
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
    assert [found["text"] for found in await boris.messages(anna)] == ["changed in another tab", "", "changed"]


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
        return [found["text"] for found in await boris.messages(anna)] == [""]

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
    assert [found["text"] for found in await boris.messages(anna)] == ["the next one"]


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
        found = await page.evaluate(KEPT_TEXTS, person.user_id)
        return bool(found == texts)

    await eventually(is_kept, f"on the disk: {texts}", within=20)


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


def row(page: Page, text: str) -> Locator:
    return page.locator(".message", has=page.locator(".text", has_text=text))


async def choose(page: Page, text: str, item: str) -> None:
    """Opens a message's menu with the pointer, and clicks on an item."""
    await row(page, text).hover()
    await row(page, text).locator(".more").click()
    await page.get_by_role("menuitem", name=item).click()


async def press_long(page: Page, target: Locator) -> None:
    """Holds a finger on an element until a menu is open."""
    await target.scroll_into_view_if_needed()
    box = await target.bounding_box()
    assert box is not None
    session = await page.context.new_cdp_session(page)
    points = [{"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}]
    await session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points})
    await page.get_by_role("menu").wait_for()
    await session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    await session.detach()


async def answer(person: Person, other: Person, to: Json, text: str) -> None:
    body = {"text": text, "client_message_id": f"answer-{to['message_id']}", "reply_to": to["message_id"]}
    response = await person.ask("POST", f"/v1/conversations/{other.user_id}/messages", json=body)
    assert response.status_code == 201, response.text
