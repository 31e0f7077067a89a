"""Which process a probe asks, and where."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.ports import free_port
from infra.runtime.process_probes import (
    ProbeFailed,
    check_live,
    check_ready,
    service_of_command,
    service_of_first_process,
)
from infra.settings import BadSetting, Settings


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers every path with what `answers` of the server has for it."""

    def do_GET(self) -> None:
        status, body = getattr(self.server, "answers").get(self.path, (404, b""))  # noqa: B009 - not of the class
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
        pass


class _Server(http.server.HTTPServer):
    answers: dict[str, tuple[int, bytes]]


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Answers) as server:
        server.answers = {}
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("command", "service"),
    [
        (["/opt/vestnik/bin/python", "/opt/vestnik/bin/vestnik", "serve", "auth"], "auth"),
        (["/sbin/docker-init", "--", "vestnik", "serve", "gateway"], "gateway"),
        (["vestnik", "serve", "nothing"], None),
        (["vestnik", "serve"], None),
        (["vestnik", "streams"], None),
        ([], None),
    ],
)
def test_the_first_process_says_which_service_is_asked(command: list[str], service: str | None) -> None:
    assert service_of_command(command) == service


def test_the_command_of_the_first_process_is_read_where_it_can_be(tmp_path: Path) -> None:
    (tmp_path / "cmdline").write_bytes(b"vestnik\0serve\0contact\0")
    assert service_of_first_process(tmp_path / "cmdline") == "contact"
    assert service_of_first_process(tmp_path / "missing") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_liveness_is_asked_at_the_configured_metrics_address(server: _Server, host: str) -> None:
    settings = Settings(metrics_listen=f"{host}:{server.server_port}")
    with pytest.raises(ProbeFailed, match="404"):
        check_live(settings, "auth")
    server.answers["/livez"] = (200, b"live")
    check_live(settings, "auth")


@pytest.mark.parametrize("service", ["auth", "gateway"])
def test_liveness_is_asked_1000_above_the_own_port_if_no_address_is_configured(server: _Server, service: str) -> None:
    server.answers["/livez"] = (200, b"live")
    own_port = server.server_port - 1_000
    check_live(Settings(port=own_port, addresses={"auth": f"127.0.0.1:{own_port}"}), service)


def test_without_a_metrics_endpoint_liveness_cannot_be_asked() -> None:
    with pytest.raises(BadSetting, match="VESTNIK_METRICS_LISTEN=off"):
        check_live(Settings(metrics_listen="off"), "auth")


async def test_a_process_that_does_not_answer_is_neither_live_nor_ready() -> None:
    port = free_port()
    settings = Settings(metrics_listen=f"127.0.0.1:{port}", port=port, listen=f"0.0.0.0:{port}")
    with pytest.raises(ProbeFailed, match=f"auth does not answer at 127.0.0.1:{port}"):
        check_live(settings, "auth")
    for service in ("auth", "gateway"):
        with pytest.raises(ProbeFailed, match=service):
            await check_ready(settings, service)


async def test_the_gateway_is_ready_when_it_says_so_and_names_what_is_missing_otherwise(server: _Server) -> None:
    settings = Settings(host="0.0.0.0", port=server.server_port)
    server.answers["/readyz"] = (503, b'{"status": "not ready", "missing": ["nats", "messaging"]}')
    with pytest.raises(ProbeFailed, match=r"not ready: nats, messaging$"):
        await check_ready(settings, "gateway")
    server.answers["/readyz"] = (502, b"<html>")
    with pytest.raises(ProbeFailed, match="502"):
        await check_ready(settings, "gateway")
    server.answers["/readyz"] = (200, b'{"status": "ready"}')
    await check_ready(settings, "gateway")
