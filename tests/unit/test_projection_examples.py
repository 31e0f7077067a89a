"""The example projections are those of the how-to, and each has every file that it needs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples" / "projections"
HOWTO = ROOT / "docs" / "howto" / "fold-events-into-rows.md"
_FILE = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


def test_the_files_of_the_howto_are_examples_word_for_word() -> None:
    howto_files = dict(_FILE.findall(HOWTO.read_text(encoding="utf-8")))
    assert len(howto_files) == 4
    for path, text in howto_files.items():
        name = Path(path).stem.removeprefix("test_")
        assert (EXAMPLES / name / path).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_complete_and_named_by_the_readme(name: str) -> None:
    folder = EXAMPLES / name
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.py")}
    (service,) = [path.name for path in (folder / "services").iterdir()]
    assert files == {
        f"projections/{name}.py",
        f"contracts/reads/{name}.py",
        f"services/{service}/reads/{name}.py",
        f"tests/integration/projections/test_{name}.py",
        f"tests/integration/reads/test_{name}.py",
    }
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"./just new-projection {name} --query" in readme
    assert f"cp -r docs/examples/projections/{name}/. .\n" in readme
