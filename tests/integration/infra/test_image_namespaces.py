"""Commands in another root, as the check of the image runs them."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.devtools.image.commands import Done, finish
from infra.devtools.image.namespaces import Mount, in_namespaces_of, in_root, obstacle
from tests.fix_system import wait_until
from tests.processes import family

pytestmark = pytest.mark.skipif(bool(obstacle()), reason=f"namespaces: {obstacle()}")

USER = "10001:10001"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
PROGRAMS = [
    Mount(Path(folder), folder) for folder in ("/usr", "/bin", "/lib", "/lib64", "/sbin") if Path(folder).exists()
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with the programs of this machine."""
    (tmp_path / "root" / "work").mkdir(parents=True)
    return tmp_path / "root"


def run(root: Path, script: str, *, user: str = "", mounts: Sequence[Mount] = (), folder: str = "/") -> Done:
    command = in_root(root, ["/bin/sh", "-c", script], mounts=[*PROGRAMS, *mounts], user=user, folder=folder)
    return finish(command, ENVIRONMENT)


def test_a_step_is_root_and_process_1_and_may_write_into_the_root_alone(root: Path) -> None:
    done = run(root, 'echo "$(id -u) $$ $(pwd)"; touch new; touch /usr/new', folder="/work")
    assert done.stdout.startswith("0 1 /work\n")
    assert "Read-only file system" in done.stdout
    assert done.returncode != 0
    assert (root / "work" / "new").exists()
    assert list((root / "proc").iterdir()) == [], "the mounts ended with the step"


def test_a_container_has_a_user_without_capabilities_who_may_write_to_tmp_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o777)
    script = 'id -u; grep CapBnd /proc/self/status; for d in / /work /secrets /tmp; do touch $d/new && echo "$d"; done'
    done = run(root, script, user=USER, mounts=[Mount(tmp_path / "secrets", "/secrets")])
    lines = [line for line in done.stdout.splitlines() if "touch" not in line]
    assert lines == ["10001", "CapBnd:\t0000000000000000", "/tmp"]
    assert list((root / "tmp").iterdir()) == []


def test_a_container_ends_with_the_process_that_began_it(root: Path) -> None:
    command = in_root(root, ["/bin/sh", "-c", "echo started; exec sleep 600"], mounts=PROGRAMS, user=USER)
    beginner = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", beginner, *command], env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        processes = family(parent.pid)
        parent.kill()
        wait_until(lambda: not any(process.alive for process in processes), "every process of the container gone")


def test_a_command_joins_a_container(root: Path) -> None:
    command = in_root(root, ["/bin/sh", "-c", "echo ready > /tmp/ready; exec sleep 600"], mounts=PROGRAMS, user=USER)
    with subprocess.Popen(command, env=ENVIRONMENT) as container:
        children = Path(f"/proc/{container.pid}/task/{container.pid}/children")

        def is_joined() -> bool:
            pids = children.read_text().split()
            look = ["sh", "-c", "cat /tmp/ready /proc/1/cmdline"]
            # Until the root is mounted, it is that of this machine.
            return bool(pids) and (
                finish(in_namespaces_of(int(pids[0]), look, user=USER), ENVIRONMENT).stdout == "ready\nsleep\x00600\x00"
            )

        try:
            wait_until(is_joined, "the command is beside the container's process 1")
        finally:
            container.kill()
