"""Replicas in three zones: how many, where, and how many of them may be unavailable."""

import pytest

from contracts.services import REGISTRY, SERVICES
from projections.registry import owned_by
from tests.unit.infra.devtools.kubernetes.manifests import built, named, of_kind, pod_of

# The operator's page keeps its active sessions in memory, and one notary signs all streams.
REPLICATED = sorted(service.name for service in REGISTRY.values() if not service.optional)


@pytest.mark.parametrize("kind", ["PodDisruptionBudget", "HorizontalPodAutoscaler"])
def test_every_service_that_the_messenger_needs_has_one(kind: str) -> None:
    names = [manifest["metadata"]["name"] for manifest in of_kind(built("three-zones"), kind)]
    assert sorted(names) == REPLICATED


@pytest.mark.parametrize("service", REPLICATED)
def test_a_service_has_two_replicas_at_least_and_loses_one_at_most(service: str) -> None:
    manifests = built("three-zones")
    assert named(manifests, "HorizontalPodAutoscaler", service)["spec"]["minReplicas"] >= 2
    budget = named(manifests, "PodDisruptionBudget", service)["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == named(manifests, "Deployment", service)["spec"]["selector"]


@pytest.mark.parametrize("service", REGISTRY)
def test_replicas_are_in_different_zones_and_the_autoscaler_alone_counts_them(service: str) -> None:
    deployment = named(built("three-zones"), "Deployment", service)
    # A number here would undo the autoscaler's at each `kubectl apply`.
    assert "replicas" not in deployment["spec"]
    zones, hosts = pod_of(deployment)["topologySpreadConstraints"]
    assert (zones["topologyKey"], zones["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "DoNotSchedule")
    assert hosts["topologyKey"] == "kubernetes.io/hostname"
    # A zone whose nodes all refuse the pods would hold back the replicas in the others.
    assert zones["nodeTaintsPolicy"] == "Honor"
    assert zones["labelSelector"] == deployment["spec"]["selector"]


def test_the_servers_are_three_and_the_streams_have_as_many_replicas() -> None:
    manifests = built("three-zones")
    postgres = of_kind(manifests, "Cluster")[0]["spec"]
    assert (postgres["instances"], postgres["affinity"]["podAntiAffinityType"]) == (3, "required")
    assert of_kind(manifests, "ConfigMap")[0]["data"]["VESTNIK_STREAM_REPLICAS"] == "3"


def test_postgresql_accepts_the_connections_of_all_replicas_during_a_rollout() -> None:
    manifests = built("three-zones")
    most_replicas = {
        autoscaler["metadata"]["name"]: autoscaler["spec"]["maxReplicas"]
        for autoscaler in of_kind(manifests, "HorizontalPodAutoscaler")
    }
    # The pool, one for each read model, and those that wait for notices and watch the server.
    connections = {service: 8 + len(owned_by(service)) + 2 for service in SERVICES}
    total = sum((most_replicas.get(service, 1) + 1) * number for service, number in connections.items())
    parameters = of_kind(manifests, "Cluster")[0]["spec"]["postgresql"]["parameters"]
    assert total <= int(parameters["max_connections"])
