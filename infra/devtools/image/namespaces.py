"""Commands in another root: in mount, process, IPC and host name namespaces of their own, as in a container."""

import ctypes
import fcntl
import os
import shlex
import shutil
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec

from infra.devtools.image.commands import finish

# What runs in the namespaces ends with the thread that began it, however that ends.
_UNSHARE = [
    *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--ipc", "--uts"),
    *("--fork", "--kill-child"),
]
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


class Mount(msgspec.Struct, frozen=True):
    """A file or folder of this machine at a path of the root."""

    source: Path
    target: str
    read_only: bool = True


def obstacle() -> str:
    """The reason why this machine cannot run commands in namespaces; empty if it can."""
    if os.geteuid() != 0:
        return "not root"
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "no unshare and nsenter (util-linux)"
    done = finish([*_UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
    return "" if done.returncode == 0 else "namespaces are not permitted here"


def in_root(
    root: Path, command: Sequence[str], *, mounts: Sequence[Mount] = (), user: str = "", folder: str = "/"
) -> list[str]:
    """The command that runs `command` in the root as process 1 of its namespaces.

    `user`: `UID:GID`, without any capability, and the root is read-only except for an empty /tmp; empty: root, and the
    root can be written.
    """
    script = [
        "set -eu",
        "umask 022",
        'mount --bind "$0" "$0"',
        'mkdir -p "$0/proc" "$0/dev" "$0/tmp"',
        'mount -t proc proc "$0/proc"',
        'mount -t tmpfs -o mode=0755 tmpfs "$0/dev"',
        'ln -s /proc/self/fd "$0/dev/fd"',
        *(f': > "$0/dev/{name}"; mount --bind /dev/{name} "$0/dev/{name}"' for name in _DEVICES),
        *(line for mount in mounts for line in _mounted(mount)),
    ]
    if user:
        script += ['mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"', 'mount -o remount,bind,ro "$0"']
    script.append('exec chroot "$0" "$@"')
    return [*_UNSHARE, "sh", "-c", "\n".join(script), str(root), *_as_user(user), "env", "-C", folder, *command]


def in_namespaces_of(pid: int, command: Sequence[str], *, user: str) -> list[str]:
    """The command that runs `command` beside a process that runs in a root, as a container engine's `exec` does."""
    return [
        "nsenter",
        "--target",
        str(pid),
        "--mount",
        "--pid",
        "--ipc",
        "--uts",
        "--root",
        "--wd",
        *_as_user(user),
        *command,
    ]


def enter_network_namespace() -> None:
    """Moves this process into a new network namespace that has nothing but the loopback address."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _mounted(mount: Mount) -> list[str]:
    source, target = shlex.quote(str(mount.source)), f'"$0"{shlex.quote(mount.target)}'
    empty = (
        f"mkdir -p {target}"
        if mount.source.is_dir()
        else f"mkdir -p $(dirname {target}); [ -e {target} ] || : > {target}"
    )
    lines = [empty, f"mount --rbind {source} {target}"]
    return [*lines, f"mount -o remount,bind,ro {target}"] if mount.read_only else lines


def _as_user(user: str) -> list[str]:
    if not user:
        return []
    uid, _, gid = user.partition(":")
    return [
        *("setpriv", "--reuid", uid, "--regid", gid, "--clear-groups", "--no-new-privs"),
        # The signal again, since a change of the user clears it.
        *("--bounding-set=-all", "--inh-caps=-all", "--pdeathsig", "KILL"),
    ]
