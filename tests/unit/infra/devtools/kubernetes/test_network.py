"""NetworkPolicies let through the calls of the table, and what every service needs, in both directions."""

from collections.abc import Iterator
from typing import Any

import pytest

from contracts.services import BESIDE, GATEWAY, OPERATOR, REGISTRY, RPC_PERMISSIONS, RPC_SERVICES
from tests.unit.infra.devtools.kubernetes.manifests import Manifest, base, named, of_kind

# From where to where, at which port.
Connection = tuple[str, str, int]
NATS_PODS = {"app.kubernetes.io/name": "nats", "app.kubernetes.io/component": "nats"}
POSTGRES_PODS = {"cnpg.io/cluster": "vestnik-postgres"}
# By name: the labels of pods in this namespace, and those of namespaces with others.
PODS = {
    **{name: {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "vestnik"} for name in REGISTRY},
    **{
        name: {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "vestnik"}
        for name in ("streams", "postgres-logins")
    },
    "nats": NATS_PODS,
    "postgres": POSTGRES_PODS,
}
NAMESPACES = {
    "proxy": {"vestnik-role": "ingress"},
    "prometheus": {"vestnik-role": "monitoring"},
    "cnpg": {"kubernetes.io/metadata.name": "cnpg-system"},
    "dns": {"kubernetes.io/metadata.name": "kube-system"},
    "stranger": {"kubernetes.io/metadata.name": "default"},
}
PORTS = (
    53,
    *(service.port for service in REGISTRY.values()),
    *(service.port + BESIDE for service in REGISTRY.values()),
    REGISTRY["profile"].rest_port,
    4222,
    6222,
    7777,
    5432,
    8000,
    9187,
    4318,
)


def permitted_calls() -> set[Connection]:
    """The calls of the table, and the operator's health checks of all services."""
    calls = set()
    for method, callers in RPC_PERMISSIONS.items():
        callee = REGISTRY[method.split(".")[1]]
        calls |= {(caller, callee.name, callee.port) for caller in callers}
    calls |= {(OPERATOR, name, REGISTRY[name].port) for name in RPC_SERVICES if name != OPERATOR}
    profile = REGISTRY["profile"]
    return calls | {(caller, name, profile.rest_port) for caller, name, _ in calls if name == profile.name}


def one_way(manifests: list[Manifest], direction: str) -> set[Connection]:
    """The connections that the policies of one direction let through, `ingress` or `egress`."""
    let_through = set()
    for name, labels in PODS.items():
        for policy in of_kind(manifests, "NetworkPolicy"):
            selector = policy["spec"]["podSelector"].get("matchLabels", {})
            if not selector.items() <= labels.items():
                continue
            for rule in policy["spec"].get(direction, []):
                for peer in _peers(rule["from" if direction == "ingress" else "to"]):
                    ports = {port["port"] for port in rule["ports"]} if "ports" in rule else set(PORTS)
                    let_through |= {
                        (peer, name, port) if direction == "ingress" else (name, peer, port) for port in ports
                    }
    return let_through


def _peers(selectors: list[dict[str, Any]]) -> Iterator[str]:
    for selector in selectors:
        if "ipBlock" in selector:
            yield "anywhere"
        elif "namespaceSelector" in selector:
            selected = selector["namespaceSelector"]["matchLabels"]
            yield from (name for name, labels in NAMESPACES.items() if selected.items() <= labels.items())
        else:
            selected = selector["podSelector"]["matchLabels"]
            yield from (name for name, labels in PODS.items() if selected.items() <= labels.items())


def between(connections: set[Connection], names: Any) -> set[Connection]:  # noqa: ANN401 - a collection of names
    return {(one, other, port) for one, other, port in connections if one in names and other in names}


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_the_services_may_connect_exactly_as_the_table_of_calls_says(direction: str) -> None:
    assert between(one_way(base(), direction), REGISTRY) == permitted_calls()


def test_traffic_that_is_not_listed_is_denied_in_both_directions_for_all_pods() -> None:
    policy = named(base(), "NetworkPolicy", "default-deny")["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []}


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_nats_and_postgresql_are_reached_by_those_that_use_them(direction: str) -> None:
    stores = {
        connection
        for connection in one_way(base(), direction)
        if connection[1] in ("nats", "postgres") and connection[0] not in NAMESPACES
    }
    readers = {service.name for service in REGISTRY.values() if service.read_models}
    assert stores == {
        *((name, "nats", 4222) for name in (*REGISTRY, "streams")),
        *((name, "postgres", 5432) for name in (*readers, "postgres-logins")),
        ("nats", "nats", 6222),
        ("postgres", "postgres", 5432),
        ("postgres", "postgres", 8000),
    }


def test_from_outside_of_the_namespace_only_proxy_prometheus_and_cloudnativepg_get_in() -> None:
    outside = {connection for connection in one_way(base(), "ingress") if connection[0] in NAMESPACES}
    assert outside == {
        ("proxy", GATEWAY, REGISTRY[GATEWAY].port),
        *(("prometheus", service.name, service.port + BESIDE) for service in REGISTRY.values()),
        ("prometheus", "nats", 7777),
        ("prometheus", "postgres", 9187),
        ("cnpg", "postgres", 5432),
        ("cnpg", "postgres", 8000),
    }


def test_only_auth_reaches_mail_servers_and_only_postgresql_the_kubernetes_api() -> None:
    anywhere = {connection for connection in one_way(base(), "egress") if connection[1] == "anywhere"}
    assert anywhere == {
        *(("auth", "anywhere", port) for port in (25, 465, 587)),
        *(("postgres", "anywhere", port) for port in (443, 6443)),
    }


def test_all_pods_find_names() -> None:
    assert {(name, "dns", 53) for name in PODS} <= one_way(base(), "egress")


def test_a_call_that_leaves_the_table_leaves_the_policies() -> None:
    """The comparison above notices a single extra peer."""
    manifests = base()
    rule = named(manifests, "NetworkPolicy", "session")["spec"]["ingress"][0]
    rule["from"].append({"podSelector": {"matchLabels": PODS["contact"]}})
    extra = between(one_way(manifests, "ingress"), REGISTRY) - permitted_calls()
    assert extra == {("contact", "session", REGISTRY["session"].port)}
