"""The expiry of certificates is that of the present files."""

import math
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from prometheus_client import CollectorRegistry, Gauge

from infra.provisioning.certificates import make_certificates
from infra.security.certificate_expiry import report_expiry
from infra.settings import Settings

NAME = "vestnik_certificate_expiry_timestamp_seconds"


def test_each_certificate_that_the_process_uses_has_the_expiry_of_its_present_file(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    registry = CollectorRegistry()
    settings = Settings(rpc_tls="on", secrets_dir=str(tmp_path), nats_ca=str(tmp_path / "nats-ca.pem"))
    report_expiry(settings, "auth", Gauge(NAME, "When.", ("certificate",), registry=registry))

    def expiry(file: str) -> float:
        value = registry.get_sample_value(NAME, {"certificate": str(tmp_path / file)})
        assert value is not None
        return value

    path = tmp_path / "tls-auth.pem"
    assert expiry("tls-auth.pem") == x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    assert expiry("tls-ca.pem") > datetime.now(UTC).timestamp()
    # Not there yet; reported once it is.
    assert math.isnan(expiry("nats-ca.pem"))
    (tmp_path / "nats-ca.pem").write_bytes((tmp_path / "tls-ca.pem").read_bytes())
    assert expiry("nats-ca.pem") == expiry("tls-ca.pem")
    path.write_text("no certificate", encoding="utf-8")
    assert math.isnan(expiry("tls-auth.pem"))


def test_a_process_without_tls_has_no_certificates() -> None:
    registry = CollectorRegistry()
    report_expiry(Settings(), "auth", Gauge(NAME, "When.", ("certificate",), registry=registry))
    assert next(iter(registry.collect())).samples == []


def test_a_gateway_reports_the_certificate_of_the_server_in_front_of_it(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    (tmp_path / "tls-auth.pem").rename(tmp_path / "edge.pem")
    registry = CollectorRegistry()
    report_expiry(
        Settings(secrets_dir=str(tmp_path)), "gateway", Gauge(NAME, "When.", ("certificate",), registry=registry)
    )
    expiry = registry.get_sample_value(NAME, {"certificate": str(tmp_path / "edge.pem")})
    assert expiry is not None
    assert expiry > datetime.now(UTC).timestamp()
