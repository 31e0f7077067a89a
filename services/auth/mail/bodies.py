"""Renders a mail's body as plain text and as HTML, which loads nothing and follows the mail program's colours."""

import textwrap
from collections.abc import Iterator
from html import escape

import msgspec

_WIDTH = 76

_HTML = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>{subject}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ max-width: 36em; margin: 0 auto; padding: 16px; font: 16px/1.5 sans-serif; overflow-wrap: anywhere; }}
h2 {{ margin-top: 2em; font-size: 1.1em; }}
</style>
</head>
<body>
{content}
</body>
</html>
"""
_BUTTON = (
    "display: inline-block; padding: 10px 20px; border-radius: 10px; "
    "background: #0f766e; color: #ffffff; font-weight: bold; text-decoration: none"
)


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """An action offered in a mail: open a link, or enter the token elsewhere."""

    # Shown above the link; may be empty.
    heading: str
    link: str
    label: str
    # Sentence before the token; both are empty for an action without a token.
    hint: str
    token: str


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A mail's text in one language, ready for rendering."""

    language: str
    subject: str
    opening: tuple[str, ...]
    actions: tuple[Action, ...]
    closing: tuple[str, ...]


def plain(body: Body) -> str:
    """Renders paragraphs wrapped at 76 characters; each link and token is on a separate line of any length."""
    return "\n\n".join(_plain(body)) + "\n"


def html(body: Body) -> str:
    """Renders an HTML document that is also well-formed XML; all of the body's text is escaped."""
    return _HTML.format(language=body.language, subject=escape(body.subject), content="\n".join(_html(body)))


def _plain(body: Body) -> Iterator[str]:
    yield from map(_wrapped, body.opening)
    for action in body.actions:
        if action.heading:
            yield _wrapped(action.heading)
        yield action.link
        if action.token:
            yield _wrapped(action.hint)
            yield f"Token: {action.token}"
    yield from map(_wrapped, body.closing)


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _html(body: Body) -> Iterator[str]:
    yield from map(_paragraph, body.opening)
    for action in body.actions:
        if action.heading:
            yield f"<h2>{escape(action.heading)}</h2>"
        yield f'<p><a href="{escape(action.link)}" style="{_BUTTON}">{escape(action.label)}</a></p>'
        if action.token:
            yield _paragraph(action.hint)
            yield f"<p><code>{escape(action.token)}</code></p>"
    yield from map(_paragraph, body.closing)


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"
