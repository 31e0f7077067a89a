"""Renders the readable pages of a copy of a user's data: HTML without scripts, which loads nothing.

Other people wrote some of the texts, so all of them are escaped and isolated: none can leave its place or turn around
the text beside it. A policy in the page forbids scripts and loads in any case.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import msgspec

from contracts.values.field_types import LanguageCode
from services.auth.data_export.page_texts import TEXTS, PageTexts

_HTML = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8" />
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
form-action 'none'" />
<meta name="referrer" content="no-referrer" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ max-width: 60em; margin: 0 auto; padding: 16px; font: 16px/1.5 sans-serif; overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ padding: 4px 8px; text-align: start; vertical-align: top; border-bottom: 1px solid; }}
article {{ margin: 1em 0; }}
article p, blockquote, td {{ white-space: pre-wrap; }}
blockquote {{ margin: 0; padding-inline-start: 1em; border-inline-start: 3px solid; }}
footer, header small {{ opacity: 0.75; }}
</style>
</head>
<body>
{content}
</body>
</html>
"""
# Characters that HTML does not allow, and those that would break out of an isolated text.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff]")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d{3}Z\Z")
# Members that name a person by their id.
PEOPLE = ("user_id", "from_user_id")


class Link(msgspec.Struct, frozen=True):
    """A link to another page of the copy. `href`: relative to the page that has it."""

    label: str
    href: str


class PageRenderer:
    """Renders the pages of one copy."""

    def __init__(self, language: LanguageCode) -> None:
        self._language = language
        self.texts: PageTexts = TEXTS[language]

    def page(self, title: str, body: Iterable[str], links: Sequence[Link] = ()) -> bytes:
        """A whole page; `body`: HTML."""
        navigation = " · ".join(f'<a href="{escape(link.href)}">{isolated(link.label)}</a>' for link in links)
        content = "\n".join([f"<nav>{navigation}</nav>", f"<h1>{isolated(title)}</h1>", *body])
        return _HTML.format(language=self._language, title=escaped(title), content=content).encode()

    def items(self, items: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[str]:
        """A table of JSON objects; `names`: of the people in them, by id."""
        if not items:
            yield f"<p>{escaped(self.texts.nothing)}</p>"
            return
        columns = [name for name in dict.fromkeys(key for item in items for key in item) if self._has_column(name)]
        yield "<table><thead><tr>"
        yield "".join(f"<th>{escaped(self._label(column))}</th>" for column in columns)
        yield "</tr></thead><tbody>"
        for item in items:
            cells = (self._value(column, item.get(column), names) for column in columns)
            yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        yield "</tbody></table>"

    def members(self, item: Mapping[str, Any]) -> Iterator[str]:
        """A JSON object, a row for each member."""
        yield "<table>"
        for name, value in item.items():
            if self._has_column(name) and name != "user_id":
                yield f"<tr><th>{escaped(self._label(name))}</th><td>{self._value(name, value, {})}</td></tr>"
        yield "</table>"

    def messages(self, messages: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[str]:
        """Messages in their order; `names`: of the two people, by id."""
        for message in messages:
            notes = [time_of(message["sent_at"])]
            notes += [self.texts.edited.format(at=time_of(message["edited_at"]))] if "edited_at" in message else []
            notes += [self.texts.seen.format(at=time_of(message["seen_at"]))] if "seen_at" in message else []
            yield f'<article id="m{int(message["sequence"])}">'
            yield f"<header><strong>{isolated(_name(message['sender_id'], names))}</strong>"
            yield f"<small>{escaped(', '.join(notes))}</small></header>"
            if quoted := message.get("reply_to"):
                introduction = escaped(self.texts.answers).replace(
                    "{name}", isolated(_name(quoted["sender_id"], names))
                )
                yield f"<blockquote>{introduction} {self._text(quoted)}</blockquote>"
            yield f'<p dir="auto">{self._text(message)}</p>'
            if reactions := message.get("reactions"):
                yield f"<footer>{' '.join(_reaction(reaction, names) for reaction in reactions)}</footer>"
            yield "</article>"

    def _text(self, message: Mapping[str, Any]) -> str:
        return f"<em>{escaped(self.texts.deleted)}</em>" if message.get("deleted") else isolated(message["text"])

    def _value(self, member: str, value: object, names: Mapping[str, str]) -> str:
        if value is None or value == "":
            return ""
        if isinstance(value, bool):
            return escaped(self.texts.yes if value else self.texts.no)
        if isinstance(value, Link):
            return f'<a href="{escape(value.href)}">{isolated(value.label)}</a>'
        text = str(value)
        return isolated(_name(text, names) if member in PEOPLE else time_of(text))

    def _has_column(self, member: str) -> bool:
        """Ids that mean nothing to a reader, and what a conversation's own page shows, are in the JSON alone."""
        return member in self.texts.members

    def _label(self, member: str) -> str:
        return self.texts.members[member]


def time_of(text: str) -> str:
    """Formats a time of the JSON; any other text stays as it is."""
    return f"{parts[1]} {parts[2]} UTC" if (parts := _TIME.match(text)) else text


def escaped(text: str) -> str:
    return escape(_UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", text))


def isolated(text: str) -> str:
    """A text that a person wrote: escaped, with a direction of its own."""
    return f"<bdi>{escaped(text)}</bdi>"


def _name(user_id: str, names: Mapping[str, str]) -> str:
    return names.get(user_id, user_id)


def _reaction(reaction: Mapping[str, Any], names: Mapping[str, str]) -> str:
    people = ", ".join(_name(user_id, names) for user_id in reaction["user_ids"])
    return f"{isolated(reaction['emoji'])} {isolated(people)}"
