"""Names have room on every width and in both languages, however long they are."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page

from contracts.values.ids import new_id
from tests.browser.browser_users import Devices
from tests.browser.conftest import PICTURES
from tests.e2e.people import Api

pytestmark = pytest.mark.asyncio(loop_scope="session")

WIDTHS = (320, 390, 1280)
SHORT = "Дмитрий"
LONG = "Ж" * 64
# What is cut off or out of sight: names too narrow to read, and whatever is wider than the page or its own box.
MEASURE = """([short, long]) => {
  const findings = [];
  const seen = (node) => node.checkVisibility({ visibilityProperty: true }) && node.getClientRects().length;
  const root = document.querySelector("dialog[open]") ?? document.body;
  let names = 0;
  for (const node of root.querySelectorAll("*")) {
    if (!seen(node) || node.closest(".hidden, .skip, .avatar, svg, input, option")) continue;
    const box = node.getBoundingClientRect(), style = getComputedStyle(node);
    const tell = (what) => findings.push(`${what}: ${node.outerHTML.slice(0, 90)}`);
    if (box.left < -1 || box.right > innerWidth + 1) tell("is outside of the page");
    const cut = style.overflowX === "hidden" && style.textOverflow === "ellipsis";
    const wider = style.display !== "inline" && node.scrollWidth > node.clientWidth + 1;
    if (wider && !cut) tell("is narrower than what is in it");
    const own = [...node.childNodes].filter((one) => one.nodeType === Node.TEXT_NODE).map((one) => one.data).join("");
    if (own.includes(short)) {
      names += 1;
      if (wider) tell("a short name is cut");
    }
    if (own.includes(long)) {
      names += 1;
      if (box.width < 100) tell(`a name has ${box.width} pixels`);
    }
  }
  if (!names) findings.push("no name is shown");
  if (document.scrollingElement.scrollWidth > innerWidth) findings.push("the page scrolls sideways");
  return findings;
}"""


async def assert_room(page: Page, name: str) -> None:
    await asyncio.to_thread(PICTURES.mkdir, parents=True, exist_ok=True)
    await page.screenshot(path=PICTURES / f"{name}.png")
    assert await page.evaluate(MEASURE, [SHORT, LONG]) == [], name


@pytest.mark.parametrize("language", ["en", "ru"])
async def test_names_can_be_read_and_nothing_scrolls_sideways(devices: Devices, api: Api, language: str) -> None:
    me = await api.person(display_name=LONG, email=f"{new_id()}{'w' * 28}@example.org")
    friends = [await api.person(display_name=name) for name in (SHORT, LONG)]
    for friend in friends:
        await api.befriend(me, friend)
    for name in (SHORT, LONG):
        asking = await api.person(display_name=name)
        assert (await asking.add(me)).status_code == 201
    page = await devices.log_in(me, locale=language)
    await page.locator(".chat .who", has_text=LONG).wait_for()
    await page.locator(".chat .who", has_text=SHORT).wait_for()
    views: dict[str, Any] = {
        "chats": ("/#/", page.locator(".chat .who", has_text=SHORT)),
        "short-chat": (f"/#/chat/{friends[0].user_id}", page.locator(".head h2", has_text=SHORT)),
        "long-chat": (f"/#/chat/{friends[1].user_id}", page.locator(".head h2", has_text=LONG)),
        "people": ("/#/people", page.locator(".person .who", has_text=LONG).nth(1)),
        "notifications": ("/#/notifications", page.locator(".person .row", has_text=LONG).first),
        "settings": ("/#/settings", page.locator(".card .row", has_text=LONG)),
    }
    for view, (address, there) in views.items():
        await page.goto(address)
        await there.wait_for()
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 844})
            await assert_room(page, f"names-{language}-{view}-{width}")
    await page.goto("/#/people")
    await page.locator(".person", has_text=LONG).locator("button.quiet").click()
    await page.locator("dialog[open]").wait_for()
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 844})
        await assert_room(page, f"names-{language}-dialog-{width}")
