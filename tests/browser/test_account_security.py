"""What the messenger shows of an account's security: notifications about it, and the history of logins."""

import json
import re
import zipfile
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Page, Route, expect

from contracts.envelope import now
from contracts.values.timestamps import rfc3339
from tests.browser.browser_users import DESKTOP, PHONE, Devices
from tests.browser.readability import assert_readable
from tests.browser.test_shell import HIDDEN, RECORD, recorded
from tests.browser.test_two_step import turn_on
from tests.e2e.people import Api, Person, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCOUNT_KINDS = {
    "new_device": ("There was a login to your account from a new device.", "вошли с нового устройства"),
    "password_changed": ("Your password was changed.", "пароль изменён"),
    "password_reset": ("Your password was reset by mail.", "сброшен через почту"),
    "email_changed": ("The e-mail address of your account was changed.", "Изменён адрес почты"),
    "refresh_token_reused": ("A session was ended: its key may have been copied.", "ключ мог быть скопирован"),
    "two_factor_on": ("Two-step verification was turned on.", "проверка включена"),
    "two_factor_off": ("Two-step verification was turned off.", "проверка выключена"),
    "data_export": ("A copy of all your data was requested.", "копия всех ваших данных"),
    "erasure_requested": ("The deletion of your account was requested.", "Запрошено удаление"),
}

AT = "2026-11-30T09:00:00.000Z"


def notification(person: Person, kind: str, *, at: str = AT, read: bool = False) -> dict[str, Any]:
    return {"notification_id": str(uuid4()), "kind": kind, "from_user_id": person.user_id, "at": at, "read": read}


async def send_live(page: Page, *notifications: dict[str, Any]) -> None:
    """The live stream breaks, and the next one begins with these notifications, as if they had been missed."""
    blocks = [f"event: notification.created\ndata: {json.dumps(one)}\n\n" for one in notifications]

    async def answer(route: Route) -> None:
        await route.fulfill(status=200, content_type="text/event-stream", body="".join(blocks))

    await page.locator("#app[data-line=up]").wait_for()
    await page.route("**/v1/events?*", answer, times=1)
    await page.evaluate("dispatchEvent(new Event('offline'))")


@pytest.mark.parametrize(("language", "scheme"), [("en", "dark"), ("ru", "light")])
async def test_notifications_about_the_account_are_shown_in_words_and_unknown_kinds_harm_nothing(
    devices: Devices, api: Api, language: str, scheme: str
) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna, locale=language, color_scheme=scheme, size=PHONE)
    items = [notification(anna, kind) for kind in (*ACCOUNT_KINDS, "of_the_future")]
    items.append(notification(boris, "friend_accepted", read=True))

    async def listed(route: Route) -> None:
        await route.fulfill(json={"items": items, "next": None})

    await page.locator("#app[data-line=up]").wait_for()
    await page.route("**/v1/notifications?*", listed)
    await page.goto("/#/notifications")
    rows = page.locator(".persons .person")
    await expect(rows).to_have_count(len(items))
    for index, texts in enumerate(ACCOUNT_KINDS.values()):
        await expect(rows.nth(index)).to_contain_text(texts[language == "ru"])
    unknown, friend = rows.nth(len(ACCOUNT_KINDS)), rows.nth(len(ACCOUNT_KINDS) + 1)
    await expect(unknown).to_contain_text("Something happened" if language == "en" else "Произошло событие")
    await expect(friend.get_by_role("link")).to_have_attribute("href", f"#/chat/{boris.user_id}")
    await assert_readable(page, f"account-notifications-{scheme}-{language}")
    await page.route("**/v1/notifications/read", lambda route: route.fulfill(status=204))
    await unknown.get_by_role("link").click()
    await expect(unknown.locator(".badge")).to_have_count(0)
    await rows.first.get_by_role("link").click()
    await expect(page).to_have_url("**/#/settings/sessions".replace("**", api.system.url))


async def test_what_happens_to_the_account_is_shown_at_once_and_notified_while_the_page_is_not_visible(
    devices: Devices, api: Api
) -> None:
    anna = await api.person()
    page = await devices.log_in(anna)
    await page.context.grant_permissions(["notifications"])
    await page.evaluate("navigator.serviceWorker.ready")
    await page.get_by_role("link", name="Settings").click()
    await page.get_by_label("Show a notification").check()
    await page.evaluate(RECORD)
    read: list[Any] = []

    async def reading(route: Route) -> None:
        read.append(route.request.post_data_json)
        await route.fulfill(status=204)

    await page.route("**/v1/notifications/read", reading)
    changed, unknown = notification(anna, "password_changed"), notification(anna, "of_the_future")
    notices = page.locator(".notice")
    # The user has just logged in here.
    await send_live(page, notification(anna, "new_device"), unknown, changed, changed)
    await expect(notices).to_have_count(1)
    await expect(notices).to_contain_text("Your password was changed.")
    await expect(page.locator("#notes")).to_have_text("Your password was changed.")
    await expect(page.get_by_role("link", name="Notifications 3")).to_be_visible()
    await assert_readable(page, "notice")
    assert await page.evaluate("window.shown") == []
    await notices.get_by_role("button", name="Close").press("Enter")
    await expect(notices).to_have_count(0)
    await expect(page.locator("#main")).to_be_focused()
    assert read == [{"notification_ids": [changed["notification_id"]]}]

    # One login here causes one notification; the next one is of somebody else.
    await send_live(page, notification(anna, "new_device"))
    await notices.get_by_role("button", name="Close").click()
    await expect(notices).to_have_count(0)
    await page.evaluate(HIDDEN)
    await send_live(page, notification(anna, "two_factor_off"))
    text = "Two-step verification was turned off."
    await recorded([page], "shown", [["Vestnik", text]])
    await notices.get_by_role("link", name="Look at your logins").click()
    await expect(page).to_have_url(f"{api.system.url}/#/settings/sessions")
    await expect(notices).to_have_count(0)
    await recorded([page], "withdrawn", ["Vestnik"])


async def test_failed_attempts_are_shown_between_the_logins_with_what_to_do(devices: Devices, api: Api) -> None:
    anna = await api.person()
    phone = await api.again(anna, device="A phone")
    assert (await phone.ask("DELETE", "/v1/sessions/current")).status_code == 204
    assert (await api.log_in(anna.username, "not the password", device="A thief's phone")).status_code == 401

    async def recorded() -> bool:
        return bool((await anna.get("/v1/sessions/history")).json()["failed_attempts"])

    await eventually(recorded, "the failed attempt")
    page = await devices.log_in(anna)
    await page.get_by_role("link", name="Settings").click()
    await page.get_by_role("link", name="All logins and failed attempts").click()
    entries = page.locator(".timeline li")
    await expect(entries).to_have_count(4)
    await expect(entries.nth(0)).to_contain_text("This device")
    await expect(entries.nth(1)).to_contain_text("Failed login: wrong password")
    await expect(entries.nth(1)).to_contain_text("127.0.0.1 · A thief's phone · ")
    await expect(entries.nth(2)).to_contain_text(re.compile(r"A phone.*Logged in .* · logged out "))
    await page.get_by_role("link", name="Change the password").click()
    await expect(page.locator("#field-current_password")).to_be_focused()
    await page.go_back()
    await page.get_by_role("button", name="Log out there").click()
    await expect(page.get_by_text("Logged out: Unknown device.")).to_be_focused()
    await page.get_by_role("link", name="Settings").first.click()
    await expect(page).to_have_url(re.compile("#/settings$"))


def login(number: int, at: str, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - a value of JSON
    plain = {"session_id": f"s{number}", "device": f"Device {number}", "address": "203.0.113.0", "created_at": at}
    ended = {"ended_at": None, "reason": None, "current": number == 0}
    return {**plain, "last_refreshed_at": at, **ended, **changed}


def attempt(reason: str, at: str, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - a value of JSON
    return {"at": at, "since": at, "reason": reason, "device": "", "address": "", "count": 1, **changed}


TIMELINE = {
    "en": ("Device 0", "wrong code", "14 attempts, ", "Failed login", "Device 1.* · ended "),
    "ru": ("Device 0", "неверный код", "14 попыток, ", "Неудачный вход", "Device 1.* · завершён "),
}


@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("ru", "dark")])
async def test_the_history_goes_back_page_by_page_and_names_what_it_does_not_know(
    devices: Devices, api: Api, language: str, scheme: str
) -> None:
    anna = await api.person()
    # Requests of a page with a service worker may pass by `page.route`.
    options = {"locale": language, "color_scheme": scheme, "size": PHONE, "service_workers": "block"}
    page = await devices.log_in(anna, **options)
    day = "2026-11-{:02}T10:00:00.000Z".format
    many = attempt("wrong_password", day(26), since=day(25), count=14, address="198.51.100.0")
    pages: dict[str, Any] = {
        "": {
            "items": [login(0, day(28)), login(1, day(24), ended_at=day(25), reason="of_the_future")],
            "failed_attempts": [attempt("wrong_code", day(27)), many, attempt("of_the_future", day(25))],
            "next": "further",
        },
        "further": {
            "items": [login(2, day(20), ended_at=day(21), reason="expired")],
            "failed_attempts": [attempt("rate_limited", day(22))],
            "next": "furthest",
        },
        "furthest": {"items": [login(3, day(18))], "failed_attempts": None, "next": None},
    }
    refused = False

    async def history(route: Route) -> None:
        _, _, cursor = route.request.url.partition("cursor=")
        if refused:
            await route.fulfill(status=503, json={"code": "unavailable", "detail": "English"})
        else:
            await route.fulfill(json=pages[cursor])

    changed = [notification(anna, "password_changed", at=day(23)), notification(anna, "new_device", at=day(28))]
    marked: list[Any] = []

    async def mark(route: Route) -> None:
        marked.append(route.request.post_data_json)
        await route.fulfill(status=204)

    await page.route("**/v1/sessions/history?*", history)
    await page.route("**/v1/notifications?*", lambda route: route.fulfill(json={"items": changed, "next": None}))
    await page.route("**/v1/notifications/read", mark)
    await page.locator("#app[data-line=up]").wait_for()
    await page.goto("/#/notifications")
    await expect(page.locator(".person.fresh")).to_have_count(2)
    await page.goto("/#/settings/sessions")
    entries = page.locator(".timeline li")
    await expect(entries).to_have_count(5)
    for index, text in enumerate(TIMELINE[language]):
        await expect(entries.nth(index)).to_contain_text(re.compile(text))
    await expect(entries.nth(1).locator("strong")).to_have_text(re.compile("password was right|Пароль был верным"))
    await expect(page.locator(".timeline strong.why")).to_have_count(1)
    await assert_readable(page, f"logins-{scheme}-{language}")
    # Seen here, hence read.
    await eventually(
        lambda: page.evaluate("!document.querySelector('[data-view=notifications] .badge:not([hidden])')"), "read"
    )
    assert marked == [{"notification_ids": [one["notification_id"] for one in changed]}]

    older = page.get_by_role("button", name=re.compile("older|более ранние"))
    refused = True
    await older.click()
    await expect(page.locator(".card > .problem:not(:empty)")).to_be_visible()
    await expect(entries).to_have_count(5)
    refused = False
    await older.press("Enter")
    await expect(entries).to_have_count(8)
    await expect(entries.nth(5)).to_be_focused()
    await expect(entries.nth(5)).to_contain_text(re.compile("password was changed|пароль изменён"))
    unknown = page.get_by_text(re.compile("^(Failed attempts cannot all be shown|Сейчас показать все неудачные)"))
    await expect(unknown).to_have_count(0)
    await older.click()
    await expect(entries).to_have_count(9)
    await expect(unknown).to_be_visible()
    await expect(older).to_be_hidden()


async def test_a_change_on_another_device_is_shown_in_every_open_page(devices: Devices, api: Api) -> None:
    anna = await api.person()
    pages = [await devices.log_in(anna), await devices.log_in(anna, size=PHONE)]
    for page in pages:
        await page.locator("#app[data-line=up]").wait_for()
    await turn_on(anna)
    for page in pages:
        await expect(page.locator(".notice")).to_contain_text("Two-step verification was turned on.")
    await pages[0].get_by_role("link", name="Look at your logins").click()
    await expect(pages[0].locator(".timeline li").first).to_contain_text("Two-step verification was turned on.")
    await expect(pages[1].locator(".notice")).to_have_count(0)


DATA = {
    "en": (
        "Request a copy",
        "is being made",
        "Your copy is ready",
        "Download",
        "could not be made",
        "can be requested",
    ),
    "ru": ("Запросить копию", "Копия готовится", "Копия готова", "Скачать", "не удалось сделать", "можно запросить"),
}


@pytest.mark.parametrize(("language", "scheme", "size"), [("en", "light", PHONE), ("ru", "dark", DESKTOP)])
async def test_a_copy_of_ones_data_is_requested_waited_for_and_downloaded_in_the_settings(
    devices: Devices, api: Api, language: str, scheme: str, size: dict[str, int]
) -> None:
    request, making, ready, download, failed, later = DATA[language]
    anna, boris = await api.friends()
    await boris.sends(anna, "a friend's text")
    page = await devices.log_in(anna, locale=language, color_scheme=scheme, size=size)
    await page.locator("#app[data-line=up]").wait_for()
    copy = {"export_id": str(uuid4()), "state": "making", "requested_at": rfc3339(now())}

    async def answer(route: Route) -> None:
        await route.fulfill(json={"items": [copy], "next": None})

    # As the mail links to it.
    await page.goto("/#/settings/data")
    heading = page.get_by_role("heading", name=re.compile("^(Your data|Ваши данные)$"))
    card = page.locator(".card", has=heading)
    await expect(heading).to_be_focused()
    await expect(heading).to_be_in_viewport()
    await card.get_by_role("button", name=request).wait_for()
    await page.route("**/v1/users/me/exports", answer)
    await page.reload()
    await expect(card).to_contain_text(making)
    await expect(card.locator("progress")).to_be_visible()
    await assert_readable(page, f"data-making-{scheme}-{language}")
    copy["state"] = "failed"
    await expect(card).to_contain_text(failed)
    await expect(card).to_contain_text(later)
    await expect(card.get_by_role("button")).to_have_count(0)
    await page.unroute("**/v1/users/me/exports")
    await page.reload()
    await card.get_by_role("button", name=request).click()
    await expect(card).to_contain_text(ready)
    await assert_readable(page, f"data-ready-{scheme}-{language}")
    # The alert is for someone who did not request it.
    await expect(page.locator(".notice")).to_have_count(0)
    async with page.expect_download() as started:
        await card.get_by_role("button", name=download).click()
    loaded = await started.value
    assert re.fullmatch(r"vestnik-\d{4}-\d\d-\d\d\.zip", loaded.suggested_filename)
    with zipfile.ZipFile(await loaded.path()) as archive:
        assert "a friend's text" in archive.read(f"conversations/{boris.user_id}.json").decode()
    await page.route("**/v1/users/me/exports/*", lambda route: route.fulfill(status=410, json=GONE))
    await card.get_by_role("button", name=download).click()
    await expect(card.get_by_role("alert")).to_have_text(re.compile("no longer|уже нельзя"))


GONE = {"code": "data_export_expired", "detail": "English", "status": 410}
