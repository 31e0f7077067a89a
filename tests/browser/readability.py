"""Checks that a page can be read: contrast, names and sizes, by `audit.js`."""

import asyncio
from pathlib import Path

from playwright.async_api import Page

from tests.browser.browser_users import DESKTOP, PHONE
from tests.browser.conftest import PICTURES

AUDIT = (Path(__file__).parent / "audit.js").read_text()
# What moves forever is left to move.
SETTLED = """Promise.all(document.getAnimations()
  .filter((each) => each.effect.getComputedTiming().endTime !== Infinity)
  .map((each) => each.finished.catch(() => {})))"""
SIZES = {"desktop": DESKTOP, "phone": PHONE}


async def assert_readable(page: Page, name: str) -> None:
    """Fails if the audit finds something, and keeps a picture of it; `./just pictures` shows every view."""
    await page.evaluate(SETTLED)
    findings = await page.evaluate(AUDIT)
    if findings:
        await asyncio.to_thread(PICTURES.mkdir, parents=True, exist_ok=True)
        await page.screenshot(path=PICTURES / f"{name}.png")
    assert findings == [], name
