"""The texts of the web messenger and of the operators' page: the same keys and values to fill in, in every language."""

import re
from pathlib import Path

import pytest

from contracts.aggregate_types import AGGREGATE_TYPES
from contracts.errors import NoQuorum
from contracts.events.operator_actions import ACTIONS, LOOKS
from contracts.subjects import STREAMS
from services.auth.passwords import weak_passwords
from services.auth.registration import reserved_names
from services.gateway.openapi import document
from services.gateway.route_table import ENDPOINTS
from services.gateway.static.files import FOLDER

_ENTRY = re.compile(r'  (\w+|"[^"]+"): (.+),')
_VALUE = re.compile(r"\{(\w+)\}")


@pytest.mark.parametrize("folder", ["js/i18n", "js/ops/i18n"])
def test_each_language_has_every_text_once_and_with_the_same_values_to_fill_in(folder: str) -> None:
    english = _texts(FOLDER / folder / "en.js")
    others = [path for path in sorted((FOLDER / folder).glob("*.js")) if path.name != "en.js"]

    assert others, "there is only one language"
    for path in others:
        texts = _texts(path)
        assert texts.keys() == english.keys(), path
        for key, text in texts.items():
            assert set(_VALUE.findall(text)) == set(_VALUE.findall(english[key])), f"{key} in {path}"


def test_the_operators_page_has_words_for_every_act_and_look() -> None:
    english = _texts(FOLDER / "js/ops/i18n/en.js")
    wanted = {f"act_{action.replace('.', '_')}" for action in ACTIONS} | {f"look_{look}" for look in LOOKS}
    assert wanted - english.keys() == set()


def _texts(path: Path) -> dict[str, str]:
    """The texts of a file by key; the file has one on a line, in order, so that a merge shows what it did."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first, last = lines.index("export default {"), lines.index("};")
    entries = [_ENTRY.fullmatch(line) for line in lines[first + 1 : last]]
    assert all(entries), f"{path} has a line that is no text"
    keys = [entry[1].strip('"') for entry in entries if entry]
    assert keys == sorted(set(keys)), f"{path} is not in order, or has a key twice"
    return {entry[1].strip('"'): entry[2] for entry in entries if entry}


# A path in the pages' scripts, up to the question mark; `${…}` stands for an id.
_REQUEST_PATH = re.compile(r"[\"`](/v1/[^\"`?]*)")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_error_that_the_page_can_receive_has_a_text(language: str) -> None:
    """Otherwise users would see the server's English messages, which are for programmers."""
    scripts = [path.read_text(encoding="utf-8") for path in (FOLDER / "js").rglob("*.js") if "ops" not in path.parts]
    requested = {re.sub(r"\$\{[^}]*\}", "{}", path) for script in scripts for path in _REQUEST_PATH.findall(script)}
    endpoints = [candidate for candidate in ENDPOINTS if re.sub(r"{\w+}", "{}", candidate.path) in requested]
    with_body = [candidate for candidate in endpoints if candidate.takes_body]
    codes = {kind.code for endpoint in endpoints for kind in document.errors_of(endpoint)} | {
        NoQuorum.code,
        reserved_names.CODE,
        weak_passwords.CODE,
    }
    fields = {name for endpoint in with_body for name in endpoint.body.__struct_fields__} & _typed(scripts)

    assert {"/v1/users", "/v1/friends/{user_id}", "/v1/users/me/password"} <= {
        candidate.path for candidate in endpoints
    }
    assert {"username_taken", "invalid_credentials", "request_too_soon", "rate_limited"} <= codes
    assert {"email", "username", "password", "display_name", "bio", "token", "new_password", "login"} <= fields
    texts = _texts(FOLDER / "js/i18n" / f"{language}.js").keys()
    assert {f"e_{code}" for code in codes} | {f"e_at_{name}" for name in fields} <= texts


def _typed(scripts: list[str]) -> set[str]:
    """The names of the forms' fields."""
    return {name for script in scripts for name in re.findall(r'\["(\w+)", t\("', script)}


def test_the_operators_page_offers_every_type_of_event_by_its_stream() -> None:
    script = (FOLDER / "js/ops/events.js").read_text(encoding="utf-8")
    lists = re.findall(r"^  ([A-Z]+): \[(.+)\],$", script, re.MULTILINE)
    offered = {stream: sorted(re.findall(r'"([\w.]+)"', types)) for stream, types in lists}
    by_stream = {
        stream: sorted(event.TYPE for kind in AGGREGATE_TYPES if kind.stream == stream for event in kind.events)
        for stream in STREAMS
    }
    assert offered == by_stream
