"""The messenger's main use cases, in a real browser against a real system."""

import asyncio
import contextlib
import re

import httpx
import pytest
from playwright.async_api import expect

from tests.browser.browser_users import PHONE, Devices, disconnect, message, open_chat, reconnect, write
from tests.e2e.people import PASSWORD, Api, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_user_registers_finds_a_friend_and_they_exchange_messages(devices: Devices, api: Api) -> None:
    boris = await api.person(display_name="Борис")
    account = api.registration()
    page = await devices.page()
    await page.get_by_role("button", name="Create an account").click()
    await page.get_by_label("E-mail").fill(str(account["email"]))
    await page.get_by_label("Username").fill(str(account["username"]))
    await page.get_by_label("Name", exact=True).fill("Anna")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Create an account").click()
    await page.get_by_role("heading", name="Check your mail").wait_for()

    async def shown() -> bool:
        await page.get_by_role("button", name="Show the mail").click()
        return bool(await page.get_by_label("Token").input_value())

    await eventually(shown, "the mail", within=30)
    await page.get_by_role("button", name="Verify").click()
    await page.get_by_role("link", name="People").click()
    await page.get_by_role("searchbox", name="Find people").fill(boris.username)
    await page.get_by_role("button", name="Add").click()
    await expect(page.get_by_role("button", name="Withdraw")).to_be_visible()

    other = await devices.log_in(boris, size=PHONE)
    await other.get_by_role("link", name="People").click()
    await other.get_by_role("button", name="Accept").click()
    await other.get_by_role("link", name="Write").click()
    await write(other, "Привет, Anna!")
    await page.get_by_role("link", name="Chats").click()
    await expect(page.locator(".chat .badge")).to_have_text("1")
    await expect(page).to_have_title("(1) Vestnik")
    await open_chat(page, boris)
    await expect(message(page, "Привет, Anna!")).to_be_visible()
    await expect(page.locator(".chat .badge")).to_have_count(0)
    await expect(other.locator(".tick.seen")).to_have_count(1)
    await write(page, "Hello, Boris!")
    await expect(message(other, "Hello, Boris!")).to_be_visible()
    await expect(page.locator(".tick.seen")).to_have_count(1)


@pytest.mark.parametrize(
    ("locale", "weak", "unseen"),
    [
        ("en-GB", "This password is easy to guess.", "A name has 1 to 64 visible characters."),
        ("ru-RU", "Такой пароль легко подобрать.", "В имени должно быть от 1 до 64 видимых знаков."),
    ],
)
async def test_what_is_refused_is_said_in_the_language_of_the_page(
    devices: Devices, api: Api, locale: str, weak: str, unseen: str
) -> None:
    account = api.registration()
    page = await devices.page(locale=locale)
    await page.locator("form button.link").first.click()
    await page.locator("#field-email").fill(str(account["email"]))
    await page.locator("#field-username").fill(str(account["username"]))
    for password, name, said, field in (
        ("Password1", "Anna", weak, "password"),
        (PASSWORD, "\u200b", unseen, "display_name"),
    ):
        await page.locator("#field-password").fill(password)
        await page.locator("#field-display_name").fill(name)
        await page.locator("form button[type=submit]").click()
        await expect(page.locator(f"#field-{field}-wrong")).to_contain_text(said)


async def test_what_is_written_without_a_connection_goes_out_once_and_in_order(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await write(page, "before")
    await expect(page.locator(".messages:not(.waiting) .message")).to_have_count(1)
    await disconnect(page)
    for number in range(5):
        await write(page, f"offline {number}")
    await expect(page.locator(".waiting .message")).to_have_count(5)
    await expect(page.locator(".connection")).to_be_visible()
    await reconnect(page)
    await expect(page.locator(".waiting .message")).to_have_count(0)
    messages = await boris.messages(anna)
    assert [item["text"] for item in reversed(messages)] == ["before", *(f"offline {number}" for number in range(5))]
    await expect(page.locator(".messages:not(.waiting) .message")).to_have_count(6)


async def test_unsent_messages_outlive_the_page(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    # The worker has the page's files then: it opens without a connection.
    await page.evaluate("navigator.serviceWorker.ready")
    await disconnect(page)
    await write(page, "kept on disk")
    await expect(page.locator(".waiting .message")).to_have_count(1)
    await page.reload()
    await expect(page.locator(".waiting .message")).to_have_count(1)
    await reconnect(page)
    await expect(page.locator(".waiting .message")).to_have_count(0)
    assert [item["text"] for item in await boris.messages(anna)] == ["kept on disk"]


async def test_everything_that_came_while_the_line_was_down_is_there_afterwards(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "first")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await expect(message(page, "first")).to_be_visible()
    await disconnect(page)
    await expect(page.locator(".connection")).to_be_visible()
    await boris.sends(anna, *(f"missed {number}" for number in range(70)))
    await reconnect(page)
    await expect(message(page, "missed 69")).to_be_visible()
    await expect(page.locator(".message")).to_have_count(71)


async def test_a_page_whose_position_is_void_loads_everything_again(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "first")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await expect(message(page, "first")).to_be_visible()
    await page.locator("#app[data-line=up]").wait_for()
    # The line breaks, and no other is let through meanwhile.
    await page.route("**/v1/events**", lambda route: route.abort())
    for process in api.system.processes():
        if process.command[-2:] == ["serve", "gateway"]:
            process.kill()
    await page.locator("#app:not([data-line=up])").wait_for()
    await eventually(lambda: _answers(api), "the gateway is back")
    await boris.sends(anna, "missed")
    before = boris.position
    assert api.system.vestnik("keys", "rotate-positions", "--at-once", "--reason", "a test").returncode == 0

    async def refused() -> bool:
        response = await boris.get("/v1/friends", headers={"Vestnik-Position": before})
        return response.status_code == 422

    await eventually(refused, "a position whose key is gone refused")
    boris.sealed = api.sealed
    await page.unroute("**/v1/events**")
    await expect(message(page, "missed")).to_be_visible()
    await page.locator("#app[data-line=up]").wait_for()
    await boris.sends(anna, "live again")
    await expect(message(page, "live again")).to_be_visible()


async def _answers(api: Api) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return (await api.http.get("/readyz")).status_code == 200
    return False


async def test_a_session_that_is_ended_elsewhere_ends_here_at_once(devices: Devices, api: Api) -> None:
    anna, _ = await api.friends()
    page = await devices.log_in(anna)
    await page.locator("#app[data-line=up]").wait_for()
    response = await anna.ask("DELETE", "/v1/sessions")
    assert response.status_code == 204
    await expect(page.get_by_text("You were logged out from another device.")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()


async def test_ending_another_device_from_here_keeps_this_one(devices: Devices, api: Api) -> None:
    anna, _ = await api.friends()
    page = await devices.log_in(anna)
    await page.locator("#app[data-line=up]").wait_for()
    await page.get_by_role("link", name="Settings").click()
    await page.get_by_role("button", name="Log out there").click()
    await expect(page.get_by_role("button", name="Log out there")).to_have_count(0)
    await expect(page.locator(".card .person")).to_have_count(1)
    await expect(page.locator("nav.tabs")).to_be_visible()
    assert (await anna.get("/v1/users/me")).status_code == 401


async def test_a_tab_never_changes_its_user(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    first = await devices.log_in(anna)
    second = await first.context.new_page()
    await second.goto("/")
    await second.get_by_role("link", name="Settings").click()
    # The first tab hears nothing: it sleeps, or has no connection.
    await first.evaluate("window.stop()")
    await second.get_by_role("button", name="Log out", exact=True).click()
    await second.locator("#field-login").fill(boris.username)
    await second.locator("#field-password").fill(PASSWORD)
    await second.locator("form button[type=submit]").click()
    await second.locator("nav.tabs").wait_for()
    await first.evaluate("import('/web/js/api.js').then((api) => api.get('/v1/users/me').catch(() => {}))")
    await expect(first.get_by_role("heading", name="Log in")).to_be_visible()


async def test_a_reload_stays_logged_in_and_no_script_can_read_what_lasts(devices: Devices, api: Api) -> None:
    anna, _ = await api.friends()
    page = await devices.log_in(anna)
    await page.reload()
    await page.locator("nav.tabs").wait_for()
    assert await page.evaluate("document.cookie") == ""
    kept = await page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    assert "refresh" not in kept
    assert "eyJ" not in kept
    cookies = await page.context.cookies(f"{api.system.url}/v1/browser/sessions/refresh")
    assert {cookie["name"] for cookie in cookies} == {"vestnik_refresh", "vestnik_device"}
    assert all((cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict") for cookie in cookies)
    await page.get_by_role("link", name="Settings").click()
    # The live stream may report the end of the session before the answer takes its cookie away.
    async with page.expect_response("**/v1/browser/sessions/current"):
        await page.get_by_role("button", name="Log out", exact=True).click()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    # The browser stays one that has logged in before.
    left = await page.context.cookies(f"{api.system.url}/v1/browser/sessions/refresh")
    assert [cookie["name"] for cookie in left] == ["vestnik_device"]


async def test_two_tabs_share_the_session(devices: Devices, api: Api) -> None:
    anna, _ = await api.friends()
    first = await devices.log_in(anna)
    tabs = [await first.context.new_page() for _ in range(3)]
    await asyncio.gather(*(tab.goto("/") for tab in tabs))
    for tab in tabs:
        await tab.locator("nav.tabs").wait_for()
    await first.reload()
    await first.locator("nav.tabs").wait_for()


async def test_what_people_write_is_text_and_nothing_else(devices: Devices, api: Api) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    anna = await api.person()
    boris = await api.person(display_name="<b>Boris</b>")
    await api.befriend(anna, boris)
    await boris.sends(anna, hostile, "שלום עולם", "a\u0301\u200d👩‍👩‍👧 " + "x" * 3_900)
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await expect(page.locator(".message .text").first).to_have_text(hostile)
    await expect(page.locator(".head h2")).to_have_text("<b>Boris</b>")
    assert await page.locator(".message img, .message script").count() == 0
    wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not await page.evaluate(wider), "a long word makes the page wider than the screen"


async def test_a_long_conversation_scrolls_to_its_beginning_in_a_bounded_page(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    count = 700
    await boris.sends(anna, *(f"number {number}." for number in range(count)))
    await anna.sees(boris, count)
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await expect(message(page, f"number {count - 1}.")).to_be_visible()
    log = page.locator(".log")

    async def at_the_beginning() -> bool:
        await log.evaluate("node => { node.scrollTop = 0 }")
        assert await page.locator(".message").count() <= 240
        return await page.locator(".beginning").is_visible()

    await eventually(at_the_beginning, "the beginning", within=60)
    await expect(message(page, "number 0.")).to_be_visible()
    shown = await page.locator(".message .text").all_text_contents()
    first = int(re.sub(r"\D", "", shown[0]))
    assert shown == [f"number {number}." for number in range(first, first + len(shown))], "a gap, or out of order"
    await page.get_by_role("button", name="To the newest messages").click()
    await expect(message(page, f"number {count - 1}.")).to_be_visible()


async def test_a_friendship_that_ends_takes_the_conversation_away(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "still here")
    page = await devices.log_in(anna)
    await expect(page.locator(".chat")).to_have_count(1)
    await boris.remove(anna)
    await expect(page.locator(".chat")).to_have_count(0)


async def test_on_a_phone_the_list_and_the_conversation_take_turns(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna, size=PHONE)
    await expect(page.locator(".chat-list")).to_be_visible()
    await open_chat(page, boris)
    await expect(page.locator(".chat-list")).to_be_hidden()
    await page.get_by_role("link", name="Back").click()
    await expect(page.locator(".chat-list")).to_be_visible()


async def test_the_keyboard_alone_is_enough(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await page.locator(".chat").wait_for()
    await page.keyboard.press("Alt+ArrowDown")
    await page.locator(".composer textarea").wait_for()
    await expect(page.locator(".composer textarea")).to_be_focused()
    await page.keyboard.type("typed")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("in two lines")
    await page.keyboard.press("Enter")
    await expect(message(page, "in two lines")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator(".nothing")).to_be_visible()
    # The page shows a message before it is sent.
    messages = await eventually(lambda: boris.messages(anna), "the message has come")
    assert [item["text"] for item in messages] == ["typed\nin two lines"]


async def test_the_page_behind_a_mails_link_shows_the_name_before_it_confirms_and_ends_what_is_not_ones_own(
    devices: Devices, api: Api
) -> None:
    account = await api.register()
    page = await devices.page()
    await page.goto(await link(api, account["email"]))
    await page.get_by_role("heading", name=f"Is {account['username']} your account?").wait_for()
    assert "confirm" not in page.url
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_label("E-mail or username")).to_have_value(account["username"])
    assert (await api.log_in(account["email"])).status_code == 201

    # Two wait for one address: the password says whose it is, and the other one is ended.
    intruder = await api.register(password="the intruder's password")
    intruders = await link(api, intruder["email"])
    own = await api.register(email=intruder["email"])
    await page.goto(await link(api, own["email"], other_than=intruders))
    await page.get_by_role("heading", name=f"Is {own['username']} your account?").wait_for()
    await page.get_by_label("Password", exact=True).fill("something else")
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.locator("#field-password-wrong")).to_have_text(re.compile("Several accounts wait"))
    await page.goto(intruders)
    await page.get_by_role("heading", name=f"Is {intruder['username']} your account?").wait_for()
    await page.get_by_role("button", name="This is not me").click()
    await expect(page.locator("form .said")).to_have_text(re.compile("has ended"))
    await page.goto(await link(api, own["email"], other_than=intruders))
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.locator("form .said")).to_have_text(re.compile("is confirmed"))
    assert (await api.log_in(own["email"])).json()["user_id"] == own["user_id"]


async def test_the_page_behind_a_reset_mails_link_asks_for_the_new_password_alone(devices: Devices, api: Api) -> None:
    anna = await api.person()
    assert (await api.http.post("/v1/users/password-reset", json={"email": anna.email})).status_code == 202
    mailed = await link(api, anna.email, page="reset")
    page = await devices.page()
    await page.goto(mailed)
    await page.get_by_label("New password", exact=True).fill("another good horse")
    assert "reset" not in page.url
    assert await page.get_by_label("Token").count() == 0
    await page.get_by_role("button", name="Set the new password").click()
    await expect(page.locator("form .said")).to_have_text(re.compile("is changed"))
    assert (await api.log_in(anna.email, "another good horse")).status_code == 201

    # The same link once more, in the page that is open.
    await page.goto(mailed)
    await page.get_by_label("New password", exact=True).fill("a third good horse")
    await page.get_by_role("button", name="Set the new password").click()
    await expect(page.get_by_role("alert")).to_have_text(re.compile("has expired"))
    await page.get_by_role("button", name="Ask for another mail").click()
    await expect(page.get_by_label("E-mail")).to_be_visible()


async def link(api: Api, email: str, *, page: str = "confirm", other_than: str = "") -> str:
    """The link in a mail to the address."""

    async def new_link() -> str:
        links = [url for mail in api.mails_to(email) for url in re.findall(rf"^http\S+/#/{page}/\S+$", mail, re.M)]
        return next((url for url in links if url != other_than), "")

    return await eventually(new_link, "a mail with a link")
