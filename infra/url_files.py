"""URLs with a login that a file holds, such as a mounted secret: the file is read again for each new connection.

Inside of the program such a URL is a reference, `file:///run/secrets/database-url`. For a database, parameters of libpq
may follow it, as in a URL; they replace those of the same name in the file.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from psycopg.conninfo import make_conninfo

from infra.operator_errors import OperatorError

_SCHEME = "file"
_EMPTY = "{path} is empty; it must hold the URL"


# A URL or a reference, or what returns one of them for each new connection.
DatabaseUrl = str | Callable[[], Awaitable[str]]


class UnreadableUrl(OperatorError, OSError):
    """The file of a URL is missing, empty or not readable."""


def reference(path: str) -> str:
    """The reference to the URL that the file holds."""
    return Path(path).absolute().as_uri()


def path_of(url: str) -> Path | None:
    """The file of a reference; None for a URL itself."""
    # What is not valid as a URL is no reference either.
    return Path(unquote(urlsplit(url).path)) if url.startswith(f"{_SCHEME}:") else None


def read(url: str) -> str:
    """The URL itself, or what the file holds now if it is a reference, without white space around it.

    Raises:
        UnreadableUrl: the file is missing, empty or not readable.
    """
    path = path_of(url)
    if path is None:
        return url
    try:
        content = path.read_text().strip()
    except (OSError, ValueError) as error:
        raise UnreadableUrl(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from error
    if not content:
        raise UnreadableUrl(_EMPTY.format(path=path))
    parameters = dict(parse_qsl(urlsplit(url).query))
    return make_conninfo(content, **parameters) if parameters else content


async def current(database_url: DatabaseUrl) -> str:
    """The URL for a new connection.

    Raises: as `read`, and what the function raises that returns the URL.
    """
    return read(database_url if isinstance(database_url, str) else await database_url())


def with_options(database_url: str, options: str) -> str:
    """The same database, with these `options` of libpq; a reference stays one."""
    if path_of(database_url) is None:
        return make_conninfo(database_url, options=options)
    return f"{database_url.partition('?')[0]}?{urlencode({'options': options})}"
