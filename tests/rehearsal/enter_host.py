"""Script that enters a host of the rehearsal and turns into another program there.

    python -I -S enter_host.py SPECIFICATION PROGRAM [ARGUMENT...]

SPECIFICATION is JSON: `network` (pid of a process in the host's network namespace; 0: a new one), `mounts` (source,
target, whether read-only), `tmpfs` (folders), `resolv_conf`, `user` and `group` (0: as it is), `death_signal`,
`preload` (a library, may be left out). The host's mounts are seen by this process and its children alone.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def new_network() -> None:
    checked(_LIBC.unshare(CLONE_NEWNET), "new network namespace")


def enter_network(pid: int) -> None:
    with open(f"/proc/{pid}/ns/net", "rb") as namespace:
        checked(_LIBC.setns(namespace.fileno(), CLONE_NEWNET), "enter the network namespace")


def new_mounts() -> None:
    """Moves this process into a mount namespace of its own."""
    checked(_LIBC.unshare(CLONE_NEWNS), "new mount namespace")
    mount("none", "/", "", MS_REC | MS_PRIVATE)


def mount(source: str, target: str, kind: str, flags: int) -> None:
    options = b"mode=0755" if kind == "tmpfs" else None
    checked(_LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, options), f"mount {target}")


def bind(source: str, target: str, *, read_only: bool) -> None:
    """Mounts a folder or a file at a path, which is created in an empty file system over its nearest folder."""
    if not os.path.exists(target):
        parent = Path(target)
        while not parent.exists():
            parent = parent.parent
        if not os.access(parent, os.W_OK) or not _is_ours(parent):
            assert parent != Path("/"), f"{target} is in no folder of this machine"
            mount("tmpfs", str(parent), "tmpfs", 0)
            _OURS.append(parent)
        if os.path.isdir(source):
            os.makedirs(target)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            Path(target).touch()
    mount(source, target, "", MS_BIND | MS_REC)
    if read_only:
        mount("none", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


_OURS: "list[Path]" = []


def _is_ours(path: Path) -> bool:
    """Whether the path is in a file system that this process has mounted."""
    return any(path == own or own in path.parents for own in _OURS)


def use_names_of(resolv_conf: str) -> None:
    target = os.path.realpath("/etc/resolv.conf")
    bind(resolv_conf, target, read_only=True)


def new_machine(folder: Path) -> None:
    """Gives this process, before it has any thread, networks and mounts of its own; `folder`: of the run."""
    new_network()
    new_mounts()
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    names = folder / "resolv.conf"
    names.write_text("nameserver 127.0.0.1\noptions timeout:2 attempts:5\n")
    use_names_of(str(names))


def main(specification: "dict[str, object]", program: "list[str]") -> None:
    parent = os.getppid()
    os.setpgid(0, 0)  # Ctrl-C in a terminal reaches the rehearsal alone, which then stops the hosts in order
    network = int(str(specification["network"]))
    if network:
        enter_network(network)
    else:
        new_network()
    new_mounts()
    mounts = specification["mounts"]
    assert isinstance(mounts, list)
    # The sources may be in a folder that a mount hides.
    descriptors = [os.open(source, os.O_PATH) for source, _, _ in mounts]
    names = os.open(str(specification["resolv_conf"]), os.O_PATH) if specification["resolv_conf"] else -1
    if names >= 0 or mounts:
        mount("tmpfs", "/run", "tmpfs", 0)
        _OURS.append(Path("/run"))
    folders = specification["tmpfs"]
    assert isinstance(folders, list)
    for folder in folders:
        os.makedirs(folder, exist_ok=True)
        mount("tmpfs", folder, "tmpfs", 0)
        os.chmod(folder, 0o1777)
        _OURS.append(Path(folder))
    for (_, target, read_only), descriptor in zip(mounts, descriptors, strict=True):
        bind(f"/proc/self/fd/{descriptor}", target, read_only=read_only)
    if names >= 0:
        use_names_of(f"/proc/self/fd/{names}")
    for descriptor in (*descriptors, names):
        if descriptor >= 0:
            os.close(descriptor)
    if specification["user"]:
        os.setgroups([])
        os.setgid(int(str(specification["group"])))
        os.setuid(int(str(specification["user"])))
    checked(_LIBC.prctl(PR_SET_PDEATHSIG, int(str(specification["death_signal"])), 0, 0, 0), "parent-death signal")
    if os.getppid() != parent:
        sys.exit(1)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):  # by Python, or by a shell's `&`
        signal.signal(ignored, signal.SIG_DFL)
    if specification.get("preload"):
        # Not earlier: what libfaketime creates as root, the program cannot open as its user.
        os.environ["LD_PRELOAD"] = str(specification["preload"])
    os.execvp(program[0], program)


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]), sys.argv[2:])
    except OSError as error:
        sys.exit(f"cannot start {sys.argv[2]}: {error}")
