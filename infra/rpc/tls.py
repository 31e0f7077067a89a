"""Optional mutual TLS between the services: both sides present a certificate and verify the other's.

The files are in the folder of secrets: `tls-ca.pem`, and for each party `tls-<party>.pem` and `tls-<party>.key`. A
certificate names its party (`DNS:<party>`), regardless of the host it runs on. `vestnik up` creates missing files; a
deployment brings its own.
"""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from grpclib.server import Stream

from infra.operator_errors import OperatorError
from infra.security.secret_files import locked, replace
from infra.security.secrets import PARTIES
from infra.settings import Settings

# Application protocols for ALPN.
GRPC, HTTP = "h2", "http/1.1"
_CA = "tls-ca"
_LIFE = timedelta(days=3650)


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


def make_certificates(folder: Path) -> None:
    """Creates the deployment's own CA and a certificate for each party, where missing."""
    with locked(folder):
        if not (folder / f"{_CA}.pem").exists():
            key = ec.generate_private_key(ec.SECP256R1())
            _write(folder, _CA, key, _signed("Vestnik", key, "Vestnik", key))
        authority = serialization.load_pem_private_key((folder / f"{_CA}.key").read_bytes(), password=None)
        assert isinstance(authority, ec.EllipticCurvePrivateKey)
        for party in PARTIES:
            if not (folder / f"tls-{party}.pem").exists():
                key = ec.generate_private_key(ec.SECP256R1())
                _write(folder, f"tls-{party}", key, _signed(party, key, "Vestnik", authority))


def _loaded(context: ssl.SSLContext, folder: Path, me: str, protocol: str) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([protocol])
    try:
        context.load_verify_locations(folder / f"{_CA}.pem")
        context.load_cert_chain(folder / f"tls-{me}.pem", folder / f"tls-{me}.key")
    except OSError as error:
        raise BadCertificate(f"VESTNIK_RPC_TLS is on, but {_CA}.pem, tls-{me}.pem or .key cannot be used") from error
    return context


def _signed(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, authority: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    now, own = datetime.now(UTC), key is authority
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Allows for clock skew.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=own, path_length=0 if own else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )
    if not own:
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        builder = builder.add_extension(usages, critical=False)
    return builder.sign(authority, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """Writes the certificate last: if it exists, so does its key."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    replace(folder / f"{name}.key", pem)
    replace(folder / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))
