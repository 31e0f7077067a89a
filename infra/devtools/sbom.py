"""Prints the software bill of materials, in CycloneDX 1.6 JSON, out of the locks, or of `--lock FILE` alone."""

import argparse
import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from infra.devtools.requirements_lock import LOCK, PRODUCTION, ROOT, pins


def sbom(project: dict[str, Any], everything: str, production: str) -> dict[str, Any]:
    """Returns the document.

    `project`: the table of pyproject.toml; `everything`, `production`: the texts of the two locks. Packages for
    development only have the scope `excluded`. Equal locks give an equal document.
    """
    running = pins(production)
    name, version = project["name"], project["version"]
    content = "\n".join((name, version, everything, production))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": {"type": "application", **_named(name, version)}},
        "components": [
            {
                "type": "library",
                **_named(package, pinned),
                "scope": "required" if package in running else "excluded",
                **({"properties": [{"name": "python:marker", "value": marker}]} if marker else {}),
            }
            for package, (pinned, marker) in pins(everything).items()
        ],
    }


def _named(name: str, version: str) -> dict[str, str]:
    url = f"pkg:pypi/{name}@{version}"
    return {"bom-ref": url, "name": name, "version": version, "purl": url}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="just sbom", description="Print the software bill of materials.")
    parser.add_argument("--lock", type=Path, metavar="FILE", help="of the packages of this lock alone, all required")
    lock = parser.parse_args(arguments).lock
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    document = sbom(project, (lock or LOCK).read_text(), (lock or PRODUCTION).read_text())
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
