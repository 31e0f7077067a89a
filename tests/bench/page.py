"""The messenger as a browser opens it: bytes of a first load, time until the chats can be used, and a long scroll.

One person with many conversations, one of them very long, in Chromium without a window. The times are those of the
browser's own clock, from the beginning of the navigation.
"""

import argparse
import asyncio
import os
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aiohttp
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.bench.people import PASSWORD, Login, client, log_in, people, started
from tests.bench.report import Row, main, percentile
from tests.fix_system import System

_SETTINGS = {"VESTNIK_BCRYPT_COST": "4", "VESTNIK_RATE_LIMITS": "off"}
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run")
_WINDOW = {"width": 1200, "height": 800}
_WITHIN = 120_000
# Resolves to the milliseconds since the navigation began when every conversation on the first screen had its name.
_USABLE = """window.usable = new Promise((resolve) => {
  const look = () => {
    const list = document.querySelector(".chats");
    const bottom = list?.getBoundingClientRect().bottom;
    const shown = [...(list?.children ?? [])].filter((row) => row.getBoundingClientRect().top < bottom);
    const named = shown.every((row) => !["…", ""].includes(row.querySelector(".who").textContent));
    if (shown.length && named) resolve(performance.now());
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""
_WATCH = """window.long = [];
new PerformanceObserver((list) => window.long.push(...list.getEntries().map((each) => each.duration)))
  .observe({ type: "longtask", buffered: false })"""
# Upwards as fast as frames come, to the first message; the rows passed, the milliseconds taken and the longest frame.
_SCROLL = """(async () => {
  const log = document.querySelector(".log"), begun = performance.now();
  let longest = 0, before = begun;
  while (document.querySelector(".beginning").hidden || log.scrollTop > 0) {
    log.scrollTop -= 700;
    const now = await new Promise(requestAnimationFrame);
    longest = Math.max(longest, now - before);
    before = now;
  }
  return { taken: performance.now() - begun, longest, rows: document.querySelectorAll(".message").length };
})()"""


async def measure(arguments: argparse.Namespace) -> list[Row]:
    with started(_SETTINGS, replicas=1) as system:
        async with client(system.url) as http:
            me, longest = await _world(system, http, arguments)
        async with async_playwright() as playwright:
            program = next(path for path in map(shutil.which, _PROGRAMS) if path)
            as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = await playwright.chromium.launch(executable_path=program, args=[*_QUIET, *as_root])
            try:
                return [
                    *await _first_load(browser, system),
                    *await _openings(browser, system, me, arguments),
                    *await _scroll(browser, system, me, longest, arguments),
                ]
            finally:
                await browser.close()


async def _world(system: System, http: aiohttp.ClientSession, arguments: argparse.Namespace) -> tuple[Login, str]:
    """Creates a user with the given number of conversations; returns them and the peer of the long one."""
    names = await people(system, http, arguments.conversations + 1)
    me = await log_in(http, names[0])
    mine = await _who(http, me)
    turns = asyncio.Semaphore(8)

    async def befriend(name: str) -> tuple[str, Login]:
        async with turns:
            friend = await log_in(http, name)
            friend_id = await _who(http, friend)
            await _until_put(http, f"/v1/friends/{friend_id}", me)
            await _until_put(http, f"/v1/friends/{mine}", friend)
            await _send(
                http, friend, mine, "Have you seen the ice on the river this morning? Nobody has crossed it yet."
            )
            return friend_id, friend

    friends = [await befriend(names[1]), *await asyncio.gather(*map(befriend, names[2:]))]
    longest, friend = friends[0]
    at_once = asyncio.Semaphore(32)

    async def one(number: int) -> None:
        async with at_once:
            sender, to = ((me, longest), (friend, mine))[number % 3 == 0]
            await _send(http, sender, to, f"{number}: " + "what is there to say about it? " * (1 + number % 4))

    await asyncio.gather(*map(one, range(arguments.messages - 1)))
    return me, longest


async def _who(http: aiohttp.ClientSession, login: Login) -> str:
    async with http.get("/v1/users/me", headers=login.headers) as answer:
        answer.raise_for_status()
        return str((await answer.json())["user_id"])


async def _until_put(http: aiohttp.ClientSession, path: str, login: Login) -> None:
    """A new account is known to every service within moments."""
    for _ in range(200):
        async with http.put(path, headers=login.headers) as answer:
            if answer.status < 300:
                return
        await asyncio.sleep(0.05)
    raise RuntimeError(f"{path} is refused")


async def _send(http: aiohttp.ClientSession, sender: Login, to: str, text: str) -> None:
    body = {"text": text, "client_message_id": uuid4().hex}
    async with http.post(f"/v1/conversations/{to}/messages", json=body, headers=sender.headers) as answer:
        if answer.status >= 300:
            raise RuntimeError(f"{answer.status} {await answer.text()}")


async def _first_load(browser: Browser, system: System) -> list[Row]:
    """Measures what a browser with an empty cache loads before the login form is usable."""
    context = await _context(browser, system)
    page, received = await _counting(context)
    await page.goto("/")
    await page.locator("#field-login").wait_for()
    # The worker keeps the page for the next time.
    await page.wait_for_load_state("networkidle")
    await context.close()
    return [Row("over the wire on first load, files of the page", sum(received) / 1_000, "KB", "under 150")]


async def _openings(browser: Browser, system: System, me: Login, arguments: argparse.Namespace) -> list[Row]:
    """Measures the time until the list can be used, on a new device and on one that has the page's files."""
    fresh: list[float] = []
    again: list[float] = []
    loaded: list[float] = []
    for _ in range(arguments.rounds):
        context = await _context(browser, system)
        await (await _logged_in(context, me)).close()
        # As a new device that has the cookie and nothing else: what was kept is forgotten.
        page, received = await _counting(context)
        await page.goto("/docs")
        await page.evaluate(
            "(async () => { for (const key of await caches.keys()) await caches.delete(key);"
            " await new Promise((done) => { indexedDB.deleteDatabase('vestnik').onsuccess = done; }); })()"
        )
        received.clear()
        fresh.append(await _usable(page))
        loaded.append(sum(received) / 1_000)
        again.append(await _usable(page))
        await context.close()
    what = f"{arguments.conversations} conversations"
    return [
        Row(f"until the list of {what} can be used, nothing kept, p50", _p50(fresh), "ms"),
        Row(f"until the list of {what} can be used, nothing kept, slowest", max(fresh), "ms"),
        Row(f"until the list of {what} can be used, opened again, p50", _p50(again), "ms"),
        Row(f"over the wire until then, with the data of {what}, p50", _p50(loaded), "KB"),
    ]


async def _scroll(
    browser: Browser, system: System, me: Login, longest: str, arguments: argparse.Namespace
) -> list[Row]:
    context = await _context(browser, system)
    page = await _logged_in(context, me)
    await page.goto(f"/#/chat/{longest}")
    await page.locator(".message").last.wait_for()
    await page.evaluate(_WATCH)
    async with _tasks(page) as cpu, asyncio.timeout(10 * _WITHIN / 1_000):
        done = await page.evaluate(_SCROLL)
    tasks: list[float] = await page.evaluate("window.long")
    await context.close()
    count = arguments.messages
    return [
        Row(f"scrolling through {count:,} messages: tasks over 50 ms", len(tasks), "", "0"),
        Row("… the longest of them", max(tasks, default=0.0), "ms", "none over 50"),
        Row("… the most CPU that a task took", max(cpu, default=0.0), "ms", "whatever else is at work"),
        Row("… the longest time between two frames", done["longest"], "ms"),
        Row("… from the newest to the first", done["taken"] / 1_000, "s"),
        Row("… rows in the page at the end", done["rows"], "rows"),
    ]


async def _context(browser: Browser, system: System) -> BrowserContext:
    context = await browser.new_context(
        viewport=_WINDOW,  # type: ignore[arg-type]  # a mapping of the very two names that it wants
        base_url=system.url,
        locale="en-GB",
    )
    context.set_default_timeout(_WITHIN)
    await context.add_init_script(_USABLE)
    return context


async def _logged_in(context: BrowserContext, me: Login) -> Page:
    page = await context.new_page()
    await page.goto("/")
    await page.locator("#field-login").fill(me.username)
    await page.locator("#field-password").fill(PASSWORD)
    await page.locator("form button[type=submit]").click()
    await page.locator(".chat").first.wait_for()
    return page


async def _counting(context: BrowserContext) -> tuple[Page, list[float]]:
    """A page, and the bytes of every answer to it as they came over the wire, headers too."""
    page = await context.new_page()
    received: list[float] = []
    session = await context.new_cdp_session(page)
    await session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    return page, received


@asynccontextmanager
async def _tasks(page: Page) -> AsyncIterator[list[float]]:
    """Milliseconds of CPU of each task of the page's own thread; they are there at the end.

    How long a task lasts also depends on who else wants the cores; what it takes of one does not.
    """
    session = await page.context.new_cdp_session(page)
    events: list[dict[str, Any]] = []
    complete = asyncio.Event()
    session.on("Tracing.dataCollected", lambda part: events.extend(part["value"]))
    session.on("Tracing.tracingComplete", lambda _: complete.set())
    categories = {"includedCategories": ["toplevel", "blink"]}
    await session.send("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": categories})
    milliseconds: list[float] = []
    yield milliseconds
    await session.send("Tracing.end")
    async with asyncio.timeout(_WITHIN / 1_000):
        await complete.wait()
    # The page's thread is the one that lays it out.
    threads = Counter(event["tid"] for event in events if event.get("name") == "LocalFrameView::layout")
    (thread, _), *_ = threads.most_common(1)
    milliseconds += [
        event.get("tdur", 0) / 1_000
        for event in events
        if event["tid"] == thread and event.get("name") == "ThreadControllerImpl::RunTask"
    ]


async def _usable(page: Page) -> float:
    await page.goto("/", wait_until="commit")
    async with asyncio.timeout(_WITHIN / 1_000):
        return float(await page.evaluate("window.usable"))


def _p50(values: Sequence[float]) -> float:
    return percentile(sorted(values), 0.5)


if __name__ == "__main__":
    if not any(map(shutil.which, _PROGRAMS)):
        sys.exit("no Chromium is installed (on Debian: apt install chromium)")
    main(measure, conversations=200, messages=10_000, rounds=7)
