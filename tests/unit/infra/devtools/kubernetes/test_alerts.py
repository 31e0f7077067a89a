"""The alerting rules in Kubernetes are those for any Prometheus."""

import yaml

from infra.devtools.kubernetes.alerts import RULES
from tests.unit.infra.devtools.kubernetes.manifests import base, named


def test_the_rules_are_those_of_the_file_for_prometheus() -> None:
    assert named(base(), "PrometheusRule", "vestnik")["spec"] == yaml.safe_load(RULES.read_text())
