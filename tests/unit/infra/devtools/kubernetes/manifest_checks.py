"""What must hold for all manifests together; each check yields what is wrong, with the object's name."""

import functools
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import kubernetes_validate

from contracts.services import BESIDE, DEFAULT_ADDRESSES, REGISTRY, service_of
from infra.operator_errors import OperatorError
from infra.settings import Settings
from tests.unit.infra.devtools.kubernetes.custom_resources import shape_errors
from tests.unit.infra.devtools.kubernetes.manifests import KUBERNETES, Manifest, containers_of, of_kind, pod_of, title

# The oldest version that has all fields in use, and the newest with a schema here.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
# The Secret that CloudNativePG makes.
_SUPERUSER = "vestnik-postgres-superuser"
_IMAGE = re.compile(r"[a-z0-9.-]+\.[a-z]+/[a-z0-9./-]+:(?!latest@)[\w.-]+@sha256:[0-9a-f]{64}")
_WORKLOADS = ("Deployment", "Job")


def made_secrets() -> dict[str, set[str]]:
    """The Secrets that secrets.sh makes, each with what it takes from the folder of `vestnik deployment-secrets`."""
    script = (KUBERNETES / "secrets.sh").read_text()
    files_by_secret = {f"vestnik-{service}": {f"$folder/{service}"} for service in REGISTRY}
    for name, files in re.findall(r"^ *secret ([a-z-]+) (.+)$", script.replace("\\\n", " "), re.MULTILINE):
        files_by_secret[name] = set(re.findall(r'--from-file=(?:[a-z.]+=)?"([^"]+)"', files))
    return files_by_secret


def all_errors(manifests: Sequence[Manifest], *, images: bool = True) -> list[str]:
    """`images`: whether Kustomize has put in where they come from."""
    every = list(manifests)
    checks = [schema_errors, reference_errors, pod_errors, setting_errors, *([image_errors] if images else [])]
    return [error for check in checks for error in check(every)]


def schema_errors(manifests: list[Manifest]) -> Iterator[str]:
    """Unknown, missing and wrong fields of each object."""
    for manifest in manifests:
        yield from _schema_errors(json.dumps(manifest))


@functools.cache
def _schema_errors(text: str) -> list[str]:
    """Errors of one object (JSON). Most objects are the same in each test, and loading the schemas takes time."""
    manifest = json.loads(text)
    errors = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(map(str, error.absolute_path))
            errors.append(f"{title(manifest)}: {path}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            return [f"{title(manifest)}: {error}" for error in shape_errors(manifest)]
    return errors


def reference_errors(manifests: list[Manifest]) -> Iterator[str]:
    """Names that lead to no object, and selectors that select no pod."""
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    names |= {("Secret", name) for name in (*made_secrets(), _SUPERUSER)}
    names |= {("Secret", manifest["spec"]["secretName"]) for manifest in of_kind(manifests, "Certificate")}
    if len(names) < len(manifests):
        yield "two objects have the same name"
    for manifest in manifests:
        for kind, name in _references(manifest):
            if (kind, name) not in names:
                yield f"{title(manifest)}: there is no {kind} {name}"
    pods = [workload["spec"]["template"]["metadata"]["labels"] for workload in of_kind(manifests, *_WORKLOADS)]
    for manifest in manifests:
        selector = _selector(manifest)
        if selector and not any(selector.items() <= labels.items() for labels in pods):
            yield f"{title(manifest)}: {selector} selects no pod"
    yield from _port_errors(manifests)


def _references(manifest: Manifest) -> Iterator[tuple[str, str]]:
    spec = manifest.get("spec", {})
    match manifest["kind"]:
        case "Deployment" | "Job":
            pod = pod_of(manifest)
            yield "ServiceAccount", pod["serviceAccountName"]
            for volume in pod.get("volumes", []):
                if "secret" in volume:
                    yield "Secret", volume["secret"]["secretName"]
                if "persistentVolumeClaim" in volume:
                    yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
            for container in containers_of(manifest):
                for source in container.get("envFrom", []):
                    yield "ConfigMap", source["configMapRef"]["name"]
                for variable in container.get("env", []):
                    if "valueFrom" in variable:
                        yield "Secret", variable["valueFrom"]["secretKeyRef"]["name"]
        case "HorizontalPodAutoscaler":
            yield spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]
        case "HTTPRoute":
            yield from (("Gateway", parent["name"]) for parent in spec["parentRefs"])
            for rule in spec["rules"]:
                yield from (("Service", backend["name"]) for backend in rule.get("backendRefs", []))
        case "Gateway":
            for listener in spec["listeners"]:
                references = listener.get("tls", {}).get("certificateRefs", [])
                yield from (("Secret", reference["name"]) for reference in references)
        case "Cluster":
            yield from (("Secret", name) for name in spec["certificates"].values())


def _selector(manifest: Manifest) -> dict[str, str]:
    """The labels of Vestnik's pods that an object selects; empty if it selects other pods, or all."""
    spec = manifest.get("spec", {})
    match manifest["kind"]:
        case "Service":
            labels = spec["selector"]
        case "Deployment" | "PodDisruptionBudget" | "PodMonitor":
            labels = spec["selector"]["matchLabels"]
        case "NetworkPolicy":
            labels = spec["podSelector"].get("matchLabels", {})
        case _:
            labels = {}
    return dict(labels) if labels.get("app.kubernetes.io/part-of") == "vestnik" else {}


def _port_errors(manifests: list[Manifest]) -> Iterator[str]:
    """Ports of services, routes and monitors that their pods do not have."""
    deployments = of_kind(manifests, "Deployment")
    for manifest in of_kind(manifests, "Service", "PodMonitor"):
        selector = _selector(manifest)
        target_ports = (
            [port["targetPort"] for port in manifest["spec"]["ports"]]
            if manifest["kind"] == "Service"
            else [endpoint["port"] for endpoint in manifest["spec"]["podMetricsEndpoints"]]
        )
        for deployment in deployments:
            if not selector or not selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items():
                continue
            present = {port["name"] for container in containers_of(deployment) for port in container.get("ports", [])}
            yield from (
                f"{title(manifest)}: {title(deployment)} has no port {name}"
                for name in target_ports
                if name not in present
            )
    ports = {
        service["metadata"]["name"]: {port["port"] for port in service["spec"]["ports"]}
        for service in of_kind(manifests, "Service")
    }
    for route in of_kind(manifests, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule.get("backendRefs", []):
                if backend["port"] not in ports.get(backend["name"], set()):
                    yield f"{title(route)}: Service {backend['name']} has no port {backend['port']}"


def pod_errors(manifests: list[Manifest]) -> Iterator[str]:
    """Rights that pods do not need, and probes, limits or ports that they lack."""
    for manifest in of_kind(manifests, *_WORKLOADS):
        yield from (f"{title(manifest)}: {error}" for error in _pod_errors(pod_of(manifest)))
        for container in containers_of(manifest):
            errors = _container_errors(container, probed=manifest["kind"] == "Deployment")
            yield from (f"{title(manifest)}: {container['name']}: {error}" for error in errors)
    for account in of_kind(manifests, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{title(account)}: its token is mounted"


def _pod_errors(pod: Manifest) -> Iterator[str]:
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield "it may run as root"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "system calls are not restricted"
    if pod.get("automountServiceAccountToken") is not False:
        yield "the token of its account is mounted"
    if pod.get("enableServiceLinks") is not False:
        yield "service links may become unknown settings"
    mounted = {mount["name"] for container in _all_containers(pod) for mount in container.get("volumeMounts", [])}
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    if mounted != volumes:
        yield f"{', '.join(sorted(mounted ^ volumes))}: not both a volume and mounted"


def _all_containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def _container_errors(container: Manifest, *, probed: bool) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("capabilities") != {"drop": ["ALL"]}:
        yield "it may have more rights than its user"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "its root file system can be written"
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
        yield "it requests or limits nothing"
    ports = [port["name"] for port in container.get("ports", [])]
    yield from (f"the name of its port {name} is too long" for name in ports if len(name) > 15)
    numbers = [port["containerPort"] for port in container.get("ports", [])]
    if len(set(ports)) < len(ports) or len(set(numbers)) < len(numbers):
        yield "two of its ports are the same"
    if not probed:
        return
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container.get(name)
        if probe is None:
            yield f"{name} is missing"
        elif "httpGet" in probe and probe["httpGet"]["port"] not in ports:
            yield f"{name} asks the port {probe['httpGet']['port']}, which it has not"


def setting_errors(manifests: list[Manifest]) -> Iterator[str]:
    """Environments with which a process would not start, or would look for something where it is not."""
    maps = {manifest["metadata"]["name"]: manifest["data"] for manifest in of_kind(manifests, "ConfigMap")}
    services = {
        service["metadata"]["name"]: {port["port"] for port in service["spec"]["ports"]}
        for service in of_kind(manifests, "Service")
    }
    for manifest in of_kind(manifests, *_WORKLOADS):
        for container in containers_of(manifest):
            if not container["image"].split(":")[0].endswith("vestnik"):
                continue
            environ: dict[str, str] = {}
            for source in container.get("envFrom", []):
                environ |= maps.get(source["configMapRef"]["name"], {})
            environ |= {variable["name"]: variable["value"] for variable in container.get("env", [])}
            for error in _environment_errors(container, environ, services):
                yield f"{title(manifest)}: {container['name']}: {error}"


def _environment_errors(container: Manifest, environ: dict[str, str], services: dict[str, set[int]]) -> Iterator[str]:
    try:
        settings = _settings(environ)
    except OperatorError as error:
        yield str(error)
        return
    mounts = [PurePosixPath(mount["mountPath"]) for mount in container["volumeMounts"]]
    for name, value in environ.items():
        if value.startswith("/run/") and not any(PurePosixPath(value).is_relative_to(mount) for mount in mounts):
            yield f"{name}={value} is not mounted"
    for address in DEFAULT_ADDRESSES:
        for host, port in settings.names_of(address):
            if port not in services.get(host, set()):
                yield f"{service_of(address)} does not answer at {host}:{port}"
    if container["args"][0] == "serve":
        yield from _listen_errors(container, settings, container["args"][1])


def _settings(environ: dict[str, str]) -> Settings:
    """The settings that a process would have, with a file of a database's URL that exists."""
    with tempfile.NamedTemporaryFile("w", suffix="-database-url") as file:
        file.write("postgresql://db/vestnik")
        file.flush()
        existing = {"VESTNIK_DATABASE_URL_FILE": file.name} if "VESTNIK_DATABASE_URL_FILE" in environ else {}
        return Settings.load({**environ, **existing}, dotenv=None)


def _listen_errors(container: Manifest, settings: Settings, name: str) -> Iterator[str]:
    service = REGISTRY[name]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listens = {"metrics": settings.metrics_listen}
    if service.methods:
        listens["grpc"] = settings.listen
    else:
        listens["http"] = f"{settings.host}:{settings.port}"
    if service.rest_port:
        listens["rest"] = settings.rest_listen
    if ports["metrics"] != service.port + BESIDE:
        yield "its metrics port is not that of `vestnik probe`"
    for port, address in listens.items():
        if address != f"0.0.0.0:{ports.get(port)}":
            yield f"it listens at {address or 'the loopback address'} for its port {port}"


def image_errors(manifests: list[Manifest]) -> Iterator[str]:
    """Images without registry, tag or digest."""
    for manifest in of_kind(manifests, *_WORKLOADS):
        for container in containers_of(manifest):
            yield from _image_error(manifest, container["image"])
    for cluster in of_kind(manifests, "Cluster"):
        yield from _image_error(cluster, cluster["spec"]["imageName"])


def _image_error(manifest: Manifest, image: Any) -> Iterator[str]:  # noqa: ANN401 - any value of YAML
    if not _IMAGE.fullmatch(str(image)):
        yield f"{title(manifest)}: the image {image} has no registry, tag and digest"
