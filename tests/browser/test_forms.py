"""Forms: errors appear in the page's language beside the field, and no input is lost."""

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.browser_users import PHONE, Devices
from tests.browser.forms import assert_wrong, fill, refusing, submit
from tests.browser.readability import assert_readable
from tests.e2e.people import PASSWORD, Api, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
EN = {
    "register": "Create an account",
    "required": "Please fill this in.",
    "email": re.compile("Mail cannot be sent"),
    "username": re.compile("has 3 to 32 characters"),
    "password": "A password has at least 8 characters and at most 1,024 bytes.",
    "taken": "This username is taken.",
    "reserved": re.compile("is reserved"),
    "invalid": "This was not accepted. Please check what you have entered.",
    "wait": "Too many tries. Wait 22 minutes.",
}
RU = {
    "register": "Создать учётную запись",
    "required": "Заполните это поле.",
    "email": re.compile("нельзя отправить письмо"),
    "username": re.compile("от 3 до 32 знаков"),
    "password": "В пароле должно быть не меньше 8 знаков и не больше 1024 байт.",
    "taken": "Это имя пользователя занято.",
    "reserved": re.compile("занято системой"),
    "invalid": "Данные не приняты. Проверьте, что вы ввели.",
    "wait": "Слишком много попыток. Подождите 22 минуты.",
}


@pytest.mark.parametrize(("language", "scheme", "says"), [("en", "light", EN), ("ru", "dark", RU)])
async def test_a_form_says_in_words_what_is_wrong_beside_the_field(
    devices: Devices, api: Api, language: str, scheme: str, says: dict[str, Any]
) -> None:
    there = await api.register()
    page = await devices.page(locale=language, color_scheme=scheme, size=PHONE)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method) if request.url.endswith("/v1/users") else None)
    await page.get_by_role("button", name=says["register"]).click()
    await submit(page).click()
    await assert_wrong(page, "email", says["required"])
    for name in ("username", "password"):
        await expect(page.locator(f"#field-{name}-wrong")).to_have_text(says["required"])
    await expect(page.locator("#field-display_name")).to_have_attribute("aria-invalid", "false")

    account = api.registration()
    await fill(page, email="nobody at all", username="я", password="1234567")
    await submit(page).click()
    await assert_wrong(page, "email", says["email"])
    await expect(page.locator("#field-username-wrong")).to_have_text(says["username"])
    await expect(page.locator("#field-password-wrong")).to_have_text(says["password"])
    for width in (320, 1280, PHONE["width"]):
        await page.set_viewport_size({"width": width, "height": PHONE["height"]})
        assert await page.evaluate("document.documentElement.scrollWidth") == width, "the page scrolls sideways"
    await assert_readable(page, f"forms-{scheme}-{language}")
    # 513 letters of two bytes each.
    await fill(page, email=account["email"], username=account["username"], password="я" * 513)
    await submit(page).click()
    await assert_wrong(page, "password", says["password"])
    assert sent == []

    await fill(page, username=there["username"], password=PASSWORD)
    await submit(page).click()
    await assert_wrong(page, "username", says["taken"])
    await fill(page, username="admin")
    await expect(page.locator("#field-username-wrong")).to_have_text("")
    await submit(page).click()
    await assert_wrong(page, "username", says["reserved"])

    unknown = {"code": "invalid", "detail": "English", "errors": [{"path": "/new", "message": "Expected `str`"}]}
    for handler, said in (
        (refusing(422, unknown), says["invalid"]),
        (refusing(429, {"code": "rate_limited", "detail": "English"}, **{"Retry-After": "1265"}), says["wait"]),
    ):
        await page.route("**/v1/users", handler)
        await submit(page).click()
        await expect(page.locator("form .problem")).to_have_text(said)
        await expect(page.locator("[aria-invalid=true]")).to_have_count(0)
        await page.unroute("**/v1/users")


async def test_another_language_keeps_the_form_and_what_was_typed(devices: Devices) -> None:
    page = await devices.page()
    await page.get_by_role("button", name="Create an account").click()
    await fill(page, email="anna@example.org", password=PASSWORD)
    await page.get_by_role("button", name="Русский").click()
    await expect(page.get_by_role("heading", name="Создать учётную запись")).to_be_visible()
    await expect(page.locator("#field-email")).to_have_value("anna@example.org")
    await expect(page.locator("#field-password")).to_have_value(PASSWORD)
    await expect(page.get_by_role("button", name="Русский")).to_be_focused()


async def test_a_password_is_shown_and_hidden_with_the_caret_where_it_was(devices: Devices) -> None:
    page = await devices.page()
    field, reveal = page.locator("#field-password"), page.get_by_role("button", name="Show: Password")
    await field.fill("correct")
    await field.press("Home")
    await field.press("ArrowRight")
    for kind, pressed in (("text", "true"), ("password", "false")):
        await reveal.click()
        await expect(field).to_have_attribute("type", kind)
        await expect(reveal).to_have_attribute("aria-pressed", pressed)
        await expect(field).to_be_focused()
        await page.keyboard.type("-")
    await expect(field).to_have_value("c--orrect")


async def test_a_wrong_current_password_is_said_at_its_field_and_tried_once(devices: Devices, api: Api) -> None:
    anna = await api.person()
    page = await devices.log_in(anna)
    await page.goto("/#/settings")
    tries: list[str] = []
    page.on("request", lambda request: tries.append(request.method) if request.url.endswith("/me/password") else None)
    card = page.locator("form", has=page.locator("#field-current_password"))
    await fill(page, current_password="not this one", new_password="a much better one")
    await submit(card).click()
    await assert_wrong(page, "current_password", "The current password is wrong.")
    assert tries == ["PUT"]
    await fill(page, current_password=PASSWORD)
    await submit(card).click()
    await expect(card.locator(".outcome")).to_have_text(re.compile("is changed"))
    await expect(page.locator("#field-current_password")).to_have_value("")
    assert (await api.log_in(anna.username, "a much better one")).status_code == 201


async def test_check_your_mail_outlives_a_reload_without_the_password(devices: Devices, api: Api) -> None:
    account = api.registration()
    page = await devices.page(size=PHONE)
    await page.get_by_role("button", name="Create an account").click()
    await fill(page, email=account["email"], username=account["username"], password=PASSWORD)
    async with page.expect_request("**/v1/users") as asked:
        await submit(page).click()
    body = (await asked.value).post_data_json
    assert body is not None
    assert body["language"] == "en"
    await page.get_by_role("heading", name="Check your mail").wait_for()
    await page.reload()
    await expect(page.locator("form .said")).to_contain_text(account["email"])
    assert PASSWORD not in await page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    await page.get_by_role("button", name="Send it again").click()
    await expect(page.locator("form .outcome")).to_have_text("Another mail is on its way.")
    await fill(page, token="no token")
    await submit(page).click()
    await assert_wrong(page, "token", re.compile("not the token from the mail"))

    async def shown() -> bool:
        await page.get_by_role("button", name="Show the mail").click()
        return await page.locator("#field-token").input_value() != "no token"

    await eventually(shown, "the mail", within=30)
    await submit(page).click()
    await expect(page.get_by_label("E-mail or username")).to_have_value(account["username"])
    await page.reload()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()


async def test_a_token_that_needs_the_password_after_a_reload_asks_for_it(devices: Devices, api: Api) -> None:
    own = await api.register()
    token = await api.mailed_token(own["email"])
    await api.register(email=own["email"])
    page = await devices.page()
    await fill(page, login=own["username"], password=PASSWORD)
    await submit(page).click()
    await page.get_by_role("heading", name="Check your mail").wait_for()
    await page.reload()
    await fill(page, token=token)
    await submit(page).click()
    await assert_wrong(page, "password", re.compile("Several accounts wait"))
    await expect(page.locator("#field-token")).to_have_value(token)
    await fill(page, password=PASSWORD)
    await submit(page).click()
    await page.locator("nav.tabs").wait_for()


async def test_a_login_by_name_that_waits_for_its_mail_can_ask_for_another_or_go_back(
    devices: Devices, api: Api
) -> None:
    account = await api.register()
    page = await devices.page()
    await fill(page, login=account["username"], password=PASSWORD)
    await submit(page).click()
    await page.get_by_role("heading", name="Check your mail").wait_for()
    await expect(page.locator("form .said")).to_contain_text(account["email"])
    await expect(page.get_by_role("button", name="Send it again")).to_be_visible()
    await expect(page.get_by_role("button", name="Show the mail")).to_be_visible()
    await page.get_by_role("button", name="Back to logging in").click()
    await page.reload()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()


async def test_sessions_are_distinguished_and_ended(devices: Devices, api: Api) -> None:
    anna = await api.person()
    phone = await api.again(anna, device="A phone")
    page = await devices.log_in(anna)
    await page.goto("/#/settings")
    rows = page.locator("li.person", has=page.locator("time"))
    await expect(rows).to_have_count(3)
    await expect(rows.first.locator(".here")).to_have_text("This device")
    await expect(rows.first.locator(".who")).to_have_text(re.compile(r"^Chrome on \w+$"))
    await expect(rows.first).to_contain_text("127.0.0.1")
    await expect(rows.first.locator("time").first).to_have_text(re.compile("^Logged in "))
    await expect(rows.first.locator("time").first).to_have_attribute("title", re.compile(r"20\d\d"))
    await page.get_by_role("button", name="Log out there: A phone").click()
    await expect(page.get_by_text("Logged out: A phone.")).to_be_focused()
    await expect(rows).to_have_count(2)
    assert (await phone.get("/v1/users/me")).status_code == 401

    # It has ended meanwhile, and this page does not know yet.
    await page.route("**/v1/sessions/*", refusing(404, {"code": "session_not_found", "detail": "English"}))
    await page.get_by_role("button", name="Log out there").click()
    await expect(page.get_by_role("alert").filter(has_text="This session has ended already.")).to_be_visible()
    await page.unroute("**/v1/sessions/*")
    await page.get_by_role("button", name="Log out everywhere else").click()
    await expect(rows).to_have_count(1)
    await expect(page.get_by_text("You are logged out everywhere else.")).to_be_visible()


async def test_a_friend_request_that_is_refused_says_why_in_its_row(devices: Devices, api: Api) -> None:
    anna, boris = await api.people(2)
    await anna.add(boris)
    await boris.remove(anna)
    page = await devices.log_in(anna, locale="ru", size=PHONE)
    await page.goto("/#/people")
    await page.get_by_role("searchbox").fill(boris.username)
    row = page.locator(".found .person", has_text=boris.username)
    await row.get_by_role("button", name="Добавить").click()
    await expect(row.get_by_role("alert")).to_have_text(re.compile(r"снова можно через \d+ минут"))
    await expect(row.get_by_role("button", name="Добавить")).to_be_focused()
