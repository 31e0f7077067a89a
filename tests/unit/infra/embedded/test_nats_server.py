"""What a launch of the server takes over from the previous one."""

from pathlib import Path
from typing import cast

import pytest

from infra.embedded.child_process import Child
from infra.embedded.nats_server import NatsServer
from infra.security.secrets import NATS_PARTIES


async def test_a_server_that_refused_writes_is_launched_closed_and_one_that_met_a_full_disk_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = NatsServer(tmp_path, passwords=dict.fromkeys(NATS_PARTIES, "right"))
    signals: list[int] = []
    child = cast(Child, type("FakeChild", (), {"send": lambda _, number: signals.append(number)})())

    async def start(*_: object, **__: object) -> Child:
        return child

    monkeypatch.setattr(Child, "start", start)
    server._child = child
    server.is_closed = server.has_started = True
    await server._launch(0)
    assert (server.is_closed, server.has_started) == (True, False)
    assert '"max_file": 1' in (tmp_path / "nats.conf").read_text()
    server.met_full_disk = True
    server.restart_after_full_disk()
    assert signals == [server.stop_signal]
    await server._launch(0)
    assert '"max_file": 1' not in (tmp_path / "nats.conf").read_text()
    assert not server.met_full_disk
