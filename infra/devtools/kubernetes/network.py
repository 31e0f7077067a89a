"""NetworkPolicies, generated from the table of permitted calls: only callers of a service can connect to it."""

from collections.abc import Iterable, Iterator
from typing import Any

from contracts.services import BESIDE, GATEWAY, OPERATOR, REGISTRY, RPC_SERVICES, Service, dependencies
from infra.devtools.kubernetes.jobs import POSTGRES_LOGINS, STREAMS
from infra.devtools.kubernetes.objects import PART_OF, VESTNIK, Manifest, call_ports, labels, pods_of, text_of

NATS_PODS: dict[str, Any] = {"matchLabels": {"app.kubernetes.io/name": "nats", "app.kubernetes.io/component": "nats"}}
POSTGRES_PODS: dict[str, Any] = {"matchLabels": {"cnpg.io/cluster": "vestnik-postgres"}}
# An operator of the cluster labels the namespaces of the proxy in front and of Prometheus.
ROLE = "vestnik-role"
NATS, NATS_ROUTES, NATS_METRICS = 4222, 6222, 7777
POSTGRES, POSTGRES_STATUS, POSTGRES_METRICS = 5432, 8000, 9187
_OTLP = 4318
_SMTP = (25, 465, 587)
_API_SERVER = (443, 6443)


def network_file() -> str:
    about = (
        "Nothing is reachable but what is listed here: the calls of the table in contracts/services.py, NATS,\n"
        "PostgreSQL, DNS, mail servers, and the metrics for Prometheus. The operator's process also asks every\n"
        "service for its health, for the page at /ops."
    )
    return text_of(_policies(), about)


def called_by(service: str) -> list[str]:
    """The services that it may connect to."""
    return [name for name in RPC_SERVICES if service != name and (name in dependencies(service) or service == OPERATOR)]


def callers_of(service: str) -> list[str]:
    return [name for name in REGISTRY if service in called_by(name)]


def _policies() -> Iterator[Manifest]:
    yield _policy("default-deny", {}, ingress=[], egress=[])
    yield _policy(
        "dns", {}, egress=[_rule("to", [_namespace("kubernetes.io/metadata.name", "kube-system")], udp=(53,))]
    )
    for service in REGISTRY.values():
        yield _policy(service.name, pods_of(service.name), ingress=_ingress(service), egress=_egress(service))
    yield _policy(STREAMS, pods_of(STREAMS), egress=[_to(NATS_PODS, NATS)])
    yield _policy(POSTGRES_LOGINS, pods_of(POSTGRES_LOGINS), egress=[_to(POSTGRES_PODS, POSTGRES)])
    yield _policy(
        "nats",
        NATS_PODS,
        ingress=[
            _rule("from", [*map(_pods, REGISTRY), _pods(STREAMS)], (NATS,)),
            _rule("from", [{"podSelector": NATS_PODS}], (NATS_ROUTES,)),
            _from_monitoring(NATS_METRICS),
        ],
        egress=[_to(NATS_PODS, NATS_ROUTES)],
    )
    readers = [service.name for service in REGISTRY.values() if service.read_models]
    yield _policy(
        "postgres",
        POSTGRES_PODS,
        ingress=[
            _rule("from", [*map(_pods, readers), _pods(POSTGRES_LOGINS)], (POSTGRES,)),
            _rule(
                "from",
                [{"podSelector": POSTGRES_PODS}, _namespace("kubernetes.io/metadata.name", "cnpg-system")],
                (POSTGRES, POSTGRES_STATUS),
            ),
            _from_monitoring(POSTGRES_METRICS),
        ],
        egress=[
            _to(POSTGRES_PODS, POSTGRES, POSTGRES_STATUS),
            # Its instance manager works with the Kubernetes API, whose address no selector knows.
            _rule("to", _ANYWHERE, _API_SERVER),
        ],
    )
    yield _policy(
        "certificate-challenges",
        {"matchLabels": {"acme.cert-manager.io/http01-solver": "true"}},
        ingress=[_rule("from", [_namespace(ROLE, "ingress")], (8089,))],
    )


def _ingress(service: Service) -> list[dict[str, Any]]:
    if service.name == GATEWAY:
        callers = [_namespace(ROLE, "ingress")]
    else:
        callers = [_pods(name) for name in callers_of(service.name)]
    return [_rule("from", callers, call_ports(service.name)), _from_monitoring(service.port + BESIDE)]


def _egress(service: Service) -> list[dict[str, Any]]:
    rules = [_to(pods_of(name), *call_ports(name)) for name in called_by(service.name)]
    rules.append(_to(NATS_PODS, NATS))
    if service.read_models:
        rules.append(_to(POSTGRES_PODS, POSTGRES))
    if service.name == "auth":
        rules.append(_rule("to", _ANYWHERE, _SMTP))
    if service.name == OPERATOR:
        # It asks whether the gateway is ready at its public address, as clients reach it.
        rules.append({"to": [_namespace(ROLE, "ingress")]})
    # Traces.
    rules.append(_rule("to", [_namespace(ROLE, "monitoring")], (_OTLP,)))
    return rules


_ANYWHERE: list[dict[str, Any]] = [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]


def _to(selector: dict[str, Any], *ports: int) -> dict[str, Any]:
    return _rule("to", [{"podSelector": selector}], ports)


def _from_monitoring(port: int) -> dict[str, Any]:
    return _rule("from", [_namespace(ROLE, "monitoring")], (port,))


def _rule(
    direction: str, peers: list[dict[str, Any]], tcp: Iterable[int] = (), udp: Iterable[int] = ()
) -> dict[str, Any]:
    udp = list(udp)
    listed = [{"protocol": "UDP", "port": port} for port in udp]
    return {direction: peers, "ports": listed + [{"protocol": "TCP", "port": port} for port in (*udp, *tcp)]}


def _pods(name: str) -> dict[str, Any]:
    return {"podSelector": pods_of(name)}


def _namespace(label: str, value: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {label: value}}}


def _policy(
    name: str,
    selector: dict[str, Any],
    *,
    ingress: list[dict[str, Any]] | None = None,
    egress: list[dict[str, Any]] | None = None,
) -> Manifest:
    rules = {kind: rules for kind, rules in (("ingress", ingress), ("egress", egress)) if rules is not None}
    known = labels(name) if name in REGISTRY else {PART_OF: VESTNIK}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": known},
        "spec": {"podSelector": selector, "policyTypes": [kind.capitalize() for kind in rules], **rules},
    }
