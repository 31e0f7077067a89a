"""The statements of a projection's `tables`: what they create, and what is not allowed among them.

Every build has its own tables, views, functions and triggers: they are created with it, switched with it and dropped
with it. So each is named in braces, belongs to this projection alone, and only `CREATE` is allowed.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

PLACEHOLDER = re.compile(r"\{(\w+)\}")
# The end of a statement, and the comments and literals in which a semicolon does not end one. Of a comment that may be
# nested only the beginning.
_TOKEN = re.compile(r"""--[^\n]*|/\*|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"[^"]*"|(\$\w*\$).*?\1|;""", re.DOTALL)
_COMMENT = "/*"
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_SPACE = re.compile(r"\S")
_HEADS = {
    "table": r"CREATE TABLE (?:IF NOT EXISTS )?\{(\w+)\} ?\(",
    "index": r"CREATE INDEX ON (?:ONLY )?\{(\w+)\}",
    "unique index": r"CREATE UNIQUE INDEX ON (?:ONLY )?\{(\w+)\}",
    "view": r"CREATE (?:OR REPLACE )?VIEW \{(\w+)\}",
    "function": r"CREATE (?:OR REPLACE )?FUNCTION \{(\w+)\} ?\(",
    "trigger": r"CREATE TRIGGER \w+ .*? ON \{(\w+)\} .*?EXECUTE FUNCTION \{\w+\} ?\(",
}
_ALLOWED = "only CREATE TABLE, INDEX, VIEW, FUNCTION and TRIGGER are allowed, of objects that are named in braces"
# The beginning of a statement that is not allowed, and the reason.
_REFUSED = (
    (r"CREATE (GLOBAL |LOCAL )?TEMP", "a temporary object is gone with its connection"),
    (r"CREATE MATERIALIZED", "a materialized view shows the rows of the past; count with `add`, a trigger or a view"),
    (r"CREATE (UNIQUE )?INDEX CONCURRENTLY", "indexes are created before readers see the table"),
    (r"CREATE (UNIQUE )?INDEX \w", "an index has no name, since each build has its own: CREATE INDEX ON {table}"),
    (r"CREATE TABLE (IF NOT EXISTS )?\{\w+\} (AS|OF|PARTITION)", "a table's columns are listed, and events fill it"),
    (r"CREATE (EXTENSION|SCHEMA|ROLE|DATABASE|SEQUENCE|TYPE|DOMAIN|PROCEDURE|RULE)", _ALLOWED),
    (r"CREATE", f"{_ALLOWED}, such as CREATE VIEW {{active}} AS …"),
)
_OTHER_SCHEMA = re.compile(r'\b(?:public|pg_temp|information_schema|vestnik_\w+)"?\s*\.', re.IGNORECASE)
_VIEW_OF_A_VERSION = re.compile(r"\b[a-z]\w*_v\d+(?:_b\d+)?\b")
_DYNAMIC = re.compile(r"\bEXECUTE\b", re.IGNORECASE)


class Kind(StrEnum):
    TABLE = "table"
    INDEX = "index"
    UNIQUE_INDEX = "unique index"
    VIEW = "view"
    FUNCTION = "function"
    # A function that a trigger calls.
    TRIGGER_FUNCTION = "trigger function"
    TRIGGER = "trigger"


class Definition(NamedTuple):
    """One statement."""

    kind: Kind
    # The name in braces: of what is created, or of the table to which it belongs.
    name: str
    statement: str
    # Of its beginning, from 1.
    line: int


class BadDefinition(ValueError):
    """A statement is not allowed."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        # From 1.
        self.line = line


@lru_cache(maxsize=100)
def parse(text: str) -> tuple[Definition, ...]:
    """The statements in their order.

    Raises:
        BadDefinition: one is not allowed.
    """
    definitions = tuple([_definition(statement, line) for statement, line in _statements(text)])
    names: dict[str, Kind] = {}
    for definition in definitions:
        if definition.name != definition.name.lower():
            raise BadDefinition(
                definition.line, f"{{{definition.name}}}: a name in braces has small letters only, as PostgreSQL has it"
            )
        if definition.kind in (Kind.INDEX, Kind.UNIQUE_INDEX, Kind.TRIGGER):
            if names.get(definition.name) is not Kind.TABLE:
                raise BadDefinition(definition.line, f"there is no table {{{definition.name}}} before")
        elif definition.name in names:
            raise BadDefinition(definition.line, f"{{{definition.name}}} is created twice")
        else:
            names[definition.name] = definition.kind
    return definitions


def _statements(text: str) -> list[tuple[str, int]]:
    """Each statement without the comments before it, and the line of its beginning."""
    statements: list[tuple[str, int]] = []
    # Where the present statement begins; None: so far there were only comments.
    begin: int | None = None
    end = 0
    for token in [*_tokens(text), slice(len(text), len(text))]:
        if begin is None and (first := _SPACE.search(text, end, token.start)) is not None:
            begin = first.start()
        if text[token] in (";", ""):
            if begin is not None:
                statements.append((text[begin : token.start].rstrip(), 1 + text.count("\n", 0, begin)))
            begin = None
        elif begin is None and not text[token].startswith(("--", _COMMENT)):
            begin = token.start
        end = token.stop
    return statements


def _tokens(text: str) -> Iterator[slice]:
    """Yields the comments, the literals and the ends of statements, with their offsets."""
    end = 0
    while (token := _TOKEN.search(text, end)) is not None:
        end = _end_of_comment(text, token.end()) if token[0] == _COMMENT else token.end()
        yield slice(token.start(), end)


def _end_of_comment(text: str, position: int) -> int:
    """The end of the comment that has begun before the position; comments are nested."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge[0] == _COMMENT else -1
        if not depth:
            return edge.end()
    return len(text)


def _definition(statement: str, line: int) -> Definition:
    blank = _blanked(statement)
    words = " ".join(blank.split())
    for kind, head in _HEADS.items():
        match = re.match(head, words, re.IGNORECASE)
        if match is not None:
            definition = Definition(Kind(kind), match[1], statement, line)
            return _function(definition, words) if kind == Kind.FUNCTION else _checked(definition, blank)
    if re.match(r"CREATE UNLOGGED TABLE", words, re.IGNORECASE):
        raise BadDefinition(line, "an unlogged table does not survive a crash")
    first = " ".join(words.split(" ")[:3])
    for beginning, reason in _REFUSED:
        if re.match(beginning, words, re.IGNORECASE):
            raise BadDefinition(line, f"{first} …: {reason}")
    raise BadDefinition(line, f"{first} …: {_ALLOWED}")


def _function(definition: Definition, words: str) -> Definition:
    line, name = definition.line, definition.name
    if re.search(r"\bSECURITY DEFINER\b|\bLEAKPROOF\b", words, re.IGNORECASE):
        raise BadDefinition(line, f"the function {{{name}}} has no rights but its caller's: no SECURITY DEFINER")
    if re.search(r"\bRETURNS TRIGGER\b", words, re.IGNORECASE):
        definition = definition._replace(kind=Kind.TRIGGER_FUNCTION)
    elif not re.search(r"\b(IMMUTABLE|STABLE)\b", words, re.IGNORECASE):
        raise BadDefinition(line, f"the function {{{name}}} changes nothing: declare it IMMUTABLE or STABLE")
    # The body is a literal, so it is looked at as it is, comments included.
    for pattern, reason in (
        (_DYNAMIC, "a function does not execute SQL that is made at run time"),
        (_VIEW_OF_A_VERSION, "a function names its tables in braces"),
    ):
        for match in pattern.finditer(definition.statement):
            raise BadDefinition(_line(definition, match.start()), f"{match[0]}: {reason}")
    return _checked(definition, definition.statement)


def _checked(definition: Definition, text: str) -> Definition:
    other = _OTHER_SCHEMA.search(text)
    if other is not None:
        raise BadDefinition(
            _line(definition, other.start()), f"{other[0]}…: a projection reads and writes nothing of other schemas"
        )
    return definition


def _line(definition: Definition, position: int) -> int:
    return definition.line + definition.statement.count("\n", 0, position)


def _blanked(statement: str) -> str:
    """The statement with comments as spaces and literals as empty ones; lines are kept."""
    pieces: list[str] = []
    end = 0
    for token in _tokens(statement):
        pieces += [statement[end : token.start], _blank(statement[token])]
        end = token.stop
    return "".join([*pieces, statement[end:]])


def _blank(token: str) -> str:
    if token.startswith('"'):
        return token
    lines = "\n" * token.count("\n")
    return lines + " " if token.startswith(("--", _COMMENT)) else f"'{lines}'"
