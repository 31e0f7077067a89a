"""The texts of the web messenger and of the operators' page: the same keys and values to fill in, in every language."""

import re
from pathlib import Path

import pytest

from services.gateway.web_files import FOLDER

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


def _texts(path: Path) -> dict[str, str]:
    """The texts of a file by key; the file has one on a line, in order, so that a merge shows what it did."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first, last = lines.index("export default {"), lines.index("};")
    entries = [_ENTRY.fullmatch(line) for line in lines[first + 1 : last]]
    assert all(entries), f"{path} has a line that is no text"
    keys = [found[1].strip('"') for found in entries if found]
    assert keys == sorted(set(keys)), f"{path} is not in order, or has a key twice"
    return {found[1].strip('"'): found[2] for found in entries if found}
