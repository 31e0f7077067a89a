"""Entity tags in conditional requests (RFC 9110, sections 8.8.3 and 13.1)."""

import re

import msgspec
from starlette.datastructures import Headers

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
# Elements of a list may be empty (RFC 9110, section 5.6.1).
_LIST = re.compile(rf"[, \t]*{_TAG.pattern}(?:[ \t]*,[, \t]*{_TAG.pattern})*[, \t]*")
_LONGEST = 4096
_MOST = 32


class EntityTag(msgspec.Struct, frozen=True):
    # Without the quotes.
    opaque: str
    weak: bool = False


def header_of(headers: Headers, name: str) -> str | None:
    """A header that holds a list; several of one name are one list (RFC 9110, section 5.3). None if there is none."""
    lines = headers.getlist(name)
    return ", ".join(lines) if lines else None


def parse(header: str) -> list[EntityTag]:
    """The tags of `If-Match` or `If-None-Match`, 32 at most; `*` is a tag `*`; empty if the header is malformed."""
    if header.strip() == "*":
        return [EntityTag("*")]
    if len(header) > _LONGEST or not _LIST.fullmatch(header.strip()):
        return []
    return [EntityTag(opaque, bool(weak)) for weak, opaque in _TAG.findall(header)[:_MOST]]


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether `If-None-Match` contains this tag (with quotes); weak comparison."""
    if if_none_match is None or not etag:
        return False
    current = etag.removeprefix("W/").strip('"')
    return any(tag.opaque in ("*", current) for tag in parse(if_none_match))
