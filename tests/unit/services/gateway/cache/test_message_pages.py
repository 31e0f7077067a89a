"""The gateway's cached pages: by the two users and the limit, bounded in bytes."""

from services.gateway.cache.message_pages import KnownPage, KnownPages

ONE, OTHER = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"


def test_a_page_is_the_same_for_both_people_and_another_for_another_limit() -> None:
    pages, page = KnownPages(), KnownPage("v1", b"[]")
    pages.put(ONE, OTHER, 50, page)
    assert pages.get(OTHER, ONE, 50) is page
    assert pages.get(ONE, OTHER, 20) is None
    assert pages.get(ONE, ONE, 50) is None


def test_a_newer_page_replaces_the_older() -> None:
    pages = KnownPages()
    pages.put(ONE, OTHER, 50, KnownPage("v1", b"x" * 100))
    before = pages.bytes
    pages.put(OTHER, ONE, 50, KnownPage("v2", b"x" * 150))
    page = pages.get(ONE, OTHER, 50)
    assert page is not None
    assert page.version == "v2"
    assert (len(pages), pages.bytes) == (1, before + 50)


def test_the_least_recently_used_page_is_evicted_first() -> None:
    pages = KnownPages(most_bytes=3 * 700)
    for limit in (1, 2, 3):
        pages.put(ONE, OTHER, limit, KnownPage("v", b"x" * 100))
    pages.get(ONE, OTHER, 1)
    pages.put(ONE, OTHER, 4, KnownPage("v", b"x" * 100))
    assert [limit for limit in (1, 2, 3, 4) if pages.get(ONE, OTHER, limit)] == [1, 3, 4]
    pages.put(ONE, OTHER, 5, KnownPage("v", b"x" * 10_000))
    assert (len(pages), pages.bytes) == (0, 0)
