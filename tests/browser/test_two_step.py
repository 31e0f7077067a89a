"""Two-step verification in the messenger and on the operators' page: set-up, login with a code, and the way back."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pyotp
import pytest
from playwright.async_api import Page, expect

from tests.browser.browser_users import DESKTOP, PHONE, Devices
from tests.browser.forms import assert_wrong, fill, refusing, submit
from tests.browser.readability import assert_readable
from tests.browser.test_ops import enter
from tests.e2e.operators import new_operator
from tests.e2e.people import PASSWORD, Api, Person, assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

STEP = 30
# Everything that a page could keep on the device.
KEPT = """async () => {
  const kept = [JSON.stringify({ ...localStorage, ...sessionStorage }), location.href];
  for (const { name } of await indexedDB.databases()) {
    const opening = indexedDB.open(name);
    const database = await new Promise((done) => { opening.onsuccess = () => done(opening.result); });
    for (const store of database.objectStoreNames) {
      const all = database.transaction(store).objectStore(store).getAll();
      kept.push(JSON.stringify(await new Promise((done) => { all.onsuccess = () => done(all.result); })));
    }
    database.close();
  }
  return kept.join(" ");
}"""
# The modules that are drawn dark, as the rows of the gateway.
DRAWN = r"""() => {
  const svg = document.querySelector("svg.qr"), side = svg.viewBox.baseVal.width - 8;
  const rows = Array.from({ length: side }, () => Array(side).fill("0"));
  for (const [, x, y, length] of svg.querySelector("path").getAttribute("d").matchAll(/M(\d+) (\d+)h(\d+)/g)) {
    rows[y - 4].fill("1", x - 4, x - 4 + Number(length));
  }
  return rows.map((row) => row.join(""));
}"""
EN: dict[str, Any] = {
    "begin": "Set up two-step verification",
    "on": "Turn on",
    "wrong_password": "The password is wrong.",
    "six": "The code of the app has six digits.",
    "wrong_code": re.compile("wrong or was used"),
    "done": "Done",
    "saved": "I have saved them",
    "download": "Download as a file",
    "is_on": "It is on.",
    "is_off": "It is off.",
    "off": "Turn off two-step verification",
    "recovery": "Use a recovery code",
    "recovery_field": "Recovery code",
}
RU: dict[str, Any] = {
    "begin": "Настроить двухэтапную проверку",
    "on": "Включить",
    "wrong_password": "Пароль неверный.",
    "six": "В коде из приложения шесть цифр.",
    "wrong_code": re.compile("неверный или уже использован"),
    "done": "Готово",
    "saved": "Коды сохранены",
    "download": "Скачать файлом",
    "is_on": "Включена.",
    "is_off": "Выключена.",
    "off": "Выключить двухэтапную проверку",
    "recovery": "Ввести резервный код",
    "recovery_field": "Резервный код",
}


class App:
    """An authenticator app: each code is another one, since the server takes a code once."""

    def __init__(self, secret: str) -> None:
        self._totp = pyotp.TOTP(secret)
        self._step = 0

    def code(self) -> str:
        """The code of the current time step, or of the next one, which the server accepts, too."""
        self._step = max(int(time.time()) // STEP, self._step + 1)
        code = self._totp.generate_otp(self._step)
        return f"{code[:3]} {code[3:]}"


async def turn_on(person: Person) -> tuple[App, list[str]]:
    """Turns two-step verification on without a page; returns the app and the recovery codes."""
    begun = await person.ask("POST", "/v1/users/me/totp", json={"password": PASSWORD})
    assert begun.status_code == 200, begun.text
    app = App(begun.json()["secret"])
    confirmed = await person.ask("POST", "/v1/users/me/totp/confirm", json={"code": app.code()})
    assert confirmed.status_code == 200, confirmed.text
    return app, confirmed.json()["recovery_codes"]


@pytest.mark.parametrize(
    ("language", "scheme", "size", "says"), [("en", "light", DESKTOP, EN), ("ru", "dark", PHONE, RU)]
)
async def test_two_step_verification_is_set_up_and_turned_off_and_leaves_no_secret_in_the_page(
    devices: Devices, api: Api, language: str, scheme: str, size: dict[str, int], says: dict[str, Any]
) -> None:
    anna = await api.person()
    page = await devices.log_in(anna, locale=language, color_scheme=scheme, size=size)
    await page.goto("/#/settings")
    dialog, name = page.get_by_role("dialog"), f"two-step-{scheme}-{language}"
    await page.get_by_role("button", name=says["begin"]).click()
    await expect(page.locator("#field-password")).to_be_focused()
    await assert_readable(page, f"{name}-password")
    await fill(page, password="not this one")
    await submit(dialog).click()
    await assert_wrong(page, "password", says["wrong_password"])
    await fill(page, password=PASSWORD)
    async with page.expect_response("**/v1/users/me/totp") as begun:
        await submit(dialog).click()
    secret, rows = [(await (await begun.value).json())[key] for key in ("secret", "qr_code")]

    await expect(page.locator("#field-code")).to_be_focused()
    await expect(page.locator("#field-code")).to_have_attribute("inputmode", "numeric")
    await expect(page.locator("#field-code")).to_have_attribute("autocomplete", "one-time-code")
    assert await page.evaluate(DRAWN) == rows
    assert (await dialog.locator(".key").inner_text()).split(" ") == re.findall("....", secret)
    await assert_readable(page, f"{name}-secret")
    for code, said in (("", None), ("12 345", says["six"]), ("000 000", says["wrong_code"])):
        await fill(page, code=code)
        await submit(dialog).click()
        await assert_wrong(page, "code", said or re.compile("."))
    # What waits in the field survives a dead line.
    app = App(secret)
    await page.route("**/totp/confirm", lambda route: route.abort("connectionrefused"))
    await fill(page, code=app.code())
    await submit(dialog).click()
    await expect(dialog.locator(".problem")).to_have_text(re.compile("No connection|Нет связи"))
    await page.unroute("**/totp/confirm")
    await dialog.get_by_role("button", name=says["on"], exact=True).press("Enter")

    await expect(dialog.locator(".codes li")).to_have_count(10)
    codes = await dialog.locator(".codes li").all_inner_texts()
    assert len(set(codes)) == 10
    await expect(dialog.get_by_role("heading")).to_be_focused()
    await assert_readable(page, f"{name}-codes")
    # Browsers close a dialog at a second Esc, whatever its page says.
    for _ in range(3):
        await page.keyboard.press("Escape")
    await expect(dialog.get_by_role("button", name=says["done"])).to_be_disabled()
    async with page.expect_download() as downloading:
        await dialog.get_by_role("button", name=says["download"]).click()
    download = await downloading.value
    text = await asyncio.to_thread(Path(await download.path()).read_text, "utf-8")
    assert download.suggested_filename == f"vestnik-{anna.username}.txt"
    assert text.split("\n")[-11:] == [*codes, ""]
    await dialog.get_by_label(says["saved"]).check()
    await dialog.get_by_role("button", name=says["done"]).click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".state", has_text=says["is_on"])).to_be_visible()
    await expect(page.get_by_role("button", name=says["off"])).to_be_focused()
    # The page does not alert to what was done in it.
    await expect(page.locator("[data-view=notifications] .badge")).to_be_visible()
    await expect(page.locator(".notice")).to_have_count(0)
    for kept in (await page.content(), await page.evaluate(KEPT)):
        assert not any(one in kept for one in (secret, secret[:4] + " " + secret[4:8], PASSWORD, *codes))

    await page.get_by_role("button", name=says["off"]).click()
    await assert_readable(page, f"{name}-off")
    await fill(page, password=PASSWORD, code="999999")
    await submit(dialog).click()
    await assert_wrong(page, "code", says["wrong_code"])
    await dialog.get_by_role("button", name=says["recovery"]).click()
    await expect(dialog.get_by_label(says["recovery_field"])).to_be_focused()
    await fill(page, code=f" {codes[0].upper()} ")
    await submit(dialog).click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".state", has_text=says["is_off"])).to_be_visible()
    assert (await anna.get("/v1/users/me")).json()["totp"] is False


async def test_a_set_up_that_is_left_or_has_run_out_says_so_and_keeps_nothing(devices: Devices, api: Api) -> None:
    anna = await api.person()
    page = await devices.log_in(anna)
    await page.goto("/#/people")
    await page.goto("/#/settings")
    dialog, begin = page.get_by_role("dialog"), page.get_by_role("button", name=EN["begin"])

    async def to_the_secret() -> str:
        await begin.click()
        await fill(page, password=PASSWORD)
        await submit(dialog).click()
        return (await dialog.locator(".key").inner_text()).replace(" ", "")

    secret = await to_the_secret()
    await page.keyboard.press("Escape")
    await expect(begin).to_be_focused()
    await to_the_secret()
    await page.go_back()
    await expect(dialog).to_have_count(0)
    await page.go_forward()
    assert secret[:4] not in await page.content()

    await to_the_secret()
    for problem, said in (
        ({"code": "totp_not_begun", "detail": "English"}, "This set-up has expired."),
        ({"code": "rate_limited", "detail": "English"}, "Too many tries."),
    ):
        await page.route("**/totp/confirm", refusing(409, problem, **{"Retry-After": "60"}), times=1)
        await fill(page, code="123456")
        await submit(dialog).click()
        await expect(dialog.locator(".problem")).to_contain_text(said)
    await page.keyboard.press("Escape")

    # Turned on elsewhere, which this page learns of when it tries.
    await page.route("**/v1/users/me", refusing(503, {"code": "unavailable", "detail": "English"}))
    await turn_on(anna)
    await begin.click()
    await fill(page, password=PASSWORD)
    await submit(dialog).click()
    await expect(dialog.locator(".problem")).to_contain_text("is on already")


async def test_a_login_asks_for_the_code_once_and_takes_a_recovery_code(devices: Devices, api: Api) -> None:
    anna = await api.person()
    app, codes = await turn_on(anna)
    page = await devices.page(size=PHONE)

    async def enter_password() -> None:
        await fill(page, login=anna.username, password=PASSWORD)
        await submit(page).click()

    await enter_password()
    field = page.locator("#field-totp")
    await expect(field).to_be_focused()
    await expect(field).to_have_attribute("autocomplete", "one-time-code")
    await assert_readable(page, "login-code")
    await fill(page, totp="12345")
    await submit(page).click()
    await assert_wrong(page, "totp", re.compile("six digits"))
    await fill(page, totp="000000")
    await submit(page).click()
    await assert_wrong(page, "totp", EN["wrong_code"])
    # Another language leaves the step and what was typed.
    await page.get_by_role("button", name="Русский").click()
    await expect(page.get_by_role("heading", name="Двухэтапная проверка")).to_be_visible()
    await expect(field).to_have_value("000000")
    await page.get_by_role("button", name="English").click()
    await page.get_by_role("button", name="Back to logging in").click()
    await expect(page.locator("#field-login")).to_have_value(anna.username)
    await enter_password()
    await fill(page, totp=app.code())
    await field.press("Enter")
    await page.locator("nav.tabs").wait_for()
    assert PASSWORD not in await page.content() + await page.evaluate(KEPT)

    # This browser is remembered, another one is not.
    await page.goto("/#/settings")
    await page.get_by_role("button", name="Log out", exact=True).click()
    await enter_password()
    await page.locator("nav.tabs").wait_for()
    page = await devices.page()
    await enter_password()
    await page.get_by_role("button", name="Use a recovery code").click()
    await fill(page, totp=codes[3])
    await submit(page).click()
    await page.locator("nav.tabs").wait_for()
    answer = await api.http.post("/v1/sessions", json={"login": anna.username, "password": PASSWORD, "totp": codes[3]})
    assert_problem(answer, 401, "invalid_totp")


async def test_the_password_may_have_changed_before_the_code_is_entered(devices: Devices, api: Api) -> None:
    anna = await api.person()
    app, _ = await turn_on(anna)
    page = await devices.page()
    await fill(page, login=anna.username, password=PASSWORD)
    await submit(page).click()
    await page.locator("#field-totp").wait_for()
    body = {"current_password": PASSWORD, "new_password": "a much better one"}
    assert (await anna.ask("PUT", "/v1/users/me/password", json=body)).status_code == 204
    await fill(page, totp=app.code())
    await submit(page).click()
    await expect(page.locator("form .problem")).to_have_text(re.compile("Login or password is wrong"))
    await expect(page.locator("#field-login")).to_have_value(anna.username)


@pytest.mark.parametrize(("language", "scheme"), [("en", "dark"), ("ru", "light")])
async def test_an_operator_enters_the_code_on_the_operators_page(
    devices: Devices, api: Api, language: str, scheme: str
) -> None:
    olga = await new_operator(api)
    app, _ = await turn_on(olga)
    page: Page = await devices.page(locale=language, color_scheme=scheme)
    await enter(page, olga)
    await expect(page.locator("#field-totp")).to_be_focused()
    await assert_readable(page, f"ops-code-{scheme}-{language}")
    await fill(page, totp="000000")
    await submit(page).click()
    await assert_wrong(page, "totp", (EN if language == "en" else RU)["wrong_code"])
    await fill(page, totp=app.code())
    await submit(page).click()
    await page.locator(".tiles").wait_for()
