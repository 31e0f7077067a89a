"""The processes of the system and their addresses: planned once at start, fixed while it runs."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from infra.settings import OPERATOR_SERVICE, SERVICES, Settings, split_address

LOOPBACK = "127.0.0.1"
_LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost")
GATEWAY = "gateway"
# Everything with an address: each service's gRPC, and profile's REST.
LISTENING = (*SERVICES, "profile_rest")
# Everything with metrics.
MEASURED = (*SERVICES, GATEWAY)
# The URL with which a service logs in to a server.
UrlOf = Callable[[str], str]
# Services with one process, whatever `replicas` says: chatting does not need them.
SINGLE = (OPERATOR_SERVICE,)


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a service."""

    name: str
    service: str
    settings: Settings

    @property
    def address(self) -> tuple[str, int]:
        return split_address(self.settings.listen)


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """All our processes on this machine."""

    services: list[ProcessSpec]
    gateways: list[ProcessSpec]
    addresses: Mapping[str, list[str]]
    # The metrics address of each process, by service.
    metrics: Mapping[str, list[str]]


def lay_out(
    settings: Settings,
    free_ports: Callable[[int], list[int]],
    nats_url_of: UrlOf | None = None,
    database_url_of: UrlOf | None = None,
) -> Layout:
    """Assigns every process its name and settings; the servers' URLs must be in the settings already.

    `nats_url_of`, `database_url_of`: the login URL of each service; None: all use the one in the settings.
    """
    numbers = range(settings.replicas)
    ports = iter(free_ports((len(LISTENING) + len(MEASURED)) * settings.replicas + 2 * len(SINGLE)))
    addresses = {service: [f"{LOOPBACK}:{next(ports)}" for _ in numbers] for service in LISTENING}
    metrics = {service: [f"{LOOPBACK}:{next(ports)}" for _ in numbers] for service in MEASURED}
    for service in SINGLE:
        addresses[service], metrics[service] = ([f"{LOOPBACK}:{next(ports)}"] for _ in range(2))
    joined = {f"{service}_address": ",".join(places) for service, places in addresses.items()}
    common = msgspec.structs.replace(settings, **joined, show_mail=_show_mail(settings))
    own = {
        service: _with_logins(common, service, nats_url_of, database_url_of)
        for service in (*SERVICES, *SINGLE, GATEWAY)
    }
    services = [
        ProcessSpec(
            name=_name(service, number, settings),
            service=service,
            settings=_listening(own[service], service, number, metrics),
        )
        for service in SERVICES
        for number in numbers
    ]
    services += [
        ProcessSpec(name=service, service=service, settings=_listening(own[service], service, 0, metrics))
        for service in SINGLE
    ]
    gateways = [
        ProcessSpec(
            name=_name(GATEWAY, number, settings),
            service=GATEWAY,
            settings=msgspec.structs.replace(own[GATEWAY], metrics_listen=metrics[GATEWAY][number], listen_shared="on"),
        )
        for number in numbers
    ]
    return Layout(services=services, gateways=gateways, addresses=addresses, metrics=metrics)


def serve_command(service: str) -> list[str]:
    """The command that runs one process of the service."""
    return [sys.executable, "-m", "infra.cli.main", "serve", service]


def gateway_url(settings: Settings) -> str:
    """The gateway's URL for programs on this machine."""
    host = LOOPBACK if settings.host in ("0.0.0.0", "") else settings.host  # noqa: S104 - asked, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def absolute(settings: Settings, data_dir: Path) -> Settings:
    """The settings with absolute paths, which mean the same in every process."""
    return msgspec.structs.replace(
        settings, data_dir=data_dir.absolute(), secrets_dir=str(settings.secrets_path.absolute())
    )


def _with_logins(
    settings: Settings, service: str, nats_url_of: UrlOf | None, database_url_of: UrlOf | None
) -> Settings:
    if service == GATEWAY:
        # The gateway does not use the database.
        database_url = ""
    else:
        database_url = settings.database_url if database_url_of is None else database_url_of(service)
    nats_url = settings.nats_url if nats_url_of is None else nats_url_of(service)
    return msgspec.structs.replace(settings, nats_url=nats_url, database_url=database_url)


def _show_mail(settings: Settings) -> str:
    """Resolves `auto`: on for development on this machine alone, without a mail server, where the tokens are needed.

    A public URL or trusted proxies mean that a loopback address is reachable from elsewhere.
    """
    if settings.show_mail != "auto":
        return settings.show_mail
    alone = settings.host in _LOOPBACK_NAMES and not settings.public_url and not settings.trusted_hops
    return "on" if alone and not settings.smtp_url else "off"


def _name(service: str, number: int, settings: Settings) -> str:
    return service if settings.replicas == 1 else f"{service}.{number + 1}"


def _listening(settings: Settings, service: str, number: int, metrics: Mapping[str, list[str]]) -> Settings:
    rest = settings.profile_rest_address.split(",")[number] if service == "profile" else ""
    place = getattr(settings, f"{service}_address").split(",")[number]
    return msgspec.structs.replace(
        settings, listen=place, rest_listen=rest, metrics_listen=metrics[service][number], listen_shared="on"
    )
