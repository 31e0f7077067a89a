"""The readable pages: whatever people write stays text in its place."""

from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.values.field_types import LANGUAGES, LanguageCode
from services.auth.data_export.page_texts import TEXTS
from services.auth.data_export.pages import Link, PageRenderer

ANNA, BORIS = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"
HOSTILE = (
    "</script><script>alert(1)</script>",
    "</bdi></p></article><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)\' --><!-- <![CDATA[ ]]> &lt; &#60;',
    "\u202eevil\u2066 \x01\x07\x7f\x85 \ufeff\ufffe 👩\u200d👩\u200d👧",
    "{name} {0} %s </title></style>",
    "a\nb\tc\r\nd",
)
MEMBERS = {"sequence": 1, "sent_at": "2026-12-01T15:30:00.123Z"}


class Tags(HTMLParser):
    """The elements and the attributes of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))


def messages(text: str, language: LanguageCode = "en") -> bytes:
    renderer = PageRenderer(language)
    message = MEMBERS | {
        "sender_id": ANNA,
        "text": text,
        "reply_to": {"sender_id": BORIS, "text": text},
        "reactions": [{"emoji": text, "user_ids": [ANNA, BORIS]}],
    }
    return renderer.page(text, renderer.messages([message], {ANNA: text, BORIS: text}), [Link(text, "x.html")])


def table(text: str) -> bytes:
    renderer = PageRenderer("ru")
    item = {"user_id": ANNA, "device": text, "reason": text, "messages": Link(text, "x.html"), f"{text}?": "no member"}
    return renderer.page(text, [*renderer.items([item], {ANNA: text}), *renderer.members({"bio": text})])


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_add_no_element_and_no_attribute(text: str) -> None:
    for render in (messages, table):
        assert Tags(render(text)).tags == Tags(render("plain")).tags
        # Also well-formed XML, so no browser has to guess where anything ends.
        ElementTree.fromstring(render(text))


@given(st.text(min_size=1))
def test_no_text_changes_a_page(text: str) -> None:
    assert Tags(messages(text)).tags == Tags(messages("plain")).tags
    assert Tags(table(text)).tags == Tags(table("plain")).tags


def test_a_page_has_no_scripts_and_loads_nothing() -> None:
    page = table("https://example.org/a.png").decode()
    assert "default-src 'none'" in page
    tags = Tags(page.encode()).tags
    assert not {"script", "img", "link", "iframe", "form", "object"} & {tag for tag, _ in tags}
    assert not [
        attributes for _, attributes in tags if any(name == "src" or name.startswith("on") for name in attributes)
    ]


def test_a_message_shows_what_became_of_it() -> None:
    renderer = PageRenderer("en")
    deleted = MEMBERS | {"sender_id": ANNA, "text": "", "deleted": True, "edited_at": "2026-12-01T15:31:00.000Z"}
    shown = "".join(renderer.messages([deleted | {"seen_at": "2026-12-01T15:32:00.000Z"}], {ANNA: "Anna"}))
    for part in ("Anna", "<em>Deleted</em>", "2026-12-01 15:30:00 UTC, edited 2026-12-01 15:31:00 UTC, seen"):
        assert part in shown


def test_both_languages_have_the_same_titles_and_labels() -> None:
    one, other = (TEXTS[language] for language in LANGUAGES)
    assert (one.titles.keys(), one.members.keys()) == (other.titles.keys(), other.members.keys())
