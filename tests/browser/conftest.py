"""Fixtures: a system, a browser and its users; skipped where Chromium is not installed."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.browser_users import Devices
from tests.e2e.conftest import client
from tests.e2e.people import Api
from tests.fix_system import ROOT, System, shared

# No browser of its own is downloaded: a distribution's is good, and a page is served over loopback alone.
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-default-apps"
)
# Where pictures of failures are left to look at.
PICTURES = ROOT / ".pytest_cache" / "pictures"


@pytest.fixture(scope="session")
def chromium() -> Path:
    program = next((path for path in map(shutil.which, _PROGRAMS) if path), None)
    if program is None:
        pytest.skip("no Chromium is installed (on Debian: apt install chromium)")
    return Path(program)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    # As root a browser refuses its sandbox; the pages that it sees are ours alone.
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=[*_QUIET.split(), *as_root])
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def web_system(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared("web_system", System(tmp_path_factory.mktemp("web") / "data")) as system:
        yield system


@pytest_asyncio.fixture(loop_scope="session")
async def http(web_system: System) -> AsyncIterator[httpx.AsyncClient]:
    async with client(web_system) as http:
        yield http


@pytest.fixture
def api(web_system: System, http: httpx.AsyncClient) -> Api:
    return Api(web_system, http)


@pytest_asyncio.fixture(loop_scope="session")
async def devices(browser: Browser, api: Api) -> AsyncIterator[Devices]:
    opened = Devices(browser, api)
    yield opened
    await opened.close()
    assert opened.complaints == [], "the page complained"
