"""How an operator's command reaches the streams: of a running system, of an external server, or of a stopped system.

If no system runs with the data directory, the NATS server is started for the duration of the command, and the
directory is claimed, so that no `vestnik up` can start meanwhile.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import msgspec

from contracts.services import OPERATOR
from infra.embedded.nats_server import NatsServer
from infra.runtime import data_dir
from infra.runtime.connections import nats_servers
from infra.runtime.run_file import NotRunning, find
from infra.security.secrets import NATS_PARTIES, Secrets
from infra.settings import Settings


class Store(msgspec.Struct, frozen=True):
    """A NATS server, and the settings to log in there."""

    # With the operator's login, or whatever login the settings name.
    settings: Settings
    # Whether no other process can use it.
    alone: bool
    # The gateway of the system that runs on this machine; empty if none is known.
    gateway_url: str = ""

    def as_party(self, party: str) -> Settings:
        """The settings with the party's own login; unchanged for a server with one shared login.

        Raises:
            MissingSecret: its password is not in the folder of secrets.
            BadSetting: a URL is not valid.
        """
        servers = [_as_party(url, party, self.settings) for url in nats_servers(self.settings.nats_url)]
        return msgspec.structs.replace(self.settings, nats_url=",".join(servers))


@asynccontextmanager
async def reach(settings: Settings, *, make: bool) -> AsyncIterator[Store]:
    """Yields the store for the duration of the context.

    `make`: whether to create one if there is none yet.

    Raises:
        NotRunning: there is nothing in the data directory.
        DataDirUnusable: another process uses it.
    """
    if settings.nats_url:
        yield Store(settings, alone=False)
        return
    try:
        running = find(settings.data_dir)
    except NotRunning:
        if not make and not (settings.data_dir / "nats").is_dir():
            raise
    else:
        settings = msgspec.structs.replace(settings, nats_url=running.nats_url)
        yield Store(settings, alone=False, gateway_url=running.gateway_url)
        return
    claim = await data_dir.claim(settings.data_dir)
    try:
        passwords = Secrets.create(settings.secrets_path).nats_passwords()
        server = NatsServer(settings.data_dir / "nats", passwords=passwords)
        await server.start()
        try:
            yield Store(msgspec.structs.replace(settings, nats_url=server.url_of(OPERATOR)), alone=True)
        finally:
            await server.stop()
    finally:
        os.close(claim)


def _as_party(url: str, party: str, settings: Settings) -> str:
    parts = urlsplit(url)
    if parts.username not in NATS_PARTIES:
        return url
    password = Secrets.load(settings.secrets_path).nats_password(party)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{party}:{password}@{address}"))
