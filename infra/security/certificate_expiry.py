"""Metric of when the certificates of a process expire, for alerts."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cryptography import x509
from prometheus_client import Gauge

from infra.settings import Settings

EXPIRY = Gauge(
    "vestnik_certificate_expiry_timestamp_seconds",
    "When the first certificate in a file expires; no number if the file cannot be read.",
    ("certificate",),
)


def report_expiry(settings: Settings, me: str, gauge: Gauge = EXPIRY) -> None:
    """Exports the expiry of each certificate file that the process uses, labelled with the file's path.

    The files are read at each scrape, since they may be replaced while the process runs.
    """
    for path in _files(settings, me):
        gauge.labels(str(path)).set_function(partial(_expires, path))


def _files(settings: Settings, me: str) -> Iterator[Path]:
    if settings.rpc_tls == "on":
        yield from (settings.secrets_path / name for name in ("tls-ca.pem", f"tls-{me}.pem"))
    # Of the server in front of the gateways, where `vestnik deployment-secrets` put it.
    if (edge := settings.secrets_path / "edge.pem").exists():
        yield edge
    yield from (Path(file) for file in (settings.nats_ca, settings.nats_certificate) if file)


def _expires(path: Path) -> float:
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return math.nan
    return min(certificate.not_valid_after_utc.timestamp() for certificate in certificates)
