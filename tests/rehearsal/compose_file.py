"""The compose file: its services as the hosts of a cluster, with their programs, settings, volumes and networks."""

import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

COMPOSE = Path(__file__).parents[2] / "infra" / "deployment" / "compose" / "compose.yaml"
# `${NAME:-default}`, where the default may have a variable; `$$` is a dollar sign.
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::-((?:[^{}]|\{[^{}]*\})*))?\})")
_SECONDS = re.compile(r"(\d+)s\Z")


class Volume(msgspec.Struct, frozen=True):
    """A mounted folder or file: of the machine, or a volume by its name."""

    source: str
    target: str
    read_only: bool

    @property
    def is_named(self) -> bool:
        return not self.source.startswith((".", "/"))


class Attachment(msgspec.Struct, frozen=True):
    """A service's place in a network."""

    aliases: tuple[str, ...] = ()
    address: str = ""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One container."""

    name: str
    image: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    volumes: tuple[Volume, ...]
    tmpfs: tuple[str, ...]
    networks: Mapping[str, Attachment]
    # By service that it waits for: the condition.
    depends_on: Mapping[str, str]
    restart: str
    stop_signal: signal.Signals
    stop_within: float
    healthcheck: tuple[str, ...]
    profiles: tuple[str, ...]
    user: str
    # As the file has it.
    raw: Mapping[str, Any]


class ComposeFile(msgspec.Struct, frozen=True):
    services: Mapping[str, Service]
    # By network: its subnet, if the file sets one.
    networks: Mapping[str, str]
    volumes: tuple[str, ...]
    folder: Path


def read(path: Path = COMPOSE, variables: Mapping[str, str] | None = None) -> ComposeFile:
    """Reads the file, with these values of the variables in it.

    Raises:
        KeyError: a variable has neither a value nor a default.
    """
    content = _substituted(yaml.safe_load(path.read_text()), variables or {})
    return ComposeFile(
        {name: _service(name, raw) for name, raw in content["services"].items()},
        {name: _subnet(raw or {}) for name, raw in content["networks"].items()},
        tuple(content["volumes"]),
        path.parent,
    )


def _substituted(value: Any, variables: Mapping[str, str]) -> Any:  # noqa: ANN401 - what YAML holds
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _value(match, variables), value)
    if isinstance(value, list):
        return [_substituted(item, variables) for item in value]
    if isinstance(value, dict):
        return {name: _substituted(item, variables) for name, item in value.items()}
    return value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    dollar, name, default = match.groups()
    if dollar:
        return "$"
    if default is None:
        return variables[name]
    return variables.get(name) or str(_substituted(default, variables))


def _service(name: str, raw: Mapping[str, Any]) -> Service:
    networks = raw["networks"]
    if isinstance(networks, list):
        networks = dict.fromkeys(networks)
    depends_on: Mapping[str, Mapping[str, str]] = raw.get("depends_on", {})
    healthcheck = tuple(raw.get("healthcheck", {}).get("test", ()))
    return Service(
        name=name,
        image=raw["image"],
        entrypoint=tuple(raw.get("entrypoint", ())),
        command=tuple(raw.get("command", ())),
        environment=raw.get("environment", {}),
        volumes=tuple(_volume(text) for text in raw.get("volumes", ())),
        tmpfs=tuple(raw.get("tmpfs", ())),
        networks={
            network: Attachment(
                tuple((attachment or {}).get("aliases", ())), (attachment or {}).get("ipv4_address", "")
            )
            for network, attachment in networks.items()
        },
        depends_on={other: condition["condition"] for other, condition in depends_on.items()},
        restart=raw["restart"],
        stop_signal=signal.Signals[raw.get("stop_signal", "SIGTERM")],
        stop_within=_seconds(raw.get("stop_grace_period", "10s")),
        healthcheck=healthcheck[1:],
        profiles=tuple(raw.get("profiles", ())),
        user=raw["user"],
        raw=raw,
    )


def _volume(text: str) -> Volume:
    source, target, *options = text.split(":")
    return Volume(source, target, "ro" in options)


def _seconds(text: str) -> float:
    match = _SECONDS.match(text)
    assert match is not None, f"{text} is not a number of seconds"
    return float(match[1])


def _subnet(raw: Mapping[str, Any]) -> str:
    configs = raw.get("ipam", {}).get("config", [])
    return str(configs[0]["subnet"]) if configs else ""
