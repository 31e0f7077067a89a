"""Programs of this machine, run to their end."""

import subprocess
from collections.abc import Mapping, Sequence

Done = subprocess.CompletedProcess[str]


def finish(command: Sequence[str], environment: Mapping[str, str] | None = None, *, seconds: float = 1800) -> Done:
    """Runs a command without input; its two outputs are one, `stdout`."""
    return subprocess.run(  # noqa: S603 - commands composed in this folder
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )
