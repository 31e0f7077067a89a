"""Environment variables: their names, values in files, and conversion to the types of settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from infra import url_files
from infra.operator_errors import OperatorError

PREFIX = "VESTNIK_"
# Settings that may contain a password: each may also be in a file, which a variable with this suffix names. The field
# then holds a reference to the file.
URLS = ("nats_url", "database_url", "smtp_url")
FILE = "_file"


class BadSetting(OperatorError):
    """A setting has an invalid value."""


def variable(field: str) -> str:
    return PREFIX + field.upper()


def address_field(name: str) -> str:
    return f"{name}_address"


def with_references(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables, with a reference in place of each file that holds a URL.

    Raises:
        BadSetting: a URL is set both ways.
    """
    values = {name: value for name, value in variables.items() if name.removesuffix(FILE) not in URLS or value}
    for name in URLS:
        path = values.pop(name + FILE, "")
        if path and name in values:
            raise BadSetting(f"{variable(name)} and {variable(name + FILE)} are both set; leave one empty")
        if path:
            values[name] = url_files.reference(path)
    return values


def check_database_url(url: str) -> None:
    """
    Raises:
        BadSetting: it is not a URL of PostgreSQL. The value is not shown: it may contain a password.
    """
    if not (url or "postgresql://").startswith(("postgresql://", "postgres://")):
        raise BadSetting("VESTNIK_DATABASE_URL must be postgresql://…")
    try:
        conninfo_to_dict(url)
    except ProgrammingError:
        raise BadSetting(
            "VESTNIK_DATABASE_URL is not valid: special characters of a password are percent-encoded, and parameters "
            "are those of libpq"
        ) from None


def convert(text: str, kind: Any) -> object:  # noqa: ANN401 - any type that a field can have
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if bare is Path:
        return Path(text)
    if get_origin(bare) is Literal and all(isinstance(value, int) for value in get_args(bare)):
        return msgspec.convert(int(text), kind)
    return msgspec.convert(text, kind, strict=False)
