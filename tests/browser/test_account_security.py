"""What the messenger shows of an account's security: notifications about it."""

import json
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.browser_users import PHONE, Sitting
from tests.browser.test_looks import assert_readable
from tests.browser.test_shell import HIDDEN, RECORD, recorded
from tests.e2e.people import Api, Person

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCOUNT_KINDS = {
    "new_device": ("There was a login to your account from a new device.", "вошли с нового устройства"),
    "password_changed": ("Your password was changed.", "пароль изменён"),
    "password_reset": ("Your password was reset by mail.", "сброшен через почту"),
    "email_changed": ("The e-mail address of your account was changed.", "Изменён адрес почты"),
    "refresh_token_reused": ("A session was ended: its key may have been copied.", "ключ мог быть скопирован"),
    "two_factor_on": ("Two-step verification was turned on.", "проверка включена"),
    "two_factor_off": ("Two-step verification was turned off.", "проверка выключена"),
}


def notification(person: Person, kind: str, *, read: bool = False) -> dict[str, Any]:
    at = "2026-11-30T09:00:00.000Z"
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
    sitting: Sitting, api: Api, language: str, scheme: str
) -> None:
    anna, boris = await api.friends()
    page = await sitting.log_in(anna, locale=language, color_scheme=scheme, size=PHONE)
    items = [notification(anna, kind) for kind in (*ACCOUNT_KINDS, "of_the_future")]
    items.append(notification(boris, "friend_accepted", read=True))

    async def listed(route: Route) -> None:
        await route.fulfill(json={"items": items, "next": None})

    await page.route("**/v1/notifications?*", listed)
    await page.goto("/#/notifications")
    rows = page.locator(".persons .person")
    await expect(rows).to_have_count(len(items))
    for place, texts in enumerate(ACCOUNT_KINDS.values()):
        await expect(rows.nth(place)).to_contain_text(texts[language == "ru"])
    await expect(rows.nth(7)).to_contain_text("Something happened" if language == "en" else "Произошло событие")
    await expect(rows.nth(8).get_by_role("link")).to_have_attribute("href", f"#/chat/{boris.user_id}")
    await assert_readable(page, f"account-notifications-{scheme}-{language}")
    await page.route("**/v1/notifications/read", lambda route: route.fulfill(status=204))
    await rows.nth(7).get_by_role("link").click()
    await expect(rows.nth(7).locator(".badge")).to_have_count(0)
    await rows.first.get_by_role("link").click()
    await expect(page).to_have_url("**/#/settings/sessions".replace("**", api.system.url))


async def test_what_happens_to_the_account_is_shown_at_once_and_notified_while_the_page_is_not_visible(
    sitting: Sitting, api: Api
) -> None:
    anna = await api.person()
    page = await sitting.log_in(anna)
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
    toasts = page.locator(".toast")
    await send_live(page, unknown, changed, changed)
    await expect(toasts).to_have_count(1)
    await expect(toasts).to_contain_text("Your password was changed.")
    await expect(page.locator("#notes")).to_have_text("Your password was changed.")
    await expect(page.get_by_role("link", name="Notifications 2")).to_be_visible()
    await assert_readable(page, "toast")
    assert await page.evaluate("window.shown") == []
    await toasts.get_by_role("button", name="Close").press("Enter")
    await expect(toasts).to_have_count(0)
    await expect(page.locator("#main")).to_be_focused()
    assert read == [{"notification_ids": [changed["notification_id"]]}]

    await page.evaluate(HIDDEN)
    device = notification(anna, "new_device")
    await send_live(page, device)
    text = "There was a login to your account from a new device."
    await recorded([page], "shown", [["Vestnik", text]])
    await toasts.get_by_role("link", name="Look at your logins").click()
    await expect(page).to_have_url(f"{api.system.url}/#/settings/sessions")
    await expect(toasts).to_have_count(0)
    await recorded([page], "withdrawn", ["Vestnik"])
