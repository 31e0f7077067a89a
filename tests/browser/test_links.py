"""Links in messages: what is recognized, where it leads, and that the text stays unchanged."""

import pytest
from playwright.async_api import expect

from tests.browser.browser_users import Devices, open_chat
from tests.e2e.people import Api

pytestmark = pytest.mark.asyncio(loop_scope="session")

# A text, and the address that each of its links shows.
TEXTS: list[tuple[str, list[str]]] = [
    ("see https://example.org.", ["https://example.org"]),
    ("(https://example.org/a_(b)), really?!", ["https://example.org/a_(b)"]),
    ("«https://пример.рф/путь»", ["https://пример.рф/путь"]),
    ("看https://example.org/路径。好", ["https://example.org/路径"]),
    (
        "HTTPS://Example.org/A?b=c&d=%20#e, http://[::1]:8080/x",
        ["HTTPS://Example.org/A?b=c&d=%20#e", "http://[::1]:8080/x"],
    ),
    ("https://xn--80ak6aa92e.com and https://аррӏе.com", ["https://xn--80ak6aa92e.com", "https://аррӏе.com"]),
    (
        "two\nhttps://a.example\thttps://b.example\u00a0https://c.example",
        ["https://a.example", "https://b.example", "https://c.example"],
    ),
    # What ends an address: it cannot be seen, or turns the direction of writing.
    ("https://example.org\u202egpj.exe https://a.example/\u200bb", ["https://example.org", "https://a.example/"]),
    (
        "\u202ehttps://example.org\u202c שלום https://example.org/שלום",
        ["https://example.org", "https://example.org/שלום"],
    ),
    ('https://example.org/"><img src=x onerror=alert(1)>', ["https://example.org/"]),
    # None of these.
    ("javascript:alert(1) data:text/html,<b>x</b> vbscript:x file:///etc/passwd ftp://example.org", []),
    ("javascript://https%0aalert(1) xhttps://example.org git+https://example.org", []),
    ("https://bank.example@example.org/ https://u:p@example.org", []),
    ("https:// http://. https://exa%00mple.org https://[::1", []),
]
SHOWN = """([text]) => import("/web/js/links.js").then(({ linkify }) => {
  const node = document.createElement("p");
  node.append(...linkify(text));
  const properties = ["textContent", "tagName", "protocol", "target", "rel", "dir", "title"];
  return [node.textContent, [...node.querySelectorAll("*")].map(
    (one) => [...properties.map((name) => one[name]), one.dataset.host ?? null])];
})"""

SELECTED = "node => { getSelection().selectAllChildren(node); return getSelection().toString(); }"


async def test_only_addresses_of_the_web_are_links_and_the_text_stays_as_it_is(devices: Devices) -> None:
    page = await devices.page()
    for text, wanted in TEXTS:
        whole, links = await page.evaluate(SHOWN, [text])
        assert whole == text
        assert [shown for shown, *_ in links] == wanted, text
        for _, *rest in links:
            assert rest[0] == "A"
            assert rest[1] in ("http:", "https:")
            assert rest[2:5] == ["_blank", "noopener noreferrer nofollow", "ltr"]
    # A host with letters beyond ASCII says what the browser will ask for, and one that mixes scripts says it visibly.
    for text, host, visible in (
        ("https://аррӏе.com", "xn--80ak6aa92e.com", "xn--80ak6aa92e.com"),
        ("https://пример.рф", "xn--e1afmkfd.xn--p1ai", None),
        ("https://münchen.example", "xn--mnchen-3ya.example", None),
        ("https://example.org/аррӏе", "", None),
    ):
        _, [[*_, title, shown]] = await page.evaluate(SHOWN, [text])
        assert (title, shown) == (host, visible)


async def test_a_link_in_a_message_opens_a_page_that_knows_nothing_of_this_one(devices: Devices, api: Api) -> None:
    anna, boris = await api.friends()
    text = f'"><img src=x onerror=alert(1)> ({api.system.url}/docs?a=1&b=<2>) \u202eabc'
    await boris.sends(anna, text)
    page = await devices.log_in(anna)
    await open_chat(page, boris)
    shown = page.locator(".message .text").first
    assert await shown.evaluate("node => node.textContent") == text
    assert await page.locator(".message img").count() == 0
    link = shown.locator("a")
    await expect(link).to_have_text(f"{api.system.url}/docs?a=1&b=")
    # Nothing of it was asked for before the click: `devices` would complain about another host, and this one counts.
    async with page.context.expect_page() as opening:
        await link.click()
    opened = await opening.value
    await opened.wait_for_load_state()
    assert opened.url == f"{api.system.url}/docs?a=1&b="
    assert await opened.evaluate("[window.opener, document.referrer]") == [None, ""]
    # What is selected is what was written.
    selected = await shown.evaluate(
        "node => { getSelection().selectAllChildren(node); return getSelection().toString(); }"
    )
    assert selected == text
