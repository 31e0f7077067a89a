"""A message in the page and its menu, with the pointer or a finger."""

from playwright.async_api import Locator, Page

from tests.e2e.people import Json, Person


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
