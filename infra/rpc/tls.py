"""Optional mutual TLS between the services: both sides present a certificate and verify the other's.

The files are in the folder of secrets: `tls-ca.pem`, and for each party `tls-<party>.pem` and `tls-<party>.key`. A
certificate names its party (`DNS:<party>`), regardless of the host it runs on. `vestnik up` and `vestnik
deployment-secrets` create missing files (infra/provisioning/certificates.py), or a deployment brings its own.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path

import msgspec
from grpclib.server import Stream

from infra.operator_errors import OperatorError
from infra.settings import Settings

# Application protocols for ALPN.
GRPC, HTTP = "h2", "http/1.1"
_CA = "tls-ca"


class BadCertificate(OperatorError):
    """A certificate or a key in the folder of secrets cannot be used."""


class Tls(msgspec.Struct, frozen=True):
    """TLS options for calling a party."""

    context: ssl.SSLContext
    # The party whose certificate is expected.
    target: str


def server_side(settings: Settings, me: str, protocol: str = GRPC) -> ssl.SSLContext | None:
    """The TLS context of a service; None if TLS is off.

    Raises:
        BadCertificate: a file is missing or cannot be used.
    """
    if settings.rpc_tls == "off":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _loaded(context, settings.secrets_path, me, protocol)


def client_side(settings: Settings, me: str, target: str, protocol: str = GRPC) -> Tls | None:
    """TLS options for a client of a service; None if TLS is off.

    Raises:
        BadCertificate: a file is missing or cannot be used.
    """
    if settings.rpc_tls == "off":
        return None
    return Tls(_loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), settings.secrets_path, me, protocol), target)


def shows(stream: "Stream[object, object]", party: str) -> bool:
    """Whether the caller's certificate names the party; also true for a connection without TLS."""
    certificate = stream.peer.cert()
    return certificate is None or names(certificate, party)


def names(certificate: Mapping[str, object], party: str) -> bool:
    """Whether a certificate, as `ssl` describes it, names the party."""
    alternatives = certificate.get("subjectAltName", ())
    return isinstance(alternatives, tuple) and ("DNS", party) in alternatives


def _loaded(context: ssl.SSLContext, folder: Path, me: str, protocol: str) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([protocol])
    try:
        context.load_verify_locations(folder / f"{_CA}.pem")
        context.load_cert_chain(folder / f"tls-{me}.pem", folder / f"tls-{me}.key")
    except OSError as error:
        raise BadCertificate(f"VESTNIK_RPC_TLS is on, but {_CA}.pem, tls-{me}.pem or .key cannot be used") from error
    return context
