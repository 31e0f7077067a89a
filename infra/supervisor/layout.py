"""Which processes there are, and where each listens: worked out once at the start, kept for as long as it runs."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from infra.settings import SERVICES, Settings, split_address

LOOPBACK = "127.0.0.1"
GATEWAY = "gateway"
# What has an address: each service's gRPC, and profile's REST.
LISTENING = (*SERVICES, "profile_rest")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a service."""

    name: str
    service: str
    settings: Settings

    @property
    def address(self) -> tuple[str, int]:
        return split_address(self.settings.listen)


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """All processes of ours on this machine."""

    services: list[Place]
    gateways: list[Place]
    addresses: Mapping[str, list[str]]


def lay_out(
    settings: Settings, free_ports: Callable[[int], list[int]], nats_url_of: Callable[[str], str] | None = None
) -> Layout:
    """Gives every process its name and its settings; those of the servers must be in the settings already.

    `nats_url_of`: the URL with which a service logs in to NATS, where each has one of its own.
    """
    numbers = range(settings.replicas)
    ports = iter(free_ports(len(LISTENING) * settings.replicas))
    addresses = {service: [f"{LOOPBACK}:{next(ports)}" for _ in numbers] for service in LISTENING}
    joined = {f"{service}_address": ",".join(places) for service, places in addresses.items()}
    common = msgspec.structs.replace(settings, **joined)
    own = {service: _with_login(common, service, nats_url_of) for service in (*SERVICES, GATEWAY)}
    services = [
        Place(
            name=_name(service, number, settings), service=service, settings=_listening(own[service], service, number)
        )
        for service in SERVICES
        for number in numbers
    ]
    gateways = [
        Place(name=_name(GATEWAY, number, settings), service=GATEWAY, settings=own[GATEWAY]) for number in numbers
    ]
    return Layout(services=services, gateways=gateways, addresses=addresses)


def serve_command(service: str) -> list[str]:
    """The command that runs one process of the service."""
    return [sys.executable, "-m", "infra.cli.main", "serve", service]


def gateway_url(settings: Settings) -> str:
    """Where a program on this machine reaches the gateway."""
    host = LOOPBACK if settings.host in ("0.0.0.0", "") else settings.host  # noqa: S104 - asked, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def absolute(settings: Settings, data_dir: Path) -> Settings:
    """The settings with paths that mean the same in every process."""
    return msgspec.structs.replace(
        settings, data_dir=data_dir.absolute(), secrets_dir=str(settings.secrets_path.absolute())
    )


def _with_login(settings: Settings, service: str, nats_url_of: Callable[[str], str] | None) -> Settings:
    return settings if nats_url_of is None else msgspec.structs.replace(settings, nats_url=nats_url_of(service))


def _name(service: str, number: int, settings: Settings) -> str:
    return service if settings.replicas == 1 else f"{service}.{number + 1}"


def _listening(settings: Settings, service: str, number: int) -> Settings:
    rest = settings.profile_rest_address.split(",")[number] if service == "profile" else ""
    place = getattr(settings, f"{service}_address").split(",")[number]
    return msgspec.structs.replace(settings, listen=place, rest_listen=rest, listen_shared="on")
