"""How this machine reaches its package sources: pip's configuration and apt's, for steps that run in another root."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

# Where a step finds the folders of this machine that pip's configuration names.
HOST = "/run/host"
# What says how to reach an index; other options of pip, such as --user, would change what a step does.
_PIP_OPTIONS = frozenset(
    (
        *("index-url", "extra-index-url", "no-index", "find-links", "trusted-host"),
        *("cert", "client-cert", "proxy", "timeout", "default-timeout", "retries"),
    )
)
# Sections of pip's configuration for `pip install`, the later ones more important.
_SECTIONS = ("global", "install", ":env:")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_SOURCES = Path("/etc/apt")


class Reach(msgspec.Struct, frozen=True):
    """Environment variables of a step, and the folders of this machine that it needs below HOST."""

    environment: Mapping[str, str]
    folders: Sequence[Path]


def reach() -> Reach:
    """How a step reaches the package index: pip's configuration as environment variables, and proxies."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    pip = pip_environment(listing)
    proxies = {name: os.environ[name] for name in _PROXIES if name in os.environ}
    return Reach({**proxies, **pip.environment}, pip.folders)


def pip_environment(listing: str) -> Reach:
    """Turns the output of `pip config list` into environment variables; paths of this machine get HOST before them."""
    values: dict[str, str] = {}
    folders: set[Path] = set()
    for section in _SECTIONS:
        for line in listing.splitlines():
            key, _, text = line.partition("=")
            option = key.removeprefix(f"{section}.")
            if option == key or option not in _PIP_OPTIONS:
                continue
            words = [_moved(word, folders) for word in str(ast.literal_eval(text)).split()]
            values[f"PIP_{option.replace('-', '_').upper()}"] = " ".join(words)
    return Reach(values, sorted(folders))


def _moved(word: str, folders: set[Path]) -> str:
    """The word with HOST before its path, if it is one of this machine; `folders` gets the top folder of the path."""
    scheme, path = ("file://", word.removeprefix("file://")) if word.startswith("file://") else ("", word)
    if not path.startswith("/"):
        return word
    # The whole top folder: an index in a folder links to files beside it.
    folders.add(Path("/", Path(path).parts[1]))
    return f"{scheme}{HOST}{path}"


def apt_sources(suite: str, folder: Path = _SOURCES) -> str:
    """The sources of the Debian release among those of this machine, for mmdebstrap; empty if there are none.

    One-line sources are turned into the other format (deb822), so that one file can hold them all.
    """
    suites = {suite, f"{suite}-updates", f"{suite}-security", f"{suite}/updates"}
    paths = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    stanzas = [stanza for path in paths if path.is_file() for stanza in _stanzas(path)]
    return "\n\n".join(stanza for stanza in stanzas if _suites(stanza) and _suites(stanza) <= suites)


def _stanzas(path: Path) -> Iterator[str]:
    text = path.read_text(errors="replace")
    if path.suffix == ".sources":
        without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
        yield from (stanza.strip() for stanza in re.split(r"\n\s*\n", without_comments) if stanza.strip())
    elif path.suffix == ".list":
        yield from (stanza for line in text.splitlines() if (stanza := _stanza(line)))


def _stanza(line: str) -> str:
    """A one-line source `deb [signed-by=…] URI SUITE COMPONENT…` as a stanza; empty: it is none."""
    match = re.match(r"^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line.strip())
    if match is None:
        return ""
    options = dict(option.partition("=")[::2] for option in (match[1] or "").split())
    signed = f"\nSigned-By: {options['signed-by']}" if "signed-by" in options else ""
    return f"Types: deb\nURIs: {match[2]}\nSuites: {match[3]}\nComponents: {match[4].strip()}{signed}"


def _suites(stanza: str) -> set[str]:
    types = re.search(r"^Types:(.*)$", stanza, re.MULTILINE)
    suites = re.search(r"^Suites:(.*)$", stanza, re.MULTILINE)
    return set(suites[1].split()) if suites and types and "deb" in types[1].split() else set()
