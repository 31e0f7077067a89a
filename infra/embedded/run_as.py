"""Selects the identity under which PostgreSQL runs, since it refuses to run as root."""

import functools
import os
import shutil
import signal
from pathlib import Path

from infra.embedded.child_process import Child, Identity
from infra.embedded.exec_wrapper import NOBODY


async def postgres_identity() -> Identity:
    """`same` for an ordinary user; for root a user namespace, or the user nobody where namespaces are forbidden."""
    if os.getuid() != 0:
        return "same"
    return "namespace" if await _namespaces_work() else "nobody"


async def _namespaces_work() -> bool:
    true = shutil.which("true") or "/bin/true"
    child = await Child.start([true], death_signal=signal.SIGKILL, identity="namespace")
    return await child.wait() == 0


def drop_privileges_for(folder: Path, identity: Identity) -> None:
    """Changes the owner of the folder and everything in it to the identity, if it is another one."""
    owner = NOBODY if identity == "nobody" else os.getuid()
    if folder.stat().st_uid == owner:
        return
    give = functools.partial(os.chown, uid=owner, gid=owner if identity == "nobody" else os.getgid())
    for path in folder.rglob("*"):
        give(path, follow_symlinks=False)
    give(folder)  # last: an interrupted change is repeated
