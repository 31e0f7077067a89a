"""The messenger's frame: the palette, URLs of views, and notifications while the page is not visible."""

import asyncio
import contextlib
import re
from typing import Any

import pytest
from playwright.async_api import Error, Page, Route, expect

from tests.browser.browser_users import PHONE, Devices, open_chat, submit_login
from tests.e2e.people import Api, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

HIDDEN = "Object.defineProperty(document, 'hidden', { get: () => true, configurable: true })"
CLICK = """
(async () => {
  const [notification] = await self.registration.getNotifications();
  self.dispatchEvent(new NotificationEvent("notificationclick", { notification }));
})()
"""
# What the page does, kept in it: tones, and notifications that it begins to show, shows, and closes. Between the first
# two it waits for `hold`.
RECORD = """() => {
  window.tones = 0;
  window.begun = [];
  window.shown = [];
  window.withdrawn = [];
  const make = AudioContext.prototype.createOscillator;
  AudioContext.prototype.createOscillator = function () { window.tones += 1; return make.call(this); };
  const show = ServiceWorkerRegistration.prototype.showNotification;
  ServiceWorkerRegistration.prototype.showNotification = async function (title, options) {
    window.begun.push(title);
    await window.hold;
    await show.call(this, title, options);
    window.shown.push([title, options.body]);
  };
  const close = Notification.prototype.close;
  Notification.prototype.close = function () { window.withdrawn.push(this.title); close.call(this); };
}"""


async def test_the_palette_finds_chats_and_people_and_opens_them_with_the_keyboard_alone(
    devices: Devices, api: Api
) -> None:
    anna = await api.person()
    boris, vera, stranger = [await api.person(display_name=name) for name in ("Boris Petrov", "Vera", "Zoya Serova")]
    await api.befriend(anna, boris)
    await api.befriend(anna, vera)
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await page.locator(".composer textarea").fill("half a sentence")
    palette, field = page.get_by_role("dialog"), page.get_by_role("combobox", name="Find people, chats and messages")
    await page.keyboard.press("Control+k")
    await expect(field).to_be_focused()
    await expect(page.get_by_role("option")).to_have_count(2)
    await page.keyboard.press("Escape")
    await expect(palette).to_have_count(0)
    await expect(page.locator(".composer textarea")).to_be_focused()
    # The same key where the keyboard writes Cyrillic.
    await page.evaluate("dispatchEvent(new KeyboardEvent('keydown', { key: 'л', code: 'KeyK', ctrlKey: true }))")
    await page.keyboard.type("pet")
    await expect(page.get_by_role("option", selected=True)).to_contain_text("Boris Petrov")
    await expect(page.get_by_role("option")).to_have_count(1)
    # Somebody whom the server alone knows; the arrow goes round.
    await field.fill(stranger.username)
    await expect(page.get_by_role("option", selected=True)).to_contain_text("Zoya Serova")
    await page.keyboard.press("ArrowDown")
    active = await field.get_attribute("aria-activedescendant")
    assert active == f"palette-{stranger.user_id}"
    await page.keyboard.press("Enter")
    await expect(palette).to_have_count(0)
    assert page.url.endswith(f"#/chat/{stranger.user_id}")
    await field.wait_for(state="detached")

    phone = await devices.log_in(anna, size=PHONE)
    await phone.get_by_role("button", name="Find").click()
    await phone.get_by_role("combobox").fill("nobody at all")
    await expect(phone.get_by_text("Nobody found.")).to_be_visible()
    await phone.get_by_role("combobox").fill("vera")
    await phone.get_by_role("option", name="Vera").click()
    await expect(phone.locator(".head h2")).to_have_text("Vera")


async def test_an_address_opens_its_view_and_outlives_a_login_but_not_a_change_of_person(
    devices: Devices, api: Api
) -> None:
    anna, boris = await api.friends()
    carol = await api.person()
    page = await devices.page()
    await page.goto(f"/chat/{boris.user_id}")
    await submit_login(page, anna)
    await page.locator(".composer textarea").wait_for()
    assert page.url.endswith(f"/#/chat/{boris.user_id}")
    await page.goto("/people")
    await page.get_by_role("searchbox", name="Find people").wait_for()
    assert page.url.endswith("/#/people")

    for person, at in ((anna, r"/#/people$"), (carol, r"/#?$")):
        await page.locator("#app[data-line=up]").wait_for()
        again = await api.again(anna)
        assert (await again.ask("DELETE", "/v1/sessions")).status_code == 204
        await expect(page.get_by_text("You were logged out from another device.")).to_be_visible()
        await expect(page).to_have_title("Vestnik")
        await submit_login(page, person)
        await expect(page).to_have_url(re.compile(at))
    # Who logs out leaves no address behind.
    await page.goto(f"/chat/{boris.user_id}")
    await page.locator("nav.tabs").wait_for()
    await page.get_by_role("link", name="Settings").click()
    await page.get_by_role("button", name="Log out", exact=True).click()
    await page.locator("#field-login").wait_for()
    await expect(page).to_have_url(re.compile(r"/#?$"))


async def test_a_page_opened_on_a_dead_line_shows_what_it_kept_and_ends_with_its_session(
    devices: Devices, api: Api
) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "kept here")
    page = await devices.log_in(anna)
    await expect(page.locator(".chat .last")).to_have_text("kept here")
    kept = f"import('/web/js/storage.js').then((it) => it.loadLastState('{anna.user_id}')).then(Boolean)"
    await eventually(lambda: page.evaluate(kept), "the list is kept")
    answering = asyncio.Event()

    async def silent(route: Route) -> None:
        if answering.is_set():
            await route.continue_()
            return
        await answering.wait()
        # The page may have given it up.
        with contextlib.suppress(Error):
            await route.abort("connectionrefused")

    await page.route("**/v1/**", silent)
    await page.reload()
    await expect(page.locator(".chat .last")).to_have_text("kept here")
    again = await api.again(anna)
    assert (await again.ask("DELETE", "/v1/sessions")).status_code == 204
    answering.set()
    await expect(page.get_by_text("This session has ended. Log in again.")).to_be_visible(timeout=60_000)
    await expect(page.locator(".chat")).to_have_count(0)


async def test_a_message_is_notified_once_while_no_tab_is_visible(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    vera = await api.person(display_name="Vera")
    await api.befriend(anna, vera)
    await boris.sends(anna, "from before")
    page = await devices.log_in(anna)
    await allow_notifications(page)
    await page.get_by_label("Play a sound").check()
    await expect(page.get_by_label("With the text of the message")).to_be_checked()
    other = await page.context.new_page()
    await other.goto("/")
    pages = [page, other]
    for tab in pages:
        await tab.locator("#app[data-line=up]").wait_for()
        await tab.evaluate(RECORD)

    # A tab is looked at.
    await page.evaluate(HIDDEN)
    await boris.sends(anna, "looked at")
    await expect(page).to_have_title("(2) Vestnik")
    # No tab is: a burst is one alert of one tab.
    await other.evaluate(HIDDEN)
    await boris.sends(anna, *(f"burst {number}" for number in range(5)))
    name = (await api.http.get(f"/v1/profiles/{boris.user_id}")).json()["display_name"]
    wanted = [[name, "burst 4"]]
    await recorded(pages, "shown", wanted)
    assert await tones(pages) == 1

    # The line breaks in both, and what was missed is one summary.
    for tab in pages:
        await tab.route("**/v1/events**", lambda route: route.abort("connectionrefused"))
        await tab.evaluate("dispatchEvent(new Event('offline'))")
        await tab.locator("#app:not([data-line=up])").wait_for()
    await boris.sends(anna, "missed")
    await vera.sends(anna, "one", "two")
    for tab in pages:
        await tab.unroute("**/v1/events**")
    wanted.append(["Vestnik", "10 unread messages"])
    await recorded(pages, "shown", wanted)
    assert await tones(pages) == 2

    # Read on another device: nothing to tell of any more.
    await anna.sees(boris, 8)
    await anna.sees(vera, 2)
    await recorded(pages, "withdrawn", [name, "Vestnik"])

    # A click opens the conversation; the name alone by choice.
    await page.get_by_label("With the text of the message").uncheck()
    await vera.sends(anna, "three")
    wanted.append(["Vera", "1 unread message"])
    await recorded(pages, "shown", wanted)
    await page.context.service_workers[0].evaluate(CLICK)

    async def opened() -> bool:
        return any(tab.url.endswith(f"#/chat/{vera.user_id}") for tab in pages)

    await eventually(opened, "the conversation of the notification")


async def test_a_message_read_elsewhere_while_its_notification_is_being_shown_has_none_afterwards(
    devices: Devices, api: Api
) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await allow_notifications(page)
    await page.evaluate(RECORD)
    await page.evaluate("() => { window.hold = new Promise((resolve) => { window.release = resolve; }); }")
    await page.evaluate(HIDDEN)
    await boris.sends(anna, "read on the phone")
    [sender] = await in_list(page, "begun")
    await anna.sees(boris, 1)
    await expect(page).to_have_title("Vestnik")
    assert await page.evaluate("window.withdrawn") == []
    await page.evaluate("window.release()")
    assert await in_list(page, "withdrawn") == [sender]


async def in_list(page: Page, what: str) -> list[Any]:
    """The list, once it is not empty: the page allows no `wait_for_function`."""
    await eventually(lambda: page.evaluate(f"window.{what}.length > 0"), f"something {what}")
    entries: list[Any] = await page.evaluate(f"window.{what}")
    return entries


async def allow_notifications(page: Page) -> None:
    await page.context.grant_permissions(["notifications"])
    await page.evaluate("navigator.serviceWorker.ready")
    await page.get_by_role("link", name="Settings").click()
    await page.get_by_label("Show a notification").check()


async def recorded(pages: list[Page], what: str, wanted: list[Any]) -> None:
    entries: list[Any] = []

    async def as_wanted() -> bool:
        entries[:] = [entry for page in pages for entry in await page.evaluate(f"window.{what}")]
        return len(entries) >= len(wanted)

    await eventually(as_wanted, f"{wanted} {what}", within=90)
    assert sorted(entries) == sorted(wanted)


async def tones(pages: list[Page]) -> int:
    return sum([await page.evaluate("window.tones") for page in pages])
