"""The software bill of materials equals the locks."""

import json
from pathlib import Path

import pytest

from infra.devtools.requirements_lock import LOCK, PRODUCTION, pins
from infra.devtools.sbom import main, sbom

PROJECT = {"name": "vestnik", "version": "0.2.0"}
EVERYTHING = "aiohttp==1.0 \\\n    --hash=sha256:aa\npywin32==3 ; sys_platform == 'win32' \\\n    --hash=sha256:bb\n"
RUNNING = "aiohttp==1.0 \\\n    --hash=sha256:aa\n"


def test_every_package_is_in_it_with_its_version_and_whether_it_runs() -> None:
    document = sbom(PROJECT, EVERYTHING, RUNNING)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["purl"] == "pkg:pypi/vestnik@0.2.0"
    assert [(part["purl"], part["scope"]) for part in document["components"]] == [
        ("pkg:pypi/aiohttp@1.0", "required"),
        ("pkg:pypi/pywin32@3", "excluded"),
    ]
    assert document["components"][1]["properties"] == [{"name": "python:marker", "value": "sys_platform == 'win32'"}]


def test_equal_locks_make_an_equal_document_and_others_another() -> None:
    assert sbom(PROJECT, EVERYTHING, RUNNING) == sbom(PROJECT, EVERYTHING, RUNNING)
    other = sbom(PROJECT, EVERYTHING, "")
    assert other["serialNumber"] != sbom(PROJECT, EVERYTHING, RUNNING)["serialNumber"]


def test_the_command_prints_all_of_the_locks(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    components = json.loads(capsys.readouterr().out)["components"]
    assert {part["name"] for part in components} == set(pins(LOCK.read_text()))
    assert {part["name"] for part in components if part["scope"] == "required"} == set(pins(PRODUCTION.read_text()))


def test_the_bill_of_one_lock_has_its_packages_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "image.lock").write_text(EVERYTHING)
    main(["--lock", str(tmp_path / "image.lock")])
    components = json.loads(capsys.readouterr().out)["components"]
    assert [(component["name"], component["scope"]) for component in components] == [
        ("aiohttp", "required"),
        ("pywin32", "required"),
    ]
