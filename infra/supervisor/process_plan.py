"""The processes of the system and their addresses: planned once at start, fixed while it runs."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from contracts.services import DEFAULT_ADDRESSES, GATEWAY, LOOPBACK, REGISTRY, service_of
from infra.settings import Settings, split_address

_LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost")
# The URL with which a service logs in to a server.
UrlOf = Callable[[str], str]


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
    counts = {name: 1 if service.optional else settings.replicas for name, service in REGISTRY.items()}
    ports = iter(free_ports(sum(counts[service_of(name)] for name in (*DEFAULT_ADDRESSES, *REGISTRY))))

    def reserve(service: str) -> list[str]:
        return [f"{LOOPBACK}:{next(ports)}" for _ in range(counts[service])]

    addresses = {name: reserve(service_of(name)) for name in DEFAULT_ADDRESSES}
    metrics = {name: reserve(name) for name in REGISTRY}
    common = msgspec.structs.replace(
        settings.with_addresses(addresses), show_mail=_show_mail(settings), operator_totp=_operator_totp(settings)
    )
    processes = [
        ProcessSpec(
            name=name if counts[name] == 1 else f"{name}.{number + 1}",
            service=name,
            settings=msgspec.structs.replace(
                _with_logins(common, name, nats_url_of, database_url_of),
                listen=addresses[name][number] if name in addresses else "",
                rest_listen=addresses[f"{name}_rest"][number] if f"{name}_rest" in addresses else "",
                metrics_listen=metrics[name][number],
                listen_shared="on",
            ),
        )
        for name in REGISTRY
        for number in range(counts[name])
    ]
    return Layout(
        services=[process for process in processes if process.service != GATEWAY],
        gateways=[process for process in processes if process.service == GATEWAY],
        addresses=addresses,
        metrics=metrics,
    )


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
    if not REGISTRY[service].read_models:
        # It does not use the database.
        database_url = ""
    else:
        database_url = settings.database_url if database_url_of is None else database_url_of(service)
    nats_url = settings.nats_url if nats_url_of is None else nats_url_of(service)
    return msgspec.structs.replace(settings, nats_url=nats_url, database_url=database_url)


def _show_mail(settings: Settings) -> str:
    """Resolves `auto`: on for development on this machine alone, without a mail server, where the tokens are needed."""
    if settings.show_mail != "auto":
        return settings.show_mail
    return "on" if _serves_this_machine_alone(settings) and not settings.smtp_url else "off"


def _operator_totp(settings: Settings) -> str:
    """Resolves `auto`: off if the gateway serves this machine alone, whose users can read the operators' list."""
    if settings.operator_totp != "auto":
        return settings.operator_totp
    return "off" if _serves_this_machine_alone(settings) else "on"


def _serves_this_machine_alone(settings: Settings) -> bool:
    """A public URL or trusted proxies mean that a loopback address is reachable from elsewhere."""
    return settings.host in _LOOPBACK_NAMES and not settings.public_url and not settings.trusted_hops
