"""The messenger's page when its files do not come: no network, a dead line, a refused script, another release."""

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, BrowserContext, Page, expect
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.gateway.static.files import FOLDER, WebFiles
from tests.browser.browser_users import WITHIN
from tests.e2e.people import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

# By what a browser says of a request: whether it is the service worker's own, or a page's.
Refusal = Callable[[str, Headers], int | None]


class Files:
    """A gateway that serves only the messenger's files, of a chosen release."""

    def __init__(self) -> None:
        self.files = WebFiles()
        self.refusal: Refusal = lambda _path, _headers: None
        self.answering = asyncio.Event()
        self.answering.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answering.wait()
        headers, path = Headers(scope=scope), scope["path"]
        file = self.files.find(path)
        if status := self.refusal(path, headers) or (404 if file is None else None):
            response = Response("refused", status)
        else:
            assert file is not None
            response = file.answer(headers)
        await response(scope, receive, send)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture
def files() -> Files:
    return Files()


@pytest_asyncio.fixture(loop_scope="session")
async def device(browser: Browser, files: Files) -> AsyncIterator[BrowserContext]:
    sock = socket.create_server(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(files, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    context = await browser.new_context(base_url=f"http://127.0.0.1:{sock.getsockname()[1]}", locale="en-GB")
    context.set_default_timeout(WITHIN)
    yield context
    files.answering.set()
    await context.close()
    server.should_exit = True
    await serving


async def test_after_one_visit_the_page_opens_without_a_network_and_on_a_dead_line(
    device: BrowserContext, files: Files
) -> None:
    await visited(device)
    await device.set_offline(True)
    for path in ("/", "/people"):
        await opened(await device.new_page(), path)
    await device.set_offline(False)
    files.answering.clear()
    await opened(await device.new_page(), "/")
    files.answering.set()
    kept = await (await visited(device)).evaluate(
        "async () => (await (await caches.open((await caches.keys())[0])).keys()).map((one) => one.url)"
    )
    assert not [url for url in kept if re.search(r"/v1/|/ops|#|\?", url)], kept
    assert len(kept) > 20


@pytest.mark.parametrize("path", ["/web/js/main.js", "/web/js/backoff.js", "/web/style.css"])
async def test_a_first_visit_without_one_of_the_files_recovers_by_itself(
    device: BrowserContext, files: Files, path: str
) -> None:
    files.refusal = lambda asked, _headers: 500 if asked == path else None
    page = await device.new_page()
    await page.goto("/#/people")
    if path.endswith(".js"):
        await expect(page.get_by_text("The page could not be loaded. Trying again…")).to_be_visible()
    async with page.expect_event("framenavigated"):
        pass
    files.refusal = lambda _path, _headers: None
    await expect(page.locator("#field-login")).to_be_visible()
    await expect(page.locator("main.panel")).to_have_css("border-top-style", "solid")
    assert page.url.endswith("/#/people")


async def test_a_page_without_any_script_has_a_link_that_loads_it_again(device: BrowserContext, files: Files) -> None:
    files.refusal = lambda asked, _headers: 404 if asked.endswith(".js") else None
    page = await device.new_page()
    await page.goto("/")
    again = page.get_by_role("link", name="Try again")
    await again.wait_for()
    files.refusal = lambda _path, _headers: None
    await again.click()
    await expect(page.locator("#field-login")).to_be_visible()


async def test_a_new_release_is_seen_at_once_and_no_page_has_files_of_two(
    device: BrowserContext, files: Files, tmp_path: Path
) -> None:
    page = await visited(device)
    other = await device.new_page()
    await opened(other, "/")
    wrong: list[str] = []
    for tab in (page, other):
        tab.on("pageerror", lambda error: wrong.append(str(error)))
    # The worker does not get one of its files; pages get all of theirs.
    files.files = second_release(tmp_path)
    files.refusal = lambda path, headers: (
        500 if path.endswith("outbox.js") and headers.get("sec-fetch-dest") == "empty" else None
    )
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-release", "second")
    await device.set_offline(True)
    await other.reload()
    await other.locator("#field-login").wait_for()
    assert await other.locator("html").get_attribute("data-release") is None
    await device.set_offline(False)
    files.refusal = lambda _path, _headers: None
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-release", "second")

    async def kept_alone() -> bool:
        return bool(await page.evaluate("caches.keys()") == [f"vestnik-{files.files.release}"])

    await eventually(kept_alone, "the second release kept alone", within=60)
    await device.set_offline(True)
    for tab in (page, other):
        await tab.reload()
        await expect(tab.locator("html")).to_have_attribute("data-release", "second")
    assert wrong == []


def second_release(folder: Path) -> WebFiles:
    """Files that work only with each other: a module imports what the other has since this release."""
    shutil.copytree(FOLDER, folder / "web")
    with (folder / "web/js/dom.js").open("a") as file:
        file.write("export const release = 'second';\n")
    with (folder / "web/js/main.js").open("a") as file:
        file.write("import { release } from './dom.js';\ndocument.documentElement.dataset.release = release;\n")
    return WebFiles(folder / "web")


async def visited(device: BrowserContext) -> Page:
    """A page whose worker has all of its files."""
    page = await device.new_page()
    await opened(page, "/")
    await page.evaluate("navigator.serviceWorker.ready")
    return page


async def opened(page: Page, path: str) -> None:
    await page.goto(path)
    await expect(page.locator("#field-login")).to_be_visible()
