"""Browser users: each has a browser context of their own, as on a separate device."""

from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from tests.e2e.people import PASSWORD, Api, Person

DESKTOP = {"width": 1200, "height": 800}
PHONE = {"width": 390, "height": 844}
WITHIN = 20_000
# What a browser says of requests that were refused or could not be made: the page shows that to people itself. The
# other is Playwright's own, of a device without service workers.
_EXPECTED = ("Failed to load resource", "Service Worker registration blocked by Playwright")

expect.set_options(timeout=WITHIN)


class Devices:
    """Opens pages, and records their console errors and requests to other hosts."""

    def __init__(self, browser: Browser, api: Api) -> None:
        self.browser = browser
        self.api = api
        self.complaints: list[str] = []
        self._contexts: list[BrowserContext] = []

    async def page(self, *, size: dict[str, int] = DESKTOP, **options: Any) -> Page:  # noqa: ANN401 - playwright's own
        """An empty device at the messenger's address."""
        context = await self.browser.new_context(
            viewport=size,  # type: ignore[arg-type]  # a mapping of the very two names that it wants
            base_url=self.api.system.url,
            **{"locale": "en-GB", **options},
        )
        context.set_default_timeout(WITHIN)
        self._contexts.append(context)
        page = await context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)
        await page.goto("/")
        return page

    async def log_in(self, person: Person, **options: Any) -> Page:  # noqa: ANN401 - playwright's own
        """A page that the person is logged in to, on the device of the person's session: a new one causes an alert."""
        page = await self.page(**options)
        await recognise_device(page, person)
        await submit_login(page, person)
        return page

    async def close(self) -> None:
        for context in self._contexts:
            await context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_EXPECTED):
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.api.system.url:
            self.complaints.append(f"a request to {request.url}")


async def submit_login(page: Page, person: Person) -> None:
    """Fills in the form of the login, and waits for the messenger."""
    await page.locator("#field-login").fill(person.username)
    await page.locator("#field-password").fill(PASSWORD)
    await page.locator("form button[type=submit]").click()
    await page.locator("nav.tabs").wait_for()


async def recognise_device(page: Page, person: Person) -> None:
    """Gives the page the device token of the person's session, so that its login causes no alert."""
    host = urlsplit(page.url).hostname or ""
    cookie = {"name": "vestnik_device", "value": person.device_token, "domain": host, "path": "/v1/browser/sessions"}
    await page.context.add_cookies([cookie])  # type: ignore[list-item]  # a mapping of the names that it wants


async def disconnect(page: Page) -> None:
    """Takes the network away. With nothing but a loopback the machine has none: its browser notices no change."""
    await page.context.set_offline(True)
    await page.evaluate("dispatchEvent(new Event('offline'))")


async def reconnect(page: Page) -> None:
    await page.context.set_offline(False)
    await page.evaluate("dispatchEvent(new Event('online'))")


async def open_chat(page: Page, person: Person) -> None:
    await page.locator(f".chat[href='#/chat/{person.user_id}']").click()
    await page.locator(".composer textarea").wait_for()


async def write(page: Page, text: str) -> None:
    await page.locator(".composer textarea").fill(text)
    await page.locator(".composer button").click()


def message(page: Page, text: str) -> Any:  # noqa: ANN401 - a locator
    return page.locator(".message .text", has_text=text)
