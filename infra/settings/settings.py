"""The settings: one frozen struct, read once at start.

A `.env` file in the working directory is read too; the environment takes precedence over it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec
from dotenv import dotenv_values

from contracts.services import DEFAULT_ADDRESSES, REGISTRY, SERVICES
from infra import url_files
from infra.settings.addresses import DNS, SCHEME, split_address
from infra.settings.declared import DeclaredSettings
from infra.settings.variables import (
    FILE,
    PREFIX,
    URLS,
    BadSetting,
    address_field,
    check_database_url,
    convert,
    variable,
    with_references,
)

ADDRESSES = "addresses"


class Settings(DeclaredSettings, frozen=True, kw_only=True):
    """The settings of this process, and what follows from them."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, ADDRESSES, {**DEFAULT_ADDRESSES, **self.addresses})

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Self:
        """Reads the environment (and the .env file) once.

        Raises:
            BadSetting: a value is invalid, or a variable with our prefix is not a setting.
        """
        values: dict[str, str | None] = {}
        if dotenv is not None and dotenv.is_file():
            values |= dotenv_values(dotenv)
        values |= os.environ if environ is None else environ
        variables = {
            name.removeprefix(PREFIX).lower(): value for name, value in values.items() if name.startswith(PREFIX)
        }
        if unknown := sorted(set(variables) - {name for name, _ in cls().values()}):
            raise BadSetting(f"{PREFIX}{unknown[0].upper()} is not a setting; `vestnik settings` lists them")
        return cls.made_of({name: value for name, value in variables.items() if value is not None})

    @classmethod
    def made_of(cls, variables: Mapping[str, str]) -> Self:
        """Builds the settings from strings by field name.

        Raises:
            BadSetting: a value is invalid.
        """
        variables = with_references(variables)
        addresses = {
            name: variables[field] for name in DEFAULT_ADDRESSES if (field := address_field(name)) in variables
        }
        converted: dict[str, object] = {ADDRESSES: addresses}
        for declared in msgspec.structs.fields(cls):
            if declared.name not in variables:
                continue
            text = variables[declared.name]
            try:
                converted[declared.name] = convert(text, declared.type)
            except (msgspec.ValidationError, ValueError) as error:
                raise BadSetting(f"{variable(declared.name)}={text!r} is invalid: {error}") from error
        check_database_url(url_files.read(str(converted.get("database_url", ""))))
        settings = msgspec.structs.replace(cls(), **converted)
        for name in addresses:
            if not settings.addresses[name]:
                continue
            try:
                settings.addresses_of(name), settings.names_of(name)
            except BadSetting as error:
                raise BadSetting(f"{variable(address_field(name))}: {error}") from error
        return settings

    def environment(self) -> dict[str, str]:
        """The settings as environment variables, for a process that needs the same settings."""
        return {variable(name): value for name, value in self.values()}

    def values(self) -> Iterator[tuple[str, str]]:
        """Yields every setting and its value, in the order of declaration."""
        for name in self.__struct_fields__:
            if name == ADDRESSES:
                yield from ((address_field(service), address) for service, address in self.addresses.items())
            elif name in URLS:
                url = getattr(self, name)
                file = url_files.path_of(url)
                yield name, url if file is None else ""
                yield name + FILE, "" if file is None else str(file)
            else:
                yield name, str(getattr(self, name))

    @property
    def read_model_services(self) -> tuple[str, ...]:
        """The services that keep read models, without those that are switched off."""
        return tuple(service for service in SERVICES if self.addresses[service])

    @property
    def limited(self) -> bool:
        return self.rate_limits == "on"

    @property
    def issuer(self) -> str:
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def secrets_path(self) -> Path:
        return Path(self.secrets_dir) if self.secrets_dir else self.data_dir / "secrets"

    def with_addresses(self, addresses: Mapping[str, Sequence[str]]) -> Self:
        """The settings with these addresses of the replicas of some services."""
        joined = {service: ",".join(replicas) for service, replicas in addresses.items()}
        return msgspec.structs.replace(self, addresses={**self.addresses, **joined})

    def addresses_of(self, service: str) -> list[tuple[str, int]]:
        """Listed addresses of the service's replicas; `profile_rest` is where profile answers REST.

        Raises:
            BadSetting: an address is not `host:port`.
        """
        return [split_address(part) for part in self._parts(service) if not part.startswith(SCHEME)]

    def names_of(self, service: str) -> list[tuple[str, int]]:
        """Names in DNS of which every address is a replica of the service, each with the port of all.

        Raises:
            BadSetting: a name is not `dns:///name:port`.
        """
        return [split_address(part, after=DNS) for part in self._parts(service) if part.startswith(SCHEME)]

    def _parts(self, service: str) -> list[str]:
        return [part.strip() for part in self.addresses[service].split(",")]

    def listen_address(self, service: str) -> tuple[str, int]:
        """The address on which this process of the service listens.

        Raises:
            BadSetting: an address is invalid, or the service has names alone and no address to listen on is set.
        """
        field = "listen" if service in REGISTRY else "rest_listen"
        own = getattr(self, field)
        if own:
            return split_address(own)
        addresses = self.addresses_of(service)
        if not addresses:
            raise BadSetting(
                f"{variable(field)} must be set, as 0.0.0.0:{self.names_of(service)[0][1]}: "
                f"{variable(address_field(service))} is a name"
            )
        return addresses[0]
