"""The commands that the README and the tutorial show, run as a reader would type them, against a running system."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.fix_system import ROOT, System

_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def blocks(page: Path, language: str = "sh") -> list[str]:
    """What the page shows in the language, in its order."""
    found: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return found


def commands(page: Path) -> str:
    """All shell blocks of a page but those that start the system, one after another."""
    return "\n".join(block for block in blocks(page) if "./just up" not in block)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first-steps.md"])
def test_every_command_works_as_it_is_shown(own_system: System, page: str) -> None:
    environment = own_system.environment | {"URL": own_system.url, "DATA": str(own_system.data_dir)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(ROOT / page)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert '"seen_at"' in done.stdout


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
