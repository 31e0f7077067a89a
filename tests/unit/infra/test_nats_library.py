"""What a process that stays loads of NATS's client library."""

import os
import subprocess
import sys

_LOADED = """
import sys
from infra.cli.main import Commands
Commands().get_command(None, {command!r})
from nats.aio import transport
print(transport.aiohttp is not None, "aiohttp" in sys.modules)
import aiohttp
print(hasattr(aiohttp, "ClientSession"))
"""


def _loaded(command: str, url: str) -> list[str]:
    environ = {**os.environ, "VESTNIK_NATS_URL": url}
    asked = [sys.executable, "-c", _LOADED.format(command=command)]
    return subprocess.run(asked, env=environ, capture_output=True, text=True, check=True).stdout.split()


def test_a_process_that_stays_has_no_http_client_for_nats_and_may_load_one_for_itself() -> None:
    assert _loaded("serve", "nats://127.0.0.1:4222") == ["False", "False", "True"]
    assert _loaded("up", "") == ["False", "False", "True"]


def test_a_server_that_is_reached_over_websockets_gets_what_that_takes() -> None:
    assert _loaded("serve", "nats://127.0.0.1:4222, wss://127.0.0.1:8443") == ["True", "True", "True"]
