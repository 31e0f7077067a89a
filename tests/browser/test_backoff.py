"""How often the pages retry a gateway that does not answer or refuses."""

from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.browser_users import Devices, message, open_chat, write
from tests.browser.test_ops import enter
from tests.e2e.operators import operator
from tests.e2e.people import PASSWORD, Api, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What a page may ask for in all while one of its requests is tried four times. A storm has hundreds within a second.
MOST_REQUESTS = 60
TRIES = 4


class Counted:
    """When a page made requests for paths with one of `parts`, by the browser's clock; and how many it made in all."""

    def __init__(self, parts: tuple[str, ...]) -> None:
        self.parts = parts
        self.all = 0
        self.times: list[float] = []

    @classmethod
    async def of(cls, page: Page, *parts: str) -> "Counted":
        counted = cls(parts)
        # A busy machine delivers the events late, some later than others; only the browser knows when it asked.
        devtools = await page.context.new_cdp_session(page)
        devtools.on("Network.requestWillBeSent", counted._heard)
        await devtools.send("Network.enable")
        return counted

    def _heard(self, sent: dict[str, Any]) -> None:
        self.all += 1
        if any(part in sent["request"]["url"] for part in self.parts):
            self.times.append(sent["timestamp"])

    async def tries(self, count: int) -> list[float]:
        """The seconds between the first tries."""
        try:
            await eventually(lambda: self._made(count), f"{count} tries", within=90)
        except AssertionError as error:
            raise AssertionError(f"{self.times} are the tries of {self.all} requests") from error
        return [after - before for before, after in zip(self.times, self.times[1:count], strict=False)]

    async def _made(self, count: int) -> bool:
        return len(self.times) >= count


async def refuse_connections(page: Page) -> None:
    await page.route("**/v1/**", lambda route: route.abort("connectionrefused"))


def assert_growing(gaps: list[float], first: float) -> None:
    """A pause is at least half of the bound, which doubles; a tenth is left to the clocks."""
    for gap in gaps:
        assert gap > first / 2 * 0.9, gaps
        first *= 2


async def test_a_message_is_tried_with_growing_pauses_and_goes_out_once_when_the_gateway_is_back(
    devices: Devices, api: Api
) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await page.locator("#app[data-line=up]").wait_for()
    counted = await Counted.of(page, f"/conversations/{boris.user_id}/messages")
    await refuse_connections(page)
    await write(page, "kept")
    assert_growing(await counted.tries(TRIES), 1)
    assert counted.all < MOST_REQUESTS
    await page.unroute("**/v1/**")
    await expect(page.locator(".waiting .message")).to_have_count(0, timeout=60_000)
    assert [item["text"] for item in await boris.messages(anna)] == ["kept"]
    assert counted.all < MOST_REQUESTS


async def test_a_page_that_is_opened_without_a_gateway_refreshes_with_growing_pauses(
    devices: Devices, api: Api
) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await page.locator("#app[data-line=up]").wait_for()
    await refuse_connections(page)
    await write(page, "kept")
    await expect(page.locator(".waiting .message")).to_have_count(1)
    await page.reload()
    counted = await Counted.of(page, "/sessions/refresh")
    await expect(page.locator(".waiting .message")).to_have_count(1)
    # The outbox and the list of conversations each ask for a token: eight tries are at least three pauses of both.
    gaps = await counted.tries(2 * TRIES)
    assert sum(gaps) > 1.5, gaps
    assert counted.all < MOST_REQUESTS
    await page.unroute("**/v1/**")
    await expect(message(page, "kept")).to_be_visible()
    await expect(page.locator(".waiting .message")).to_have_count(0, timeout=60_000)


async def test_a_message_waits_as_long_as_the_gateway_asks(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await page.locator("#app[data-line=up]").wait_for()
    messages = f"/conversations/{boris.user_id}/messages"

    async def limited(route: Route) -> None:
        await route.fulfill(status=429, headers={"Retry-After": "4"}, json={"code": "rate_limited"})

    await page.route(f"**{messages}", limited)
    counted = await Counted.of(page, messages)
    await write(page, "one")
    await counted.tries(1)
    # Neither the network's return nor another message is a reason to try earlier.
    await page.evaluate("dispatchEvent(new Event('online'))")
    await write(page, "two")
    await page.evaluate("dispatchEvent(new Event('online'))")
    (gap,) = await counted.tries(2)
    assert gap > 3.6, gap
    await page.unroute(f"**{messages}")
    await expect(page.locator(".waiting .message")).to_have_count(0, timeout=60_000)
    assert [item["text"] for item in await boris.messages(anna)] == ["two", "one"]


async def test_only_a_number_of_seconds_changes_the_growing_pause_and_none_overflows_a_timer(devices: Devices) -> None:
    page = await devices.page()
    for retry_after in ("undefined", "NaN", "0", "-5", "'soon'", "null", "1e12"):
        pause = await page.evaluate(f"import('/web/js/backoff.js').then((it) => it.backoffDelay(1000, {retry_after}))")
        if retry_after == "1e12":
            assert pause == 3_600_000
        else:
            assert 500 <= pause <= 1000, retry_after


async def test_a_profile_that_does_not_come_is_asked_for_with_growing_pauses(devices: Devices, api: Api) -> None:
    anna = await api.person()
    boris = await api.person(display_name="Boris")
    await api.befriend(anna, boris)
    await boris.sends(anna, "hello")
    page = await devices.page()
    profile = f"**/v1/profiles/{boris.user_id}"
    await page.route(profile, lambda route: route.abort("connectionrefused"))
    counted = await Counted.of(page, f"/v1/profiles/{boris.user_id}")
    await _enter(page, anna.username)
    await page.locator("#app[data-line=up]").wait_for()
    # The line that came up was a reason to try sooner.
    counted.times.clear()
    assert_growing(await counted.tries(3), 0.5)
    assert counted.all < MOST_REQUESTS
    await page.unroute(profile)
    await expect(page.locator(".chat .who")).to_have_text("Boris", timeout=60_000)


async def test_a_profile_that_nobody_has_is_asked_for_once(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "hello")
    page = await devices.page()
    counted = await Counted.of(page, f"/v1/profiles/{boris.user_id}")

    async def missing(route: Route) -> None:
        await route.fulfill(status=404, json={"code": "not_found"})

    await page.route(f"**/v1/profiles/{boris.user_id}", missing)
    await _enter(page, anna.username)
    await page.locator(".chat .who").wait_for()
    await page.locator("#app[data-line=up]").wait_for()
    # Each of these redraws the list, which wants the name again.
    for number in range(5):
        await boris.sends(anna, f"number {number}")
        await expect(page.locator(".chat .last")).to_have_text(f"number {number}")
    # Once, and once more where the line came up after the first answer.
    assert len(counted.times) <= 2


async def test_a_stream_that_ends_at_once_is_opened_with_growing_pauses(devices: Devices, api: Api) -> None:
    anna = await api.person()
    page = await devices.page()
    counted = await Counted.of(page, "/v1/events")

    async def ends(route: Route) -> None:
        await route.fulfill(status=200, headers={"Content-Type": "text/event-stream"}, body=": hello\n\n")

    await page.route("**/v1/events**", ends)
    await _enter(page, anna.username)
    assert_growing(await counted.tries(TRIES), 0.5)


async def test_the_operators_page_asks_with_growing_pauses(devices: Devices, api: Api) -> None:
    olga = await operator(api)
    page = await devices.page()
    await enter(page, olga)
    await page.locator(".stream").first.wait_for()
    await refuse_connections(page)
    counted = await Counted.of(page, "/v1/ops/status")
    gaps = await counted.tries(3)
    assert gaps[1] > 1.8, gaps
    assert counted.all < MOST_REQUESTS


async def _enter(page: Page, username: str) -> None:
    await page.locator("#field-login").fill(username)
    await page.locator("#field-password").fill(PASSWORD)
    await page.locator("form button[type=submit]").click()
    await page.locator("nav.tabs").wait_for()
