"""The root that stands for the base image: Debian's minimal system, made by mmdebstrap from this machine's sources."""

import re
import shutil
from pathlib import Path

from infra.devtools.image.commands import finish
from infra.devtools.image.host_configuration import apt_sources
from infra.operator_errors import OperatorError

_IMAGE = re.compile(r"^debian:([a-z]+)-slim(?:@sha256:[0-9a-f]{64})?$")
# What the slim images leave out of every package, now and later.
_LEFT_OUT = ("doc", "groff", "info", "linda", "lintian", "locale", "man")
_PROGRAM = "mmdebstrap"


class NoBase(OperatorError):
    """The base image cannot be stood for on this machine."""


def obstacle(image: str) -> str:
    """The reason why this machine cannot make a root for the image; empty if it can."""
    if shutil.which(_PROGRAM) is None:
        return f"no {_PROGRAM}"
    return "" if apt_sources(suite_of(image)) else f"no sources of Debian {suite_of(image)} in /etc/apt"


def suite_of(image: str) -> str:
    """The Debian release of the image.

    Raises:
        NoBase: it is not a slim image of Debian.
    """
    match = _IMAGE.match(image)
    if match is None:
        raise NoBase(f"FROM {image}: this check can make debian:SUITE-slim only")
    return match[1]


def identity(image: str) -> tuple[str, ...]:
    """A text with all that the root depends on, except the day on which it is made."""
    return (*command(image, Path(), Path()), apt_sources(suite_of(image)))


def command(image: str, root: Path, sources: Path) -> list[str]:
    """The command that makes the root."""
    options = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _LEFT_OUT]
    options.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    # With /bin as a link to /usr/bin, as in the images; otherwise a package that makes it brings all of Perl.
    options += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--include=usr-is-merged"]
    return [
        *(_PROGRAM, "--mode=root", "--variant=minbase", "--format=directory", *options),
        *(suite_of(image), str(root), str(sources)),
    ]


def make(image: str, root: Path) -> None:
    """Makes the root.

    Raises:
        NoBase: mmdebstrap failed.
    """
    sources = root.with_suffix(".sources")
    sources.write_text(apt_sources(suite_of(image)) + "\n")
    done = finish(command(image, root, sources))
    if done.returncode != 0:
        raise NoBase(f"{_PROGRAM} failed:\n{done.stdout[-3000:]}")
    # Of this machine; a container engine brings its own.
    for name in ("hostname", "resolv.conf"):
        (root / "etc" / name).unlink(missing_ok=True)
