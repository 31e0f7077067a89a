"""A friend's account that is deleted while their chat is open, and after the page was loaded again."""

import pytest
from playwright.async_api import expect

from contracts.envelope import Provenance, seal
from contracts.events.user import UserErased
from contracts.subjects import user
from streams.log import Append, Log
from tests.browser.browser_users import Devices, message, open_chat
from tests.e2e.people import Api, Person
from tests.e2e.poison import connected

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def erase(api: Api, person: Person) -> None:
    """Appends the erasure as auth does."""
    subject = user(person.user_id)
    async with connected(api, "auth") as auth:
        log = Log(auth)
        last = await log.last_stored(subject)
        assert last is not None
        version = last.envelope().version + 1
        event = UserErased(reason="requested")
        envelope = seal(event, aggregate_id=person.user_id, version=version, provenance=Provenance())
        await log.append(Append(subject=subject, expected=last.sequence, envelope=envelope))


async def test_a_deleted_account_has_no_name_no_texts_and_no_field_to_write_in(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    await boris.sends(anna, "a secret of Boris")
    await anna.sends(boris, "what Anna wrote")
    await boris.sends(anna, "the last secret")
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    await expect(message(page, "a secret of Boris")).to_be_visible()
    field, name = page.locator(".composer textarea"), page.locator(".thread h2 .name")
    await expect(field).to_be_visible()

    async with page.expect_response(lambda response: response.url.endswith(f"/v1/profiles/{boris.user_id}")) as cached:
        await erase(api, boris)
    await (await cached.value).finished()
    await expect(name).to_have_text("Deleted account")
    for _ in range(2):
        await expect(page.get_by_text("This account was deleted.")).to_be_visible()
        await expect(field).to_be_hidden()
        await expect(message(page, "what Anna wrote")).to_be_visible()
        await expect(page.get_by_text("secret")).to_have_count(0)
        await expect(page.locator(".bubble.gone")).to_have_count(2)
        await expect(page.locator("nav, .list, aside").get_by_text(boris.username)).to_have_count(0)
        await page.reload()
    await expect(name).to_have_text("Deleted account")
    await page.goto("/#/people")
    await expect(page.get_by_text("Deleted account").first).to_be_visible()
