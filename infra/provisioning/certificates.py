"""The deployment's own certificate authority, with certificates for the services and for the servers that they use.

The files are in the folder of secrets: `tls-ca.pem` and its key, `tls-<party>.pem` for each service (infra/rpc/tls.py),
and `server-<name>.pem` for servers that are reached by host names.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.durable_files import replace
from infra.operator_errors import OperatorError
from infra.security.secret_files import locked
from infra.security.secrets import PARTIES

CA = "tls-ca"
_ISSUER = "Vestnik"
_LIFE = timedelta(days=3650)
# Browsers refuse certificates of servers that are valid for longer. Those of other servers are made after the
# authority's and valid for as long: it expires first, and has an alert (infra/security/certificate_expiry.py).
_BROWSERS_LIFE = timedelta(days=397)


class OtherHosts(OperatorError):
    """A server's certificate does not name all of its hosts."""

    def __init__(self, path: Path, hosts: Sequence[str]) -> None:
        super().__init__(f"{path} is not valid for {', '.join(hosts)}: move it away, and a new one is made")


def make_certificates(folder: Path) -> None:
    """Creates the authority and a certificate for each party, where missing."""
    with locked(folder):
        if not (folder / f"{CA}.pem").exists():
            key = ec.generate_private_key(ec.SECP256R1())
            _write(folder, CA, key, _signed(_ISSUER, key, key, _LIFE))
        authority = _authority(folder)
        for party in PARTIES:
            if not (folder / f"tls-{party}.pem").exists():
                key = ec.generate_private_key(ec.SECP256R1())
                _write(folder, f"tls-{party}", key, _signed(party, key, authority, _LIFE, [party]))


def make_server_certificate(folder: Path, name: str, hosts: Sequence[str], *, for_browsers: bool = False) -> None:
    """Creates the certificate `server-<name>.pem` for these hosts, if it is missing; the authority must exist.

    Raises:
        OtherHosts: there is one, from this authority, and it does not name all of the hosts.
    """
    path = folder / f"server-{name}.pem"
    with locked(folder):
        if not path.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            life = _BROWSERS_LIFE if for_browsers else _LIFE
            _write(folder, path.stem, key, _signed(name, key, _authority(folder), life, hosts))
            return
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if certificate.issuer != _named(_ISSUER):
        return  # the deployment's own, which may have a wildcard
    named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if missing := [host for host in hosts if _general_name(host) not in named]:
        raise OtherHosts(path, missing)


def _authority(folder: Path) -> ec.EllipticCurvePrivateKey:
    authority = serialization.load_pem_private_key((folder / f"{CA}.key").read_bytes(), password=None)
    assert isinstance(authority, ec.EllipticCurvePrivateKey)
    return authority


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    authority: ec.EllipticCurvePrivateKey,
    life: timedelta,
    hosts: Sequence[str] = (),
) -> x509.Certificate:
    now, own = datetime.now(UTC), key is authority
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(_ISSUER))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Allows for clock skew.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=own, path_length=0 if own else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )
    if not own:
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(x509.SubjectAlternativeName(map(_general_name, hosts)), critical=False)
        builder = builder.add_extension(usages, critical=False)
    return builder.sign(authority, hashes.SHA256())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """Writes the certificate last: if it exists, so does its key."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    replace(folder / f"{name}.key", pem)
    replace(folder / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))
