"""What a process that stays loads of NATS's client library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_LOADED = """
import sys, types
from infra.cli.{command} import {command}

def says() -> None:
    from nats.aio import transport
    print(transport.aiohttp is not None, "aiohttp" in sys.modules)
    import aiohttp
    print(hasattr(aiohttp, "ClientSession"))

class Machine:
    def __init__(self, *_): ...
    async def run(self): says()

async def main(settings): says()

sys.modules["infra.supervisor.machine"] = types.SimpleNamespace(Machine=Machine)
sys.modules["services.session.main"] = types.SimpleNamespace(main=main)
{command}.callback({arguments})
"""
_COMMANDS = [("serve", "'session'"), ("up", "None, None")]


def _loaded(command: str, arguments: str, folder: Path, **settings: str) -> list[str]:
    says = _LOADED.format(command=command, arguments=arguments)
    project = {"PYTHONPATH": str(Path(__file__).parents[3])}
    ran = subprocess.run(
        [sys.executable, "-c", says],
        cwd=folder,
        env={**os.environ, **project, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.split()


@pytest.mark.parametrize(("command", "arguments"), _COMMANDS)
def test_a_process_that_stays_has_no_http_client_for_nats_and_may_load_one_for_itself(
    command: str, arguments: str, tmp_path: Path
) -> None:
    found = _loaded(command, arguments, tmp_path, VESTNIK_NATS_URL="nats://127.0.0.1:4222")
    assert found == ["False", "False", "True"]


@pytest.mark.parametrize(("command", "arguments"), _COMMANDS)
def test_a_server_that_is_reached_over_websockets_gets_what_that_takes(
    command: str, arguments: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("VESTNIK_NATS_URL=nats://127.0.0.1:4222, wss://127.0.0.1:8443\n")
    assert _loaded(command, arguments, tmp_path) == ["True", "True", "True"]
