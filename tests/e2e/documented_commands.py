"""Commands in the blocks of the documents, and how a shell runs them."""

import re
import subprocess
from pathlib import Path

from tests.fix_system import ROOT, System

# Seconds for all commands of a page: each starts an interpreter, on a machine that may be busy with other tests.
WITHIN = 300


def blocks(page: Path, language: str = "sh") -> list[str]:
    """The page's code blocks in the language, in order."""
    code_blocks: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return code_blocks


def commands(page: Path) -> str:
    """The page's shell blocks except those that start the system, joined."""
    return "\n".join(block for block in blocks(page) if "./just up" not in block)


def environment(system: System) -> dict[str, str]:
    return system.environment | {"URL": system.url, "DATA": str(system.data_dir)}


def typed(system: System, text: str, folder: Path = ROOT) -> str:
    """Runs the commands; returns what they print."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=environment(system),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
