"""The commands that the README and the tutorial show, run as a reader would type them, against a running system."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.documented_commands import blocks, commands, environment, typed
from tests.fix_system import ROOT, System

_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first-steps.md"])
def test_every_command_works_as_it_is_shown(own_system: System, page: str) -> None:
    shown = typed(own_system, commands(ROOT / page))
    assert '"seen_at"' in shown
    assert "}{" not in shown, "two answers on one line"
    if page == "README.md":
        assert follows(own_system, "docs/howto/follow-what-happens.md").startswith("id: ")
        shown = commands(ROOT / "docs/howto/look-at-one-aggregate.md").replace("--at 2h", "--at 0s")
        assert '"status":"accepted"' in typed(own_system, shown)
        assert "friendship.accepted" in read_by_the_library(own_system, "docs/howto/use-the-eventsourcing-library.md")


def follows(system: System, page: str) -> str:
    """The second line of the stream that the page's commands open; the README made the account that they log in to."""
    command = ["bash", "-euo", "pipefail", "-c", commands(ROOT / page)]
    with subprocess.Popen(
        command, env=environment(system), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as following:
        try:
            assert following.stdout is not None
            following.stdout.readline()
            return following.stdout.readline()
        finally:
            os.killpg(following.pid, signal.SIGKILL)


def read_by_the_library(system: System, page: str) -> str:
    """Runs the page's program by its commands; returns what it prints."""
    program = next(block for block in blocks(ROOT / page, "python") if block.startswith("# friendships.py\n"))
    (system.data_dir.parent / "friendships.py").write_text(program, encoding="utf-8")
    (text,) = blocks(ROOT / page)
    return typed(system, text.replace(".venv/bin/python", sys.executable), system.data_dir.parent)


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
