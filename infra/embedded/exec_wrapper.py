"""Script that turns into another program, which dies with its parent; runs before anything else is imported.

A supervisor that is killed with SIGKILL cannot stop its children, so the kernel does, by the parent-death signal. It
must be set in the child, after every change of credentials (each clears it), and just before the program is executed.
PostgreSQL refuses to run as root, so for it the script first drops that identity.

    python -I -S exec_wrapper.py PARENT_PID SIGNAL IDENTITY PROGRAM [ARGUMENT...]

IDENTITY is `same`, `namespace` (a user namespace in which root is called nobody) or `nobody` (that user, with the one
capability that it needs to enter root's folders above the data).
"""

import contextlib
import ctypes
import os
import signal
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522
NOBODY = 65534


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def enter_namespace() -> None:
    """Enters a user namespace that maps the outer root to the user nobody."""
    outer_user, outer_group = os.getuid(), os.getgid()
    _checked(_libc().unshare(CLONE_NEWUSER), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {outer_user} 1"),
        ("gid_map", f"{NOBODY} {outer_group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def become_nobody() -> None:
    """Becomes the user nobody, keeping only the capability that lets it reach folders inside root's own."""
    libc = _libc()
    _checked(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    mask = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)  # effective, permitted, inheritable, twice
    _checked(libc.capset(header, sets), "capset")
    _checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0), "ambient capability")


def die_with(parent: int, number: int) -> None:
    """Requests the signal for the parent's death; exits immediately if the parent is already dead."""
    if sys.platform == "linux":
        _checked(_libc().prctl(PR_SET_PDEATHSIG, number, 0, 0, 0), "parent-death signal")
    if os.getppid() != parent:
        sys.exit(1)


def wait_for_turns() -> None:
    """Runs under SCHED_BATCH to reduce wake-up preemption.

    A message passes through five processes, each of which wakes the next with every write. If the woken process
    preempted the writer, each write would cost two context switches and make a batch of one. Without preemption each
    process handles everything that has arrived.
    """
    if hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER:  # any other was set on purpose
        with contextlib.suppress(OSError):  # where it is not allowed, everything works, a little slower
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main(arguments: list[str]) -> None:
    parent, number, identity, program = int(arguments[0]), int(arguments[1]), arguments[2], arguments[3:]
    os.setpgid(0, 0)  # Ctrl-C in a terminal reaches only the supervisor, which then stops us in order
    if identity == "namespace":
        enter_namespace()
    elif identity == "nobody":
        become_nobody()
    wait_for_turns()
    die_with(parent, number)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):  # by Python, or by a shell's `&`
        signal.signal(ignored, signal.SIG_DFL)
    os.execv(program[0], program)  # noqa: S606 - becoming that program is the purpose


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.exit(f"cannot start {sys.argv[4]}: {error}")
