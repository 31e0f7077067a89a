"""`./just image --check`."""

import argparse
import shutil
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from infra.devtools.image import base_root, configuration, contents, namespaces, serving, snapshots
from infra.devtools.image.build import Build
from infra.devtools.image.commands import finish
from infra.devtools.image.configuration import Configuration
from infra.devtools.image.containerfile import Containerfile, parse
from infra.operator_errors import OperatorError

ROOT = Path(__file__).resolve().parents[3]
CONTAINERFILE = ROOT / "infra" / "deployment" / "Containerfile"


class CheckFailed(OperatorError):
    """The image is not as it should be."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="just image", description="Check the image without a container engine.")
    parser.add_argument("--check", action="store_true", required=True, help="lint, build, look at the result, start it")
    parser.add_argument("--fresh", action="store_true", help="forget the roots of earlier runs")
    arguments = parser.parse_args()
    try:
        _check(fresh=arguments.fresh)
    except OperatorError as error:
        print(f"image: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 1
    return 0


def lint() -> None:
    """Lints the file.

    Raises:
        CheckFailed: hadolint finds something.
    """
    done = finish([_hadolint(), str(CONTAINERFILE)])
    if done.returncode != 0:
        raise CheckFailed(f"hadolint:\n{done.stdout}")


def final_configuration(containerfile: Containerfile) -> Configuration:
    """The configuration of the last stage, without building anything."""
    by_stage: dict[str, Configuration] = {}
    for stage in containerfile.stages:
        state = by_stage.get(stage.base, Configuration()).inherited()
        for instruction in stage.instructions:
            state = state.after(instruction)
        by_stage[stage.name] = state
    return state


def _check(*, fresh: bool) -> None:
    began = time.monotonic()
    lint()
    containerfile = parse(CONTAINERFILE.read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    _refuse(configuration.faults(final_configuration(containerfile), version))
    _say("hadolint finds nothing, and the configuration is as it should be")
    if obstacle := _obstacle(containerfile):
        _say(f"SKIPPED: the steps and the start of the image: {obstacle}")
        return
    with snapshots.opened(fresh=fresh) as (kept, work):
        try:
            image = Build(containerfile, ROOT, kept, work, _say).run()
        except base_root.NoBase as error:
            # Of this machine and the mirror that it uses, not of the image.
            _say(f"SKIPPED: the steps and the start of the image: {error}")
            return
        _refuse(contents.faults(image.root))
        _say(f"the image has {contents.size(image.root) / 1e6:.0f} MB and nothing that it should not have")
        serving.serve(image, _say)
    _say(f"all is well ({time.monotonic() - began:.0f} s)")


def _obstacle(containerfile: Containerfile) -> str:
    """The reason why the steps cannot run on this machine; empty if they can."""
    if obstacle := namespaces.obstacle():
        return obstacle
    names = {stage.name for stage in containerfile.stages}
    bases = [stage.base for stage in containerfile.stages if stage.base not in names]
    return next(filter(None, map(base_root.obstacle, bases)), "")


def _refuse(faults: Iterator[str]) -> None:
    if found := list(faults):
        more = f"\n… and {len(found) - 20} more" if len(found) > 20 else ""
        raise CheckFailed("\n".join(found[:20]) + more)


def _hadolint() -> str:
    program = Path(sysconfig.get_path("scripts")) / "hadolint"
    return str(program) if program.exists() else shutil.which("hadolint") or "hadolint"


def _say(text: str) -> None:
    print(f"image: {text}", flush=True)  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main())
