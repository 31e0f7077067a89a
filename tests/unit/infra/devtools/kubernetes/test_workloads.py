"""The manifests of Kubernetes: valid objects, which fit together and fit the services."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import deadlines
from contracts.services import GATEWAY, NOTARY, REGISTRY
from infra.devtools.kubernetes.workloads import USER
from tests.unit.infra.devtools.kubernetes.manifest_checks import all_errors
from tests.unit.infra.devtools.kubernetes.manifests import (
    KUBERNETES,
    OVERLAYS,
    ROOT,
    Manifest,
    base,
    built,
    built_with,
    named,
    of_kind,
    pod_of,
    title,
)


def test_the_manifests_of_the_base_are_valid_and_fit_together() -> None:
    assert all_errors(base(), images=False) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_builds_valid_manifests_that_fit_together(overlay: str) -> None:
    manifests = built(overlay)
    assert all_errors(manifests) == []
    assert {manifest["metadata"].get("namespace", "vestnik") for manifest in manifests} == {"vestnik"}


@pytest.mark.parametrize("service", REGISTRY)
def test_every_service_has_all_its_objects(service: str) -> None:
    manifests = base()
    kubernetes_service = service if service == GATEWAY else f"{service}-headless"
    for kind, name in (
        ("Deployment", service),
        ("ServiceAccount", service),
        ("NetworkPolicy", service),
        ("Service", kubernetes_service),
    ):
        assert named(manifests, kind, name)
    headless = named(manifests, "Service", kubernetes_service)["spec"].get("clusterIP") == "None"
    assert headless is (service != GATEWAY)
    assert pod_of(named(manifests, "Deployment", service))["containers"][0]["args"] == ["serve", service]


@pytest.mark.parametrize("service", REGISTRY)
def test_a_rollout_keeps_every_replica_until_another_is_ready_and_lets_it_drain(service: str) -> None:
    deployment = named(base(), "Deployment", service)
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pod = pod_of(deployment)
    (own_container,) = pod["containers"]
    if service == GATEWAY:
        environ = {variable["name"]: variable["value"] for variable in own_container["env"]}
        noticed = float(environ["VESTNIK_STOP_DELAY_SECONDS"])
    else:
        noticed = own_container["lifecycle"]["preStop"]["sleep"]["seconds"]
    # Clients look up names every two seconds.
    assert noticed > 2
    # Runners and connections are closed after the drain.
    assert pod["terminationGracePeriodSeconds"] >= noticed + deadlines.DRAIN + 5


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_public_host_is_that_of_the_settings_everywhere(overlay: str) -> None:
    manifests = built(overlay)
    host = of_kind(manifests, "ConfigMap")[0]["data"]["VESTNIK_PUBLIC_URL"].removeprefix("https://")
    assert {route["spec"]["hostnames"][0] for route in of_kind(manifests, "HTTPRoute")} == {host}
    listeners = of_kind(manifests, "Gateway")[0]["spec"]["listeners"]
    assert {listener["hostname"] for listener in listeners} == {host}
    assert named(manifests, "Certificate", "public")["spec"]["dnsNames"] == [host]


def test_live_streams_have_no_time_limit_in_the_proxy() -> None:
    rules = named(base(), "HTTPRoute", "gateway")["spec"]["rules"]
    limits = {match["path"]["value"]: rule["timeouts"]["request"] for rule in rules for match in rule["matches"]}
    assert limits == {"/v1/events": "0s", "/v1/ws": "0s", "/": "20s"}
    assert deadlines.REQUEST < 20


def test_a_small_deployment_has_one_replica_of_everything() -> None:
    manifests = built("small")
    assert {deployment["spec"]["replicas"] for deployment in of_kind(manifests, "Deployment")} == {1}
    assert of_kind(manifests, "Cluster")[0]["spec"]["instances"] == 1
    assert of_kind(manifests, "ConfigMap")[0]["data"]["VESTNIK_STREAM_REPLICAS"] == "1"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_to_delete_an_overlay_deletes_no_event(overlay: str) -> None:
    """NATS's volumes are its chart's, in the namespace."""
    assert of_kind(built(overlay), "Namespace", "PersistentVolumeClaim", "StatefulSet") == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_component_of_heads_gives_the_notary_a_volume_and_nothing_else(overlay: str, tmp_path: Path) -> None:
    manifests = built_with(overlay, "heads", tmp_path)
    assert all_errors(manifests) == []
    (own_container,) = pod_of(named(manifests, "Deployment", NOTARY))["containers"]
    environ = {variable["name"]: variable["value"] for variable in own_container["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in own_container["volumeMounts"]}
    assert environ["VESTNIK_HEADS_FOLDER"] == mounts["heads"]
    before = built(overlay)
    changed = [manifest for manifest in manifests if manifest not in before]
    assert [title(manifest) for manifest in changed] == ["PersistentVolumeClaim/notary-heads", "Deployment/notary"]


def test_the_image_is_that_of_this_release() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    images = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())["images"]
    assert next(image["newTag"] for image in images if image["name"] == "vestnik") == project["version"]


def test_the_user_and_the_program_are_those_of_the_image() -> None:
    steps = (ROOT / "infra" / "deployment" / "Containerfile").read_text().splitlines()
    assert f"USER {USER}:{USER}" in steps
    # The arguments of the containers follow it.
    assert 'ENTRYPOINT ["vestnik"]' in steps


# --- Each check finds its defect.

Change = Callable[[list[Manifest]], Any]


def deployment(manifests: list[Manifest]) -> Manifest:
    return named(manifests, "Deployment", "auth")


def container(manifests: list[Manifest]) -> Manifest:
    first: Manifest = pod_of(deployment(manifests))["containers"][0]
    return first


def rename(mapping: Manifest, old: str, new: str) -> None:
    mapping[new] = mapping.pop(old)


DEFECTS: dict[str, tuple[Change, str]] = {
    "a field of a container": (
        lambda m: rename(container(m), "readinessProbe", "readynessProbe"),
        "Deployment/auth: spec.template.spec.containers.0: Additional properties are not allowed ('readynessProbe'",
    ),
    "a probe that is not there": (lambda m: container(m).pop("livenessProbe"), "auth: livenessProbe is missing"),
    "a probe of another port": (
        lambda m: container(m)["livenessProbe"]["httpGet"].update(port="metric"),
        "livenessProbe asks the port metric",
    ),
    "a port twice": (
        lambda m: container(m)["ports"].append({"name": "grpc2", "containerPort": 8081}),
        "Deployment/auth: auth: two of its ports are the same",
    ),
    "a port that is not there": (
        lambda m: container(m)["ports"].pop(0),
        "Service/auth-headless: Deployment/auth has no port grpc",
    ),
    "a selector": (
        lambda m: named(m, "Service", "auth-headless")["spec"]["selector"].update({"app.kubernetes.io/name": "aut"}),
        "selects no pod",
    ),
    "a policy of other pods": (
        lambda m: named(m, "NetworkPolicy", "auth")["spec"]["podSelector"]["matchLabels"].update(
            {"app.kubernetes.io/name": "aut"}
        ),
        "NetworkPolicy/auth: ",
    ),
    "a ConfigMap": (
        lambda m: container(m)["envFrom"][0]["configMapRef"].update(name="settings"),
        "Deployment/auth: there is no ConfigMap settings",
    ),
    "a Secret": (
        lambda m: pod_of(deployment(m))["volumes"][1]["secret"].update(secretName="vestnik-aut"),
        "Deployment/auth: there is no Secret vestnik-aut",
    ),
    "an account": (
        lambda m: pod_of(deployment(m)).update(serviceAccountName="default"),
        "there is no ServiceAccount default",
    ),
    "a setting": (
        lambda m: container(m)["env"].append({"name": "VESTNIK_DATABSE_URL", "value": "x"}),
        "VESTNIK_DATABSE_URL is not a setting",
    ),
    "a value of a setting": (
        lambda m: of_kind(m, "ConfigMap")[0]["data"].update(VESTNIK_STREAM_REPLICAS="2"),
        "VESTNIK_STREAM_REPLICAS='2' is invalid",
    ),
    "a listener on the loopback address": (
        lambda m: container(m)["env"].pop(1),
        "it listens at the loopback address for its port metrics",
    ),
    "an address": (
        lambda m: of_kind(m, "ConfigMap")[0]["data"].update(VESTNIK_CONTACT_ADDRESS="dns:///contact:8085"),
        "contact does not answer at contact:8085",
    ),
    "a file that is not mounted": (
        lambda m: container(m)["volumeMounts"].pop(1),
        "VESTNIK_NATS_CA=/run/vestnik/secrets/tls-ca.pem is not mounted",
    ),
    "service links": (
        lambda m: pod_of(deployment(m)).pop("enableServiceLinks"),
        "service links may become unknown settings",
    ),
    "root": (lambda m: pod_of(deployment(m))["securityContext"].pop("runAsNonRoot"), "it may run as root"),
    "a writable root": (
        lambda m: container(m)["securityContext"].pop("readOnlyRootFilesystem"),
        "its root file system can be written",
    ),
    "capabilities": (
        lambda m: container(m)["securityContext"].pop("capabilities"),
        "it may have more rights than its user",
    ),
    "no limit of memory": (lambda m: container(m)["resources"].pop("limits"), "it requests or limits nothing"),
    "the latest image": (
        lambda m: container(m).update(image="registry.example.org/vestnik:latest@sha256:" + "0" * 64),
        "the image registry.example.org/vestnik:latest@",
    ),
    "an image without a digest": (
        lambda m: container(m).update(image="registry.example.org/vestnik:0.2.0"),
        "has no registry, tag and digest",
    ),
    "a field of a Cluster": (
        lambda m: rename(of_kind(m, "Cluster")[0]["spec"], "storage", "storge"),
        "Cluster/vestnik-postgres: spec.storge is not a field",
    ),
    "a number in place of a text": (
        lambda m: of_kind(m, "Cluster")[0]["spec"]["postgresql"]["parameters"].update(max_connections=300),
        "spec.postgresql.parameters.max_connections is 300",
    ),
    "a time limit of a route": (
        lambda m: named(m, "HTTPRoute", "gateway")["spec"]["rules"][0]["timeouts"].update(request=0),
        "HTTPRoute/gateway: spec.rules[0].timeouts.request is 0",
    ),
    "a port of a route": (
        lambda m: named(m, "HTTPRoute", "gateway")["spec"]["rules"][0]["backendRefs"][0].update(port=8081),
        "HTTPRoute/gateway: Service gateway has no port 8081",
    ),
    "a port of a monitor": (
        lambda m: named(m, "PodMonitor", "vestnik")["spec"]["podMetricsEndpoints"][0].update(port="prometheus"),
        "PodMonitor/vestnik: Deployment/auth has no port prometheus",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_check_names_the_object_and_what_is_wrong_with_it(defect: str) -> None:
    change, message = DEFECTS[defect]
    manifests = base()
    change(manifests)
    assert any(message in error for error in all_errors(manifests))
