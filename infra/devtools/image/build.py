"""Runs the instructions of a Containerfile in roots, as a container engine would, and keeps snapshots in between."""

import hashlib
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from infra.devtools.image import base_root
from infra.devtools.image.commands import finish
from infra.devtools.image.configuration import Configuration
from infra.devtools.image.containerfile import Containerfile, ContainerfileError, Instruction, Stage, expand
from infra.devtools.image.host_configuration import HOST, Reach, reach
from infra.devtools.image.ignore_file import IgnoreFile
from infra.devtools.image.namespaces import Mount, in_root
from infra.devtools.image.snapshots import Snapshots, copy
from infra.operator_errors import OperatorError

_RESOLVER = ("/etc/resolv.conf", "/etc/hosts")
Say = Callable[[str], None]


class StepFailed(OperatorError):
    """A RUN ended with another code than 0."""


class Image(msgspec.Struct, frozen=True):
    """A built stage: its root, its configuration, and a key of all that went into it."""

    root: Path
    configuration: Configuration
    key: str


class Build:
    """One build of a Containerfile from the files of a tree."""

    def __init__(self, containerfile: Containerfile, tree: Path, snapshots: Snapshots, work: Path, say: Say) -> None:
        self._containerfile = containerfile
        self._tree = tree
        self._ignored = IgnoreFile((tree / ".containerignore").read_text())
        self._snapshots = snapshots
        self._work = work
        self._say = say
        self._reach: Reach | None = None
        # By name.
        self._stages: dict[str, Image] = {}

    def run(self) -> Image:
        """Builds every stage, and returns the last one.

        Raises:
            ContainerfileError: an instruction is wrong.
            StepFailed: a RUN failed.
        """
        for number, stage in enumerate(self._containerfile.stages):
            image = self._built(stage, self._work / f"stage-{number}")
            self._stages[stage.name] = image
        return image

    def _built(self, stage: Stage, root: Path) -> Image:
        base = self._stages.get(stage.base) if stage.base in self._stages else self._base_image(stage.base)
        assert base is not None
        configuration, key = base.configuration.inherited(), base.key
        steps: list[tuple[Instruction, Configuration, str]] = []
        for instruction in stage.instructions:
            before, configuration = configuration, configuration.after(instruction)
            key = self._key(key, instruction, before)
            steps.append((instruction, before, key))
        done = self._restored(steps, root)
        if done == 0:
            copy(base.root, root)
        for number, (instruction, before, step_key) in enumerate(steps[done:], done):
            self._step(instruction, before, root)
            following = stage.instructions[number + 1] if number + 1 < len(steps) else None
            if instruction.keyword == "RUN" and _worth_keeping(stage, following):
                self._snapshots.keep(root, step_key)
        return Image(root, configuration, key)

    def _base_image(self, image: str) -> Image:
        root = self._work / "base"
        key = _digest(*base_root.identity(image))
        if key in self._snapshots:
            self._say(f"FROM {image}: the root of an earlier run")
            self._snapshots.restore(key, root)
        else:
            self._say(f"FROM {image}: mmdebstrap")
            base_root.make(image, root)
            self._snapshots.keep(root, key)
        return Image(root, Configuration(), key)

    def _restored(self, steps: list[tuple[Instruction, Configuration, str]], root: Path) -> int:
        """Restores the latest snapshot of the steps, if there is one; returns how many steps are in it."""
        for done in range(len(steps), 0, -1):
            instruction, _, key = steps[done - 1]
            if key in self._snapshots:
                self._say(f"up to line {instruction.line}: the root of an earlier run")
                self._snapshots.restore(key, root)
                return done
        return 0

    def _key(self, key: str, instruction: Instruction, before: Configuration) -> str:
        """The key of a root after the instruction: what was before, the instruction itself, and the files it copies."""
        parts = [key, instruction.keyword, instruction.text, *map("=".join, sorted(before.variables.items()))]
        if instruction.keyword == "COPY":
            parts += [before.folder, self._digest_of_copied(instruction, before)]
        return _digest(*parts)

    def _digest_of_copied(self, instruction: Instruction, before: Configuration) -> str:
        if "from" in instruction.flags:
            return self._stage_of(instruction).key
        sources, _ = _operands(instruction, before)
        files = [file for source in sources for file in self._ignored.files(self._tree, source)]
        return _digest(*(f"{file.relative_to(self._tree)} {_content_digest(file)}" for file in files))

    def _step(self, instruction: Instruction, before: Configuration, root: Path) -> None:
        began = time.monotonic()
        if instruction.keyword == "RUN":
            self._run_command(instruction, before, root)
        elif instruction.keyword == "COPY":
            self._copy(instruction, before, root)
        elif instruction.keyword == "WORKDIR":
            _inside(root, before.after(instruction).folder).mkdir(parents=True, exist_ok=True)
        else:
            return
        text = " ".join(instruction.text.split())
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        self._say(f"line {instruction.line}: {instruction.keyword} {shown} ({time.monotonic() - began:.1f} s)")

    def _run_command(self, instruction: Instruction, before: Configuration, root: Path) -> None:
        if before.user:
            raise ContainerfileError(instruction.line, "RUN after USER is not supported by this check")
        self._reach = self._reach or reach()
        mounts = [Mount(Path(path), path) for path in _RESOLVER if Path(path).exists()]
        mounts += [Mount(folder, f"{HOST}{folder}") for folder in self._reach.folders]
        done = finish(
            in_root(root, ["/bin/sh", "-c", instruction.text], mounts=mounts, folder=before.folder),
            {"HOME": "/root", **self._reach.environment, **before.variables},
        )
        _remove_mount_points(root, mounts)
        if done.returncode != 0:
            raise StepFailed(f"line {instruction.line}: RUN ended with {done.returncode}:\n{done.stdout[-4000:]}")

    def _copy(self, instruction: Instruction, before: Configuration, root: Path) -> None:
        sources, target = _operands(instruction, before)
        into_folder = target.endswith("/") or len(sources) > 1
        for source in sources:
            if "from" in instruction.flags:
                origin = _inside(self._stage_of(instruction).root, source)
                files = [origin] if origin.is_file() else sorted(origin.rglob("*"))
            else:
                origin = self._tree / source
                files = list(self._ignored.files(self._tree, source))
            if not files:
                raise ContainerfileError(instruction.line, f"COPY: there is no {source}")
            alone = Path(target, origin.name) if into_folder else Path(target)
            for file in files:
                # A folder's content is copied, without the folder itself.
                path = str(alone if file == origin else Path(target, file.relative_to(origin)))
                _copy_file(file, _inside(root, path))

    def _stage_of(self, instruction: Instruction) -> Image:
        name = instruction.flags["from"]
        if name not in self._stages:
            raise ContainerfileError(instruction.line, f"COPY --from={name}: there is no such stage before it")
        return self._stages[name]


def _operands(instruction: Instruction, before: Configuration) -> tuple[list[str], str]:
    """The sources of a COPY, and the absolute path of its target."""
    words = expand(instruction, instruction.text, before.variables).split()
    if len(words) < 2 or any(character in instruction.text for character in "*?[\"'\\"):
        raise ContainerfileError(instruction.line, "COPY needs plain paths, without patterns and quotes")
    *sources, target = words
    as_folder = target.endswith(("/", ".")) or len(sources) > 1
    path = target if target.startswith("/") else f"{before.folder.rstrip('/')}/{target.removeprefix('./')}"
    return sources, f"{path.rstrip('./')}/" if as_folder else path


def _worth_keeping(stage: Stage, following: Instruction | None) -> bool:
    """Whether a snapshot saves a later run time: before files of the tree are copied, and of a stage without any."""
    if following is None:
        return all(instruction.keyword != "COPY" for instruction in stage.instructions)
    return following.keyword == "WORKDIR" or (following.keyword == "COPY" and "from" not in following.flags)


def _copy_file(source: Path, target: Path) -> None:
    """Copies a file, link or folder for root, with the modes that a build gives to them."""
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(stat.S_IMODE(source.stat().st_mode))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def _inside(root: Path, path: str) -> Path:
    """An absolute path of the image, below its root."""
    return root / path.lstrip("/")


def _remove_mount_points(root: Path, mounts: list[Mount]) -> None:
    """Removes what the mounts of a step left behind: empty files and folders, never what is in them."""
    for mount in mounts:
        point = _inside(root, mount.target)
        if point.is_file() and point.stat().st_size == 0:
            point.unlink()
        elif point.is_dir():
            point.rmdir()
    if (host := _inside(root, HOST)).is_dir():
        host.rmdir()


def _content_digest(file: Path) -> str:
    content = str(file.readlink()).encode() if file.is_symlink() else file.read_bytes()
    return f"{file.lstat().st_mode:o} {hashlib.sha256(content).hexdigest()}"


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()
