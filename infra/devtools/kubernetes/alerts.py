"""The alerting rules for Prometheus as an object of the Prometheus operator."""

from pathlib import Path

from infra.devtools.kubernetes.objects import manifest, text_of

RULES = Path(__file__).resolve().parents[2] / "deployment" / "alerts.yml"


def alerts_file() -> str:
    import yaml  # here, since it is for development alone

    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return text_of(
        [manifest("monitoring.coreos.com/v1", "PrometheusRule", "vestnik", spec=rules)],
        "The rules of ../../alerts.yml.",
    )
