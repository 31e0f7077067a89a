"""Liveness and readiness of a service's process on this machine, asked where its settings say that it listens.

It loads little, since probes of containers run it every few seconds.
"""

import http.client
import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from contracts.services import BESIDE, GATEWAY, LOOPBACK, REGISTRY
from infra.operator_errors import OperatorError
from infra.settings import BadSetting, Settings, split_address

SECONDS = 5.0
# Addresses to listen on that stand for every address of the machine, each with one of them to ask.
_WILDCARDS = {"": LOOPBACK, "0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - asked, not bound
_FIRST_PROCESS = Path("/proc/1/cmdline")


class ProbeFailed(OperatorError):
    """The process does not answer, or says that it is not ready."""


def check_live(settings: Settings, service: str) -> None:
    """Checks that the event loop of the process turns, by `/livez` of its metrics endpoint.

    Raises:
        BadSetting: the process has no metrics endpoint.
        ProbeFailed: it does not answer.
    """
    status, _ = _get(service, _metrics_address(settings, service), "/livez")
    if status != http.client.OK:
        raise ProbeFailed(f"{service} answers GET /livez with {status}")


async def check_ready(settings: Settings, service: str) -> None:
    """Checks that the process is ready: the gateway by `/readyz`, other services by the gRPC health check.

    Raises:
        BadCertificate: a certificate for TLS between the services cannot be used.
        ProbeFailed: it is not ready, or does not answer.
    """
    if service == GATEWAY:
        _check_gateway(settings)
        return
    from infra.rpc.health import said_serving
    from infra.rpc.tls import client_side

    address = _own_address(*settings.listen_address(service))
    serving = await said_serving(*address, timeout=SECONDS, tls=client_side(settings, service, service))
    if not serving:
        raise ProbeFailed(f"{service} {'does not answer' if serving is None else 'is not ready'} at {_text(address)}")


def service_of_first_process(command_file: Path = _FIRST_PROCESS) -> str | None:
    """The service that process 1 serves, which in a container is the one it was started for; None: none."""
    try:
        return service_of_command(command_file.read_text(errors="replace").split("\0"))
    except OSError:
        return None


def service_of_command(command: Iterable[str]) -> str | None:
    """SERVICE of a command `vestnik serve SERVICE`, also within another one, such as an init's; None: none."""
    return next((service for word, service in pairwise(command) if word == "serve" and service in REGISTRY), None)


def _check_gateway(settings: Settings) -> None:
    status, body = _get(GATEWAY, _own_address(settings.host, settings.port), "/readyz")
    if status != http.client.OK:
        raise ProbeFailed(f"{GATEWAY} is not ready: {_missing(body) or f'GET /readyz is answered with {status}'}")


def _missing(body: bytes) -> str:
    """The parts that a negative answer of `/readyz` lists."""
    try:
        return ", ".join(json.loads(body)["missing"])
    except (ValueError, TypeError, LookupError):
        return ""


def _metrics_address(settings: Settings, service: str) -> tuple[str, int]:
    if settings.metrics_listen == "off":
        raise BadSetting("VESTNIK_METRICS_LISTEN=off: liveness is asked at the metrics endpoint")
    if settings.metrics_listen:
        return _own_address(*split_address(settings.metrics_listen))
    port = settings.port if service == GATEWAY else settings.listen_address(service)[1]
    return LOOPBACK, port + BESIDE


def _own_address(host: str, port: int) -> tuple[str, int]:
    """The address at which this machine reaches a server that listens there."""
    return _WILDCARDS.get(host, host), port


def _get(service: str, address: tuple[str, int], path: str) -> tuple[int, bytes]:
    """Status and body of the answer.

    Raises:
        ProbeFailed: there is none in time.
    """
    connection = http.client.HTTPConnection(*address, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise ProbeFailed(f"{service} does not answer at {_text(address)}: {error}") from None
    finally:
        connection.close()


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
