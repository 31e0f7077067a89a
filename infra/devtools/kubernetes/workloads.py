"""The services as Kubernetes runs them: a ServiceAccount, a Service and a Deployment each."""

from collections.abc import Iterator
from typing import Any

import msgspec

from contracts import deadlines
from contracts.services import BESIDE, DEFAULT_ADDRESSES, GATEWAY, OPERATOR, REGISTRY, Service, service_of
from infra.devtools.kubernetes.objects import (
    VESTNIK,
    Manifest,
    headless,
    labels,
    manifest,
    pods_of,
    ports,
    text_of,
)
from infra.provisioning.secret_folders import MOUNTED
from infra.settings import variable

SECRETS = str(MOUNTED)
SETTINGS = "vestnik-settings"
USER = 10001
# A stopping pod still gets requests until proxies and clients have noticed that it is not among the replicas any more;
# clients of services look up names every two seconds. A service gets its SIGTERM only then. A gateway gets it at once,
# and goes on answering for that long: it closes the connections that a proxy keeps.
_NOTICED_SECONDS = 5
# For runners and connections to be closed after the last request.
_CLOSING_SECONDS = 10
# How long the read models of a new version may take to be filled before a rollout counts as failed.
_FILLING_SECONDS = 3600


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """Requests and limits of a pod of a service, from docs/reference/performance.md."""

    # Thousandths of a core, requested.
    cpu: int
    # MiB, requested and at most.
    memory: int
    most_memory: int


# No limit of processor time: a throttled process answers late, and one Python process uses little more than a core.
# `memory` is what a process held after a million messages (messaging 114 MiB, the gateway 86, the others about 60), and
# 30 for the pages of the program itself, which containers do not share. `most_memory` adds what a load may add, with
# room: a rebuild peaks at 168 MiB in a process of its own, and the 20,000 connections that a gateway accepts take 19.7
# KiB each, 385 MiB.
_SERVICE = Resources(cpu=100, memory=96, most_memory=384)
RESOURCES: dict[str, Resources] = {
    **dict.fromkeys(REGISTRY, _SERVICE),
    # A login is 0.26 s of processor time: two in a second.
    "auth": Resources(cpu=500, memory=96, most_memory=384),
    # A send is 127 to 164 µs of messaging and 151 to 187 of a gateway: 1,000 a second, with a quarter of room.
    "messaging": Resources(cpu=200, memory=160, most_memory=512),
    # It runs rebuilds and verifications in a process beside itself.
    OPERATOR: Resources(cpu=100, memory=96, most_memory=512),
    GATEWAY: Resources(cpu=250, memory=128, most_memory=768),
}


def services_file() -> str:
    documents = [document for service in REGISTRY.values() for document in _service(service)]
    return text_of(documents, "The services; the overlays say how many replicas of each there are.")


def addresses_file() -> str:
    """The addresses of the services, as environment variables of every process."""
    lines = "".join(f"{variable(f'{name}_address')}={_target(name)}\n" for name in DEFAULT_ADDRESSES)
    return f"# Written by `./just gen` out of contracts/services.py; edit there.\n{lines}"


def _target(name: str) -> str:
    port = DEFAULT_ADDRESSES[name].rpartition(":")[2]
    return f"dns:///{headless(service_of(name))}:{port}"


def _service(service: Service) -> Iterator[Manifest]:
    name = service.name
    yield manifest("v1", "ServiceAccount", name, automountServiceAccountToken=False)
    yield _kubernetes_service(service)
    yield manifest("apps/v1", "Deployment", name, spec=_deployment(service))


def _kubernetes_service(service: Service) -> Manifest:
    """The headless Service in which callers find every replica; that of the gateway is for the proxy in front of it."""
    listed = [
        {"name": name, "port": port, "targetPort": name} for name, port in ports(service).items() if name != "metrics"
    ]
    if service.name == GATEWAY:
        return manifest("v1", "Service", GATEWAY, spec={"selector": labels(GATEWAY), "ports": listed})
    spec = {"clusterIP": "None", "selector": labels(service.name), "ports": listed}
    document = manifest("v1", "Service", headless(service.name), spec=spec)
    document["metadata"]["labels"] = labels(service.name)
    return document


def _deployment(service: Service) -> dict[str, Any]:
    return {
        "progressDeadlineSeconds": _FILLING_SECONDS,
        "selector": pods_of(service.name),
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"metadata": {"labels": labels(service.name)}, "spec": _pod(service)},
    }


def _pod(service: Service) -> dict[str, Any]:
    name = service.name
    return {
        "serviceAccountName": name,
        **POD,
        # The longest way to stop: noticed, drained, closed.
        "terminationGracePeriodSeconds": round(_NOTICED_SECONDS + deadlines.DRAIN + _CLOSING_SECONDS),
        "topologySpreadConstraints": [
            _spread(name, "topology.kubernetes.io/zone"),
            _spread(name, "kubernetes.io/hostname"),
        ],
        "containers": [_container(service)],
        "volumes": [
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "secrets", "secret": {"secretName": secret_of(name), "defaultMode": 0o440}},
        ],
    }


def secret_of(name: str) -> str:
    """The name of the Secret with the files that the pods of a service or a job need, and no others (secrets.sh)."""
    return f"{VESTNIK}-{name}"


# Of every pod of ours. Service links would be variables such as VESTNIK_POSTGRES_RW_PORT, which are no settings: no
# process would start.
POD: dict[str, Any] = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
# Of every container of ours.
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def _container(service: Service) -> dict[str, Any]:
    used = RESOURCES[service.name]
    alive = {"httpGet": {"path": "/livez", "port": "metrics"}}
    # Not the kubelet's gRPC probe, which can present no certificate.
    ready = {"httpGet": {"path": "/readyz", "port": "http" if service.name == GATEWAY else "metrics"}}
    return {
        "name": service.name,
        "image": VESTNIK,
        "args": ["serve", service.name],
        "env": [{"name": name, "value": value} for name, value in _environment(service).items()],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "ports": [{"name": name, "containerPort": port} for name, port in ports(service).items()],
        # Within a minute of its start a process must answer; whatever it then waits for, it lives.
        "startupProbe": {**alive, "periodSeconds": 2, "failureThreshold": 30, "timeoutSeconds": 5},
        "livenessProbe": {**alive, "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 2, "timeoutSeconds": 5},
        **({} if service.name == GATEWAY else {"lifecycle": {"preStop": {"sleep": {"seconds": _NOTICED_SECONDS}}}}),
        "resources": {
            "requests": {"cpu": f"{used.cpu}m", "memory": f"{used.memory}Mi"},
            "limits": {"memory": f"{used.most_memory}Mi"},
        },
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a file system of the pod
            {"name": "secrets", "mountPath": SECRETS, "readOnly": True},
        ],
    }


def _environment(service: Service) -> dict[str, str]:
    """The environment variables that differ between the services; the rest is in the ConfigMap."""
    everywhere = "0.0.0.0"  # noqa: S104 - within the pod; network policies say who may connect
    if service.name == GATEWAY:
        variables = {"VESTNIK_HOST": everywhere, "VESTNIK_PORT": str(service.port)}
        variables["VESTNIK_STOP_DELAY_SECONDS"] = str(_NOTICED_SECONDS)
    else:
        variables = {"VESTNIK_LISTEN": f"{everywhere}:{service.port}"}
    if service.rest_port:
        variables["VESTNIK_REST_LISTEN"] = f"{everywhere}:{service.rest_port}"
    variables["VESTNIK_METRICS_LISTEN"] = f"{everywhere}:{service.port + BESIDE}"
    if service.read_models:
        variables["VESTNIK_DATABASE_URL_FILE"] = f"{SECRETS}/database-url"
    if service.name == "auth":
        variables["VESTNIK_SMTP_URL_FILE"] = f"{SECRETS}/smtp-url"
    return variables


def _spread(name: str, topology_key: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": topology_key,
        "whenUnsatisfiable": "ScheduleAnyway",
        # Nodes whose taints keep the pods away do not count.
        "nodeTaintsPolicy": "Honor",
        "labelSelector": pods_of(name),
        # The pods of the previous release do not count during a rollout.
        "matchLabelKeys": ["pod-template-hash"],
    }
