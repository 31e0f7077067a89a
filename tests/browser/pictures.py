"""Screenshots of the messenger and of the operators' page, with invented users: `./just pictures`.

Everything is real but the hours: people in the pictures write over some days, and the pictures are made in minutes.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.async_api import Browser, Page, Route, async_playwright, expect

from tests.browser import demo
from tests.browser.browser_users import recognise_device
from tests.browser.demo import ENGLISH, RUSSIAN, Scene
from tests.e2e.conftest import client
from tests.e2e.people import PASSWORD, Api, Person
from tests.e2e.poison import poisoned
from tests.fix_system import ROOT, System

FOLDER = ROOT / "docs" / "pictures"
DESKTOP, PHONE = {"width": 1200, "height": 760}, {"width": 390, "height": 780}
LANGUAGES = {"en": (ENGLISH, "en-GB"), "ru": (RUSSIAN, "ru-RU")}
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# The button that begins it, and words of a message to search for, by language.
_SET_UP_TWO_STEP = {"en": "Set up two-step verification", "ru": "Настроить двухэтапную проверку"}
_SOUGHT = {"en": "boat", "ru": "карта"}
# Of somebody whose profile has not come yet.
_NAMELESS = re.compile(r"^\??…")
# What is shown, on what, in which colours and language; the operators' page in the second list.
VIEWS = (
    ("chat", "desktop", "light", "en"),
    ("chat", "desktop", "dark", "ru"),
    ("welcome", "desktop", "dark", "en"),
    ("people", "desktop", "light", "ru"),
    ("chats", "phone", "light", "en"),
    ("chat", "phone", "dark", "en"),
    ("chats", "phone", "dark", "ru"),
    ("settings", "phone", "light", "ru"),
    ("two-step", "desktop", "light", "en"),
)
OPERATORS_VIEWS = (
    (("overview", "letters"), "desktop", "light", "en"),
    (("events",), "desktop", "dark", "en"),
    (("overview",), "desktop", "dark", "ru"),
    (("overview",), "phone", "dark", "en"),
    (("logins", "events"), "phone", "light", "ru"),
)
_SCHEMES = {("desktop", "en"): "light", ("desktop", "ru"): "dark", ("phone", "en"): "dark", ("phone", "ru"): "light"}
# With --every: each view on both devices in both languages, to look at after a change.
EVERY_VIEW = tuple(
    (view, device, scheme, language)
    for view in (
        "welcome",
        "errors",
        "chats",
        "chat",
        "menu",
        "reply",
        "picker",
        "options",
        "palette",
        "search",
        "people",
        "notifications",
        "settings",
        "two-step",
        "logins",
    )
    for (device, language), scheme in _SCHEMES.items()
)
EVERY_OPERATORS_VIEW = tuple(
    (("overview", "events", "letters", "logins", "lookup", "maintenance"), device, scheme, language)
    for (device, language), scheme in _SCHEMES.items()
)
_THERE = {
    "overview": ".tiles",
    "events": ".event",
    "letters": ".letter",
    "logins": "tbody tr",
    "lookup": ".tiles.counts",
    "maintenance": "button",
}


async def make(folder: Path, kind: str, seconds: int, *, every: bool) -> None:
    with TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        system = System(Path(scratch) / "data")
        try:
            await asyncio.to_thread(system.start)
            async with client(system) as http, _browser() as browser:
                await _Studio(Api(system, http), browser, folder, kind, seconds, every).work()
        finally:
            await asyncio.to_thread(system.stop)


class _Studio:
    def __init__(self, api: Api, browser: Browser, folder: Path, kind: str, seconds: int, every: bool) -> None:
        self._api = api
        self._browser = browser
        self._folder = folder
        self._kind = kind
        self._seconds = seconds
        self._views = EVERY_VIEW if every else VIEWS
        self._operators_views = EVERY_OPERATORS_VIEW if every else OPERATORS_VIEWS

    async def work(self) -> None:
        people = {language: await demo.play(self._api, scene) for language, (scene, _) in LANGUAGES.items()}
        for person in people.values():
            await self._api.log_in(person.username, "not the password", device="Vestnik web, Firefox, Windows")
        operator = people["en"]
        done = await asyncio.to_thread(self._api.system.vestnik, "operators", "add", operator.username)
        assert done.returncode == 0, done.stderr
        at_work = asyncio.create_task(_traffic(self._api))
        try:
            opened = [
                (sections, device, scheme, language, await self._operators(operator, device, scheme, language))
                for sections, device, scheme, language in self._operators_views
            ]
            one, other = await self._api.friends()
            await poisoned(self._api, one, other)
            for view, device, scheme, language in self._views:
                page = await self._messenger(people[language], view, device, scheme, language)
                await self._keep(page, f"{view}-{device}-{scheme}-{language}")
                await page.context.close()
            # Until the lines have something to show.
            await asyncio.sleep(self._seconds)
            for sections, device, scheme, language, page in opened:
                for section in sections:
                    await page.goto(f"/ops#/{section}")
                    if section == "lookup":
                        await page.locator("form.filters input").fill(operator.username)
                        await page.keyboard.press("Enter")
                    await page.locator(f"main {_THERE[section]}").first.wait_for()
                    if section == "events" and device == "desktop":
                        await page.locator(".event").nth(1).click()
                    await self._keep(page, f"ops-{section}-{device}-{scheme}-{language}")
        finally:
            at_work.cancel()
            await asyncio.gather(at_work, return_exceptions=True)

    async def _messenger(self, person: Person, view: str, device: str, scheme: str, language: str) -> Page:
        page = await self._page(device, scheme, language)
        await page.goto("/")
        if view in ("welcome", "errors"):
            await page.locator("#field-login").wait_for()
            if view == "errors":
                await page.locator("form button[type=submit]").click()
                await page.locator("[aria-invalid=true]").first.wait_for()
            return page
        await _log_in(page, person)
        if view in ("chat", "menu", "reply", "picker", "options"):
            await _open_chat(page, view)
        elif view in ("chats", "palette", "search"):
            await page.locator(".chat .badge").first.wait_for()
            if view != "chats":
                await page.keyboard.press("Control+k")
                await page.locator("[role=option]").first.wait_for()
            if view == "search":
                await page.keyboard.type(_SOUGHT[language])
                await page.locator("[role=option] mark").first.wait_for()
        elif view == "two-step":
            await page.goto("/#/settings")
            await page.get_by_role("button", name=_SET_UP_TWO_STEP[language]).click()
            await page.locator("dialog #field-password").fill(PASSWORD)
            await page.keyboard.press("Enter")
            await page.locator("dialog .qr").wait_for()
        elif view == "logins":
            await page.goto("/#/settings/sessions")
            await page.locator(".timeline .warn").first.wait_for()
        else:
            await page.goto(f"/#/{view}")
            await page.locator(
                {"people": ".person .primary", "notifications": ".person", "settings": ".card .person"}[view]
            ).first.wait_for()
        return page

    async def _operators(self, operator: Person, device: str, scheme: str, language: str) -> Page:
        page = await self._page(device, scheme, language)
        await page.goto("/ops")
        await _log_in(page, operator)
        await page.locator(".tiles").wait_for()
        return page

    async def _page(self, device: str, scheme: str, language: str) -> Page:
        scene, locale = LANGUAGES[language]
        options: dict[str, Any] = {"color_scheme": scheme, "locale": locale, "reduced_motion": "reduce"}
        options["viewport"] = {"desktop": DESKTOP, "phone": PHONE}[device]
        context = await self._browser.new_context(
            base_url=self._api.system.url, device_scale_factor=2 if device == "phone" else 1.5, **options
        )
        page = await context.new_page()
        await page.route("**/v1/conversations**", lambda route: _retimed(route, scene))
        return page

    async def _keep(self, page: Page, name: str) -> None:
        await page.mouse.move(0, 0)
        await expect(page.locator(".who, .head h2, .person", has_text=_NAMELESS)).to_have_count(0)
        session = await page.context.new_cdp_session(page)
        options = {"format": self._kind, **({"quality": 82} if self._kind == "webp" else {})}
        taken = await session.send("Page.captureScreenshot", options)
        await asyncio.to_thread((self._folder / f"{name}.{self._kind}").write_bytes, base64.b64decode(taken["data"]))
        sys.stdout.write(f"{name}\n")


async def _log_in(page: Page, person: Person) -> None:
    await recognise_device(page, person)
    await page.locator("#field-login").fill(person.username)
    await page.locator("#field-password").fill(PASSWORD)
    await page.locator("form button[type=submit]").click()
    await page.locator("nav").first.wait_for()


async def _open_chat(page: Page, view: str) -> None:
    """The first chat; for some views with a menu of it or of its last message, or what follows from that menu."""
    await page.locator(".chat").first.click()
    await page.locator(".message .tick.seen").last.wait_for()
    if view == "chat":
        return
    if view == "options":
        await page.locator(".head button").last.click()
    else:
        await page.locator(".message").last.focus()
        await page.keyboard.press("Shift+F10")
    await page.get_by_role("menuitem").first.wait_for()
    if view == "reply":
        await page.get_by_role("menuitem").first.click()
        await page.locator(".context").wait_for()
    elif view == "picker":
        await page.get_by_role("menuitem").nth(1).click()
        await page.get_by_role("dialog").wait_for()


async def _retimed(route: Route, scene: Scene) -> None:
    """The gateway's answer, at the hours of the scene."""
    if route.request.method != "GET":
        await route.continue_()
        return
    answer = await route.fetch()
    body, now = await answer.json(), datetime.now(UTC)
    for item in body.get("items", ()):
        message = item.get("last_message") or item
        written = demo.written_at(scene, message.get("text", ""), now)
        if written is not None:
            message["sent_at"] = written.isoformat()
    await route.fulfill(response=answer, body=json.dumps(body))


async def _traffic(api: Api) -> None:
    """The activity of a day within a few minutes: messages, reads, logins and logouts."""
    chance = random.Random(3)
    pairs = [await api.friends() for _ in range(4)]
    busy = 0.5
    while True:
        busy = min(1.0, max(0.1, busy + chance.uniform(-0.12, 0.12)))
        one, other = chance.choice(pairs)
        (sent,) = await one.sends(other, "…")
        if chance.random() < 0.4:
            await other.sees(one, sent["sequence"])
        if chance.random() < 0.05:
            again = await api.again(one, device=chance.choice(["Vestnik web, Firefox, Linux", "A phone", "Laptop"]))
            if chance.random() < 0.6:
                await again.ask("DELETE", "/v1/sessions/current")
        await asyncio.sleep(chance.uniform(0, 0.5) * (1.1 - busy))


@asynccontextmanager
async def _browser() -> AsyncIterator[Browser]:
    program = next((path for path in map(shutil.which, _PROGRAMS) if path), None)
    if program is None:
        sys.exit("no Chromium is installed (on Debian: apt install chromium)")
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--disable-gpu", *as_root])
        try:
            yield browser
        finally:
            await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder; docs/pictures if left out")
    parser.add_argument("--kind", choices=["webp", "png"], default="webp")
    parser.add_argument("--seconds", type=int, default=100, help="how long the system is watched before")
    parser.add_argument("--every", action="store_true", help="every view on both devices in both languages")
    arguments = parser.parse_args()
    arguments.into.mkdir(parents=True, exist_ok=True)
    asyncio.run(make(arguments.into, arguments.kind, arguments.seconds, every=arguments.every))
