"""The secrets of a deployment: one folder with all of them, and one for each party and server with what it needs.

The folder `secrets` is the source, and the folder of secrets of the operators' command line. What is in it is created
once and never overwritten. The folders beside it are made out of it again at each run, so that a rotated key or a
replaced certificate reaches them; each is mounted read-only by the one that needs it, or becomes a Secret in
Kubernetes.
"""

import os
import re
import secrets as random
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from contracts.services import GATEWAY, NOTARY, OPERATOR
from contracts.subjects import BUCKETS, DATA_KEYS
from infra.durable_files import replace
from infra.operator_errors import OperatorError
from infra.provisioning.certificates import CA, make_certificates, make_server_certificate
from infra.security import access_keys, operator_accounts, position_keys, sealing_keys
from infra.security.nats_permissions import accounts
from infra.security.notary import keys as notary_keys
from infra.security.postgres_roles import role_of, statements
from infra.security.secret_files import locked
from infra.security.secrets import DATABASE_PARTIES, NATS_PARTIES, PARTIES, TOPOLOGY, Secrets

SOURCE = "secrets"
# Where each party finds its folder; the URLs of databases name the authority there.
MOUNTED = Path("/run/vestnik/secrets")
NATS, POSTGRES, EDGE, GRAFANA = "nats", "postgres", "edge", "grafana"
# Not a secret: where the notary writes its signed heads, as long as they have no better place.
HEADS = "heads"
# Users of the containers that read the folders; given by root alone, since no one else can.
_SERVICE_USER = 10001
_USERS = {NATS: 0, POSTGRES: 999, EDGE: 101, GRAFANA: 472}
# Keys in the source that every party needs; patterns of file names.
_KEYS_OF_ALL = ("services.json", "logs.key")
# For the owner and the readers of the data keys: the keys that these are wrapped with.
_MASTER_KEYS = f"{sealing_keys.PERSONAL_DATA.name}-*.key"
# Keys that a party needs besides.
_KEYS: Mapping[str, Sequence[str]] = {
    "auth": ("claims.key", "mail.key", "password.key", "devices.key", f"{sealing_keys.TOTP.name}-*.key", "smtp-url"),
    "session": ("refresh.key", access_keys.JWKS, "access-*.pem"),
    GATEWAY: ("limits.key", access_keys.JWKS, f"{position_keys.FILES.name}-*.key"),
    OPERATOR: (operator_accounts.FILE,),
    NOTARY: (notary_keys.JWKS, notary_keys.PATTERN),
}
# In a URL that a program reads by commas and in a shell's word.
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?\Z")


class BadHost(OperatorError):
    """A host's name is not valid."""


class Servers(msgspec.Struct, frozen=True, kw_only=True):
    """The servers that the services connect to, by the names with which they reach them; `host` or `host:port`."""

    nats: Sequence[str] = ("nats-1", "nats-2", "nats-3")
    postgres: Sequence[str] = ("postgres-1", "postgres-2")
    database: str = "vestnik"
    # The host in the address that clients use, with its port if that is not 443.
    public: str = "localhost"
    smtp_url: str = "smtp://mailpit:1025?tls=off"

    def __post_init__(self) -> None:
        """
        Raises:
            BadHost: a host's name is not valid.
        """
        for host in (*self.nats, *self.postgres, self.public):
            if not _HOST.match(host):
                raise BadHost(f"{host!r} is not the name of a host")


def make(folder: Path, servers: Servers) -> list[str]:
    """Creates what is missing in the source, and makes the other folders out of it; returns their names.

    Raises:
        OtherHosts: the certificate of a server does not name all of its hosts.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    source = folder / SOURCE
    secrets = Secrets.create(source)
    make_certificates(source)
    for name, hosts in ((NATS, servers.nats), (POSTGRES, servers.postgres), (EDGE, [servers.public])):
        names = [host.partition(":")[0] for host in hosts]
        make_server_certificate(source, name, names, for_browsers=name == EDGE)
    with locked(source):
        for name, content in (
            ("nats-cluster.password", random.token_hex(24)),
            ("grafana.password", random.token_urlsafe(18)),
            ("smtp-url", servers.smtp_url),
        ):
            if not (source / name).exists():
                replace(source / name, content.encode())
    # Of two runs at once the second fills the folders after the first.
    with locked(source):
        contents = _contents(source, secrets, servers)
        for name, files in contents.items():
            _fill(folder / name, files)
        (folder / HEADS).mkdir(exist_ok=True, mode=0o700)
        if os.geteuid() == 0:
            # Users of the folders in it may enter it, whatever the umask.
            folder.chmod(0o711)
            for name in (SOURCE, HEADS, *contents):
                _give(folder / name, _USERS.get(name, _SERVICE_USER))
    return list(contents)


def _contents(source: Path, secrets: Secrets, servers: Servers) -> dict[str, dict[str, bytes]]:
    """The files of each folder but the source: name and content."""
    ca = {f"{CA}.pem": (source / f"{CA}.pem").read_bytes()}
    contents: dict[str, dict[str, bytes]] = {}
    for party in PARTIES:
        patterns = [f"service-{party}.pem", *_KEYS_OF_ALL, f"tls-{party}.*", *_KEYS.get(party, ())]
        if party in (BUCKETS[DATA_KEYS].owner, *BUCKETS[DATA_KEYS].readers):
            patterns.append(_MASTER_KEYS)
        files = {path.name: path.read_bytes() for pattern in patterns for path in source.glob(pattern)}
        contents[party] = ca | files | {"nats-url": _nats_url(secrets, party, servers)}
        if party in DATABASE_PARTIES:
            contents[party]["database-url"] = _database_url(secrets, party, servers)
    contents[TOPOLOGY] = ca | {"nats-url": _nats_url(secrets, TOPOLOGY, servers)}
    block = {"accounts": accounts({party: secrets.nats_password(party) for party in NATS_PARTIES})}
    contents[NATS] = {
        "accounts.conf": msgspec.json.format(msgspec.json.encode(block)),
        "cluster.conf": _routes((source / "nats-cluster.password").read_text(), servers.nats),
    }
    passwords = secrets.database_passwords()
    contents[POSTGRES] = {
        "postgres.password": secrets.postgres_password.encode(),
        "logins.sql": "".join(f"{statement};\n" for statement in statements(servers.database, passwords)).encode(),
    }
    # The gateways report when it expires, since nginx does not.
    contents[GATEWAY]["edge.pem"] = (source / f"server-{EDGE}.pem").read_bytes()
    contents[EDGE] = {"redirect.conf": f"return 301 https://{servers.public}$request_uri;\n".encode()}
    for name in (NATS, POSTGRES, EDGE):
        contents[name] |= ca
        for suffix in ("pem", "key"):
            contents[name][f"server.{suffix}"] = (source / f"server-{name}.{suffix}").read_bytes()
    contents[GRAFANA] = {"admin.password": (source / "grafana.password").read_bytes()}
    return contents


def _nats_url(secrets: Secrets, party: str, servers: Servers) -> bytes:
    login = f"{party}:{secrets.nats_password(party)}"
    return ",".join(f"tls://{login}@{_with_port(host, 4222)}" for host in servers.nats).encode()


def _database_url(secrets: Secrets, party: str, servers: Servers) -> bytes:
    hosts = ",".join(_with_port(host, 5432) for host in servers.postgres)
    parameters = f"target_session_attrs=read-write&sslmode=verify-full&sslrootcert={MOUNTED / CA}.pem"
    login = f"{role_of(party)}:{secrets.database_password(party)}"
    return f"postgresql://{login}@{hosts}/{servers.database}?{parameters}".encode()


def _routes(password: str, hosts: Sequence[str]) -> bytes:
    """The part of a NATS server's `cluster` block that holds a password."""
    routes = ",\n  ".join(f'"tls://cluster:{password}@{host.partition(":")[0]}:6222"' for host in hosts)
    return f'authorization {{ user: cluster, password: "{password}" }}\nroutes: [\n  {routes}\n]\n'.encode()


def _with_port(host: str, port: int) -> str:
    return host if ":" in host else f"{host}:{port}"


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files that differ, and removes files that are not among them."""
    folder.mkdir(exist_ok=True, mode=0o700)
    for name, content in files.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            replace(path, content)
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()


def _give(folder: Path, user: int) -> None:
    for path in (folder, *folder.iterdir()):
        os.chown(path, user, user)
