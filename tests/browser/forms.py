"""Forms of the page: filled in, submitted, and refused by the gateway."""

import json
import re
from typing import Any

from playwright.async_api import Locator, Page, Route, expect


def submit(page: Page | Locator) -> Locator:
    return page.locator("button[type=submit]")


async def fill(page: Page, **values: str) -> None:
    for name, value in values.items():
        await page.locator(f"#field-{name}").fill(value)


async def assert_wrong(page: Page, name: str, said: str | re.Pattern[str]) -> None:
    """The field is marked, described by these words, and has the focus."""
    field = page.locator(f"#field-{name}")
    await expect(page.locator(f"#field-{name}-wrong")).to_have_text(said)
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_have_attribute("aria-describedby", re.compile(rf"\bfield-{name}-wrong\b"))
    await expect(field).to_be_focused()


def refusing(status: int, problem: dict[str, Any], **headers: str) -> Any:  # noqa: ANN401 - a handler
    async def handler(route: Route) -> None:
        await route.fulfill(
            status=status, content_type="application/problem+json", body=json.dumps(problem), headers=headers
        )

    return handler
