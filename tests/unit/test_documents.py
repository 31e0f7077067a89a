"""The documents are laid out as they are meant."""

import re

from tests.fix_system import ROOT

_HEADING = re.compile(r"\s#{2,} *(\S|$)")


def test_no_heading_is_in_the_middle_of_a_paragraph() -> None:
    folded = []
    for path in (*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")):
        is_code = False
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            is_code ^= line.lstrip().startswith("```")
            if not is_code and not line.startswith("#") and _HEADING.search(re.sub(r"`[^`]*`", "", line)):
                folded.append(f"{path.relative_to(ROOT)}:{number}")
    assert folded == []
