"""The operators' page in a real browser against a real system."""

import asyncio

import pytest
from playwright.async_api import Page, Request, expect

from contracts.subjects import STREAMS
from tests.browser.browser_users import DESKTOP, PHONE, Devices
from tests.browser.forms import refusing
from tests.browser.readability import assert_readable
from tests.e2e.operators import fail_to_log_in, operator
from tests.e2e.people import PASSWORD, Api, Person, eventually
from tests.e2e.poison import poisoned
from tests.e2e.test_reports import report

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOO_WIDE = """[...document.querySelectorAll("main *")]
  .filter((node) => node.getBoundingClientRect().right > innerWidth).map((node) => node.outerHTML.slice(0, 100))"""
SECTIONS = {
    "overview": ".tiles",
    "events": ".event",
    "letters": ".letters > *",
    "reports": ".report .texts",
    "logins": "tbody tr",
    "operators": "tbody tr",
    "anomalies": ".panel-wide",
    "lookup?q={user}": ".tiles.counts",
    "lookup?q={message}": ".table",
    "lookup?q=friendship:{pair}": ".steps",
    "maintenance": ".models li",
}


async def enter(page: Page, person: Person) -> None:
    await page.goto("/ops")
    await page.locator("#field-login").fill(person.username)
    await page.locator("#field-password").fill(PASSWORD)
    await page.locator("form button[type=submit]").click()


async def test_an_operator_sees_the_streams_move(devices: Devices, api: Api) -> None:
    olga = await operator(api)
    anna, boris = await api.friends()
    page = await devices.page()
    await enter(page, olga)
    stream = page.locator(".stream.messaging .facts b").first
    await expect(page.locator(".stream:not(.rates .stream)")).to_have_count(len(STREAMS))
    await expect(page.locator("tbody tr .name", has_text="conversations")).to_be_visible()
    await expect(page.locator(".service", has_text="gateway")).to_contain_text("serving")
    before = await stream.inner_text()
    await anna.sends(boris, "Meet me at the bridge.")
    await expect(stream).not_to_have_text(before)
    await page.get_by_role("button", name="7 days").click()
    await page.get_by_text("The values as a table").click()
    await expect(page.locator(".values tbody tr")).to_have_count(28)

    await page.get_by_role("link", name="Events").click()
    await page.locator(".event").first.wait_for()
    (sent,) = await anna.sends(boris, "Or at the mill.")
    fresh = page.locator(".events li.fresh.messaging", has_text=sent["conversation_id"])
    await expect(fresh).to_have_count(1)
    await fresh.get_by_role("button").first.click()
    await expect(fresh.locator(".json")).to_contain_text(sent["message_id"])
    await expect(fresh.locator(".json")).to_contain_text("•••")
    # As it looks: a name and its value are on one line.
    assert '\n  "stream": "MESSAGING",\n' in await fresh.locator(".json").inner_text()
    await fresh.get_by_role("button", name="Only this aggregate").click()
    await expect(page.locator(".event .which").last).to_have_text(sent["conversation_id"])
    assert await page.locator(".event", has_not_text=sent["conversation_id"]).count() == 0
    assert "mill" not in await page.content()

    # Only what happened before the conversation, which is nothing of it.
    await page.get_by_role("button", name="From … to …").click()
    await page.get_by_label("To", exact=True).fill("2026-01-01T00:00:00")
    await page.keyboard.press("Tab")
    await page.get_by_text("There are no such events.").wait_for()
    await page.get_by_role("button", name="24 hours").click()
    await expect(page.locator(".event .which").last).to_have_text(sent["conversation_id"])

    await page.get_by_role("link", name="Sessions").click()
    await page.get_by_label("User").fill(anna.username)
    await page.keyboard.press("Enter")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.locator("tbody tr")).to_contain_text("logged in")
    await page.locator("tbody tr").get_by_role("link").click()
    await expect(page.locator(".card h2").first).to_contain_text("session")
    await expect(page.locator(".card .facts-list")).to_contain_text(anna.user_id)


async def test_an_operator_sees_failed_logins_and_ends_a_session_with_a_reason(devices: Devices, api: Api) -> None:
    olga = await operator(api)
    anna = await api.person()
    stolen = await api.again(anna, device="Thief's phone")
    wrong = {"login": anna.username, "password": "not it", "device": "Thief's desk"}
    assert (await api.http.post("/v1/sessions", json=wrong)).status_code == 401
    page = await devices.page()
    await enter(page, olga)
    await page.locator(".tiles").wait_for()
    await page.goto(f"/ops#/logins?user={anna.username}")
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(2)
    await page.get_by_label("Failed logins too").check()
    await expect(rows).to_have_count(3)
    await expect(rows.first).to_contain_text("failed: wrong password")
    await expect(rows.first.get_by_role("button")).to_have_count(0)

    await page.get_by_text("More filters").click()
    await page.get_by_label("Device").fill("phone")
    await page.keyboard.press("Enter")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("new device")
    await page.get_by_label("Address").fill("192.0.2.0/24")
    await page.keyboard.press("Enter")
    await page.get_by_text("Nobody logged in or out in that time.").wait_for()
    await page.get_by_label("Address").fill("127.0.0.0/8")
    await page.keyboard.press("Enter")

    end = rows.get_by_role("button", name="End the session of")
    await end.click()
    await page.get_by_role("button", name="Cancel").click()
    assert (await stolen.get("/v1/users/me")).status_code == 200
    await end.click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text(anna.username)
    await dialog.get_by_label("Reason").fill("a stolen phone")
    await dialog.get_by_role("button", name="End the session").click()
    await expect(page.get_by_text("The session has ended.")).to_be_visible()
    await expect(rows.first).to_contain_text(f"operator {olga.username}: a stolen phone")
    await expect(end).to_have_count(0)

    async def refused() -> bool:
        return (await stolen.get("/v1/users/me")).status_code == 401

    await eventually(refused, "the ended session refused")
    assert (await anna.get("/v1/users/me")).status_code == 200

    # A reason of failed logins shows them, whatever was chosen before.
    await page.get_by_label("Failed logins too").uncheck()
    await page.get_by_label("Address").fill("")
    await page.get_by_label("Device").fill("")
    await page.get_by_label("Reason").select_option("wrong_password")
    await expect(page.get_by_label("Failed logins too")).to_be_checked()
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("Thief's desk")


async def test_an_anomaly_leads_to_the_person_and_their_logins(devices: Devices, api: Api) -> None:
    olga, anna = await operator(api), await api.person()
    await fail_to_log_in(api, anna)
    page = await devices.page()
    await enter(page, olga)
    await page.get_by_role("link", name="Anomalies").click()
    await page.get_by_label("What").select_option("Failed logins to one account")
    row = page.locator("tbody tr", has_text=anna.username)
    await expect(row).to_contain_text("Failed logins to one account", timeout=60_000)
    # The row may have been in the list of all anomalies, which stays until the other one has come.
    await expect(page.locator("tbody tr", has_not_text="Failed logins to one account")).to_have_count(0)
    await row.get_by_role("link", name=anna.username).click()
    await expect(page.locator("h2", has_text=anna.username)).to_be_visible()
    await page.go_back()
    await row.get_by_role("link", name="Sessions").click()
    await expect(page.get_by_label("User")).to_have_value(anna.user_id)
    await page.goto("/ops#/anomalies")
    await page.get_by_role("button", name="From … to …").click()
    await page.get_by_label("To", exact=True).fill("2026-01-01T00:00:00")
    await page.keyboard.press("Tab")
    await page.get_by_text("No rule found anything in that time.").wait_for()


async def test_a_message_is_followed_from_its_event_to_its_reader(devices: Devices, api: Api) -> None:
    olga = await operator(api)
    anna, boris = await api.friends()
    (sent,) = await anna.sends(boris, "Meet me at the bridge.")
    page = await devices.page()
    await enter(page, olga)
    await page.locator(".tiles").wait_for()
    await page.goto(f"/ops#/events?stream=MESSAGING&aggregate_id={sent['conversation_id']}")
    await page.locator(".event", has_text="message.sent").click()
    await page.get_by_role("link", name="Follow through the read models").click()
    await expect(page.locator("tbody tr", has_text="conversations")).to_contain_text("applied")
    seen = page.locator(".facts-list > div", has_text="Seen")
    await expect(seen).to_contain_text("not yet")
    await boris.ask("PUT", f"/v1/conversations/{anna.user_id}/seen", json={"sequence": 1})
    await expect(seen).not_to_contain_text("not yet")
    assert "bridge" not in await page.content()

    await page.get_by_role("link", name=boris.user_id).click()
    await expect(page.locator("h2", has_text=boris.username)).to_be_focused()
    await expect(page.locator(".tile", has_text="Friends")).to_contain_text("1")
    await page.locator(".aggregates li", has_text="conversation").get_by_role("link", name="Events").click()
    await expect(page.locator(".event .which").first).to_contain_text(sent["conversation_id"])

    await page.goto("/ops#/lookup")
    await page.get_by_label("A person, an aggregate, a message or an event").fill(sent["message_id"])
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="message.sent").wait_for()
    await page.get_by_label("A person, an aggregate, a message or an event").fill("nobody_of_that_name")
    await page.keyboard.press("Enter")
    await page.get_by_text("Nothing found").wait_for()


async def test_an_aggregate_is_stepped_through_by_its_versions(devices: Devices, api: Api) -> None:
    olga = await operator(api)
    anna, boris = await api.friends()
    await anna.sends(boris, "Meet me at the bridge.", "Or at the mill.", "Or nowhere.")
    page = await devices.page()
    await enter(page, olga)
    await page.locator(".tiles").wait_for()
    await page.goto(f"/ops#/lookup?q={anna.username}")
    await page.locator(".aggregates li", has_text="conversation").get_by_role("link").first.click()
    heading, state = page.locator(".card h2").first, page.locator(".card .facts-list")
    await expect(heading).to_contain_text("version 3 of 3")
    await expect(state).to_contain_text("last_sequence")
    await expect(state.locator("dd")).to_have_text("3")
    previous = page.get_by_role("button", name="Previous")
    await previous.click()
    await expect(heading).to_contain_text("version 2 of 3")
    await expect(state.locator("dd")).to_have_text("2")
    await expect(previous).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(heading).to_contain_text("version 1 of 3")
    await expect(previous).to_be_disabled()
    slider = page.get_by_role("slider", name="Version")
    await slider.focus()
    await page.keyboard.press("End")
    await expect(heading).to_contain_text("version 3 of 3")
    await expect(slider).to_be_focused()
    await page.locator(".event", has_text="v2").click()
    await expect(state.locator("dd")).to_have_text("2")
    await page.get_by_text("Show the event").click()
    await expect(page.locator(".json")).to_contain_text("•••")
    assert "bridge" not in await page.content()
    await page.reload()
    await expect(heading).to_contain_text("version 2 of 3")
    await page.get_by_label("A person, an aggregate, a message or an event").fill(f"friendship:{anna.user_id}")
    await page.keyboard.press("Enter")
    await page.get_by_text("There is no such aggregate or version").wait_for()


async def test_a_read_model_is_verified_and_rebuilt_and_a_reload_finds_what_runs(devices: Devices, api: Api) -> None:
    olga = await operator(api)
    page = await devices.page()
    await enter(page, olga)
    await page.get_by_role("link", name="Read models").click()
    await page.get_by_role("button", name="Verify: users").click()
    first = page.locator(".job").first
    await expect(first).to_contain_text("Verify: users")
    await page.reload()
    await expect(first).to_contain_text(olga.username)
    await expect(first.locator("header .pill")).to_have_text("equal", timeout=120_000)
    await page.get_by_role("button", name="Rebuild: users").click()
    await page.get_by_label("Only the rows of this key").fill("nobody")
    await page.get_by_role("dialog").get_by_role("button", name="Rebuild").click()
    await expect(first).to_contain_text("Rebuild: users, nobody")
    await expect(first).to_contain_text("users has no rows of nobody")
    await page.get_by_role("button", name="Rebuild: users").click()
    await page.get_by_label("At most so many events a second").fill("100000")
    await page.get_by_role("dialog").get_by_role("button", name="Rebuild").click()
    await expect(first).to_contain_text("Rebuild: users")
    await expect(first).not_to_contain_text("nobody")
    await expect(first.locator("header .pill")).to_have_text("done", timeout=120_000)
    await expect(first).to_contain_text("is kept")
    for control, state in (("Pause", "paused"), ("Resume", "live")):
        await page.get_by_role("button", name=f"{control}…: users", exact=True).click()
        await page.get_by_label("Reason").fill("A test.")
        await page.get_by_role("button", name=f"{control} it").click()
        users = page.locator(".models li", has=page.get_by_text("users", exact=True))
        await expect(users.locator(".pill")).to_have_text(state, timeout=60_000)
        await expect(users.get_by_text(f"paused by {olga.username}")).to_have_count(1 if state == "paused" else 0)


async def test_a_dead_letter_appears_and_is_discarded_with_a_reason(devices: Devices, api: Api) -> None:
    olga = await operator(api)
    anna, boris = await api.friends()
    page = await devices.page()
    await enter(page, olga)
    await page.locator(".tiles").wait_for()
    conversation_id = await poisoned(api, anna, boris)
    await expect(page.locator(".sections .badge")).to_be_visible()
    await page.get_by_role("link", name="Dead letters").first.click()
    dead_letters = page.locator(".letter.failed", has_text=conversation_id)
    await dead_letters.first.wait_for()
    tried = False
    while await dead_letters.count():
        # Others may still be coming, and change what is first.
        dead_letter_id = await dead_letters.first.locator(".facts span").first.inner_text()
        dead_letter = page.locator(".letter.failed", has_text=dead_letter_id)
        await dead_letter.get_by_role("button", name="Show the event").click()
        await expect(dead_letter.locator(".json")).to_contain_text(conversation_id)
        if not tried:
            await dead_letter.get_by_role("button", name="Try again").click()
            await expect(page.locator("#notes")).to_contain_text("It still fails")
            tried = True
        await dead_letter.get_by_role("button", name="Discard…").click()
        await page.get_by_label("Reason").fill("Written by a script.")
        await page.get_by_role("button", name="Discard", exact=True).click()
        await expect(dead_letter).to_have_count(0)
    await page.get_by_role("button", name="Discarded").click()
    discarded = page.locator(".letter.discarded", has_text=conversation_id).first
    await expect(discarded).to_contain_text("Written by a script.")
    await expect(discarded).to_contain_text(olga.username)


async def test_a_report_is_read_and_settled_with_a_note(devices: Devices, api: Api) -> None:
    olga, (anna, boris) = await operator(api), await api.friends()
    first, _ = await boris.sends(anna, "Pay me, or else.", "Nice weather.")
    page = await devices.page()
    await enter(page, olga)
    await page.get_by_role("link", name="Reports").click()
    report_id = await report(anna, boris, first, comment="He threatens me.")
    row = page.locator(".report", has_text=report_id)
    await expect(row).to_contain_text("Harassment")
    await expect(row).to_contain_text(anna.username)
    assert "or else" not in await page.content()
    await row.get_by_role("button", name="Read the texts").click()
    await expect(row.locator(".texts")).to_contain_text("Pay me, or else.")
    await expect(row).to_contain_text("He threatens me.")
    assert "weather" not in await page.content()
    await row.get_by_role("button", name="Settle").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("upheld").check()
    await dialog.get_by_label("Note").fill("A clear threat.")
    await page.keyboard.press("Tab")
    await dialog.get_by_role("button", name="Settle").click()
    await expect(row).to_have_count(0)
    await page.get_by_role("button", name="Settled").click()
    await expect(row).to_contain_text(olga.username)
    await expect(row.locator(".pill")).to_have_text("upheld")
    await row.get_by_role("button", name="Read the texts").click()
    await expect(row).to_contain_text("A clear threat.")
    await row.get_by_role("link", name=boris.username).click()
    await page.get_by_role("heading", name=boris.username).wait_for()


async def test_nobody_else_sees_anything(devices: Devices, api: Api) -> None:
    anna = await api.person()
    page = await devices.page()
    await enter(page, anna)
    await page.get_by_role("heading", name="This account is not an operator's").wait_for()
    await assert_readable(page, "ops-denied")
    await expect(page.locator(".stream:not(.rates .stream)")).to_have_count(0)
    # Somebody at the machine makes it one, and takes it back.
    done = await asyncio.to_thread(api.system.vestnik, "operators", "add", anna.username)
    assert done.returncode == 0, done.stderr

    async def let_in() -> bool:
        return (await anna.get("/v1/ops/status")).status_code == 200

    await eventually(let_in, "an operator", within=30)
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".stream:not(.rates .stream)")).to_have_count(len(STREAMS))
    done = await asyncio.to_thread(api.system.vestnik, "operators", "remove", anna.username, "--reason", "a test")
    assert done.returncode == 0, done.stderr
    await page.get_by_role("heading", name="This account is not an operator's").wait_for()


async def test_an_operator_without_a_second_factor_learns_what_to_do_and_an_old_login_is_asked_for_again(
    devices: Devices, api: Api
) -> None:
    olga = await operator(api)
    page = await devices.page()
    needs_code = {"code": "second_factor_required", "detail": "English"}
    await page.route("**/v1/ops/status", refusing(403, needs_code), times=1)
    await enter(page, olga)
    await expect(page.get_by_role("heading", name="Operators need two-step verification")).to_be_visible()
    await expect(page.get_by_role("link", name="Two-step verification")).to_have_attribute("href", "/settings")
    await assert_readable(page, "ops-needs-code")
    await page.reload()
    await page.locator(".tiles").wait_for()
    too_old = {"code": "reauthentication_required", "detail": "English"}
    await page.route("**/v1/ops/status", refusing(403, too_old), times=1)
    await expect(page.get_by_text("Please log in again: a login is valid for 12 hours")).to_be_visible()
    await page.locator("#field-login").fill(olga.username)
    await page.locator("#field-password").fill(PASSWORD)
    await page.locator("form button[type=submit]").click()
    await page.locator(".tiles").wait_for()


async def test_polling_is_marked_so_that_only_what_the_operator_does_keeps_the_login_alive(
    devices: Devices, api: Api
) -> None:
    olga = await operator(api)
    page = await devices.page()
    await enter(page, olga)
    await page.locator(".tiles").wait_for()

    def marked(request: Request) -> bool:
        return "/v1/ops/" in request.url and "vestnik-unattended" in request.headers

    async with page.expect_request(lambda request: "/v1/ops/" in request.url and not marked(request)):
        await page.get_by_role("link", name="Events").click()
    async with page.expect_request(marked):
        await page.evaluate("const now = performance.now.bind(performance); performance.now = () => now() + 60_000")
    async with page.expect_request(lambda request: "/v1/ops/" in request.url and not marked(request)):
        await page.get_by_role("link", name="Sessions").click()


async def test_a_session_that_ends_ends_the_page(devices: Devices, api: Api) -> None:
    olga = await operator(api)
    page = await devices.page()
    await enter(page, olga)
    await page.locator(".tiles").wait_for()
    assert (await olga.ask("DELETE", "/v1/sessions")).status_code == 204
    await page.get_by_text("This session has ended.").wait_for()
    await expect(page.locator(".tiles")).to_have_count(0)


@pytest.mark.parametrize(
    ("size", "scheme", "language"),
    [(PHONE, "dark", "ru"), (DESKTOP, "light", "en"), (PHONE, "light", "en"), (DESKTOP, "dark", "ru")],
)
async def test_every_section_can_be_read_by_everybody(
    devices: Devices, api: Api, size: dict[str, int], scheme: str, language: str
) -> None:
    olga = await operator(api)
    anna, boris = await api.friends()
    (sent,) = await anna.sends(boris, "Good morning!")
    await report(boris, anna, sent, comment="Every day.")
    named = {"user": anna.username, "message": sent["message_id"], "pair": sent["conversation_id"]}
    name = f"{'phone' if size is PHONE else 'desktop'}-{scheme}-{language}-ops"
    page = await devices.page(size=size, color_scheme=scheme, locale=language)
    await enter(page, olga)
    for section, content in SECTIONS.items():
        await page.goto(f"/ops#/{section.format(**named)}")
        if section == "reports":
            await page.locator(".report .row-actions button").first.click()
        await page.locator(content).first.wait_for()
        await assert_readable(page, f"{name}-{section.translate(str.maketrans('?={:', '----', '}'))}")
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, f"{section} is wider than the screen: {await page.evaluate(TOO_WIDE)}"
    for tab in (page.locator(".sections a").first, page.locator(".sections a").last):
        await tab.click()
        await expect(tab).to_have_attribute("aria-current", "page")


async def test_every_phrase_is_said_in_every_language(devices: Devices) -> None:
    page = await devices.page()
    words = await page.evaluate("import('/web/js/ops/i18n.js').then((module) => module.WORDS)")
    assert words["en"].keys() == words["ru"].keys()
