"""The Kubernetes manifests that the tests check: as they are written, and as Kustomize builds them."""

import copy
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

Manifest = dict[str, Any]
ROOT = Path(__file__).resolve().parents[5]
KUBERNETES = ROOT / "infra" / "deployment" / "kubernetes"
OVERLAYS = ("small", "three-zones")
_ENV_FILES = ("addresses.env", "settings.env")
_NO_MANIFESTS = {"kustomization.yaml", "image-fields.yaml"}


def documents(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document]


def base() -> list[Manifest]:
    """The namespace, and what base/ has before Kustomize, with the ConfigMap that it generates."""
    return copy.deepcopy(_base())


@functools.cache
def _base() -> list[Manifest]:
    folder = KUBERNETES / "base"
    written = [
        document
        for path in (folder.parent / "namespace.yaml", *sorted(folder.glob("*.yaml")))
        if path.name not in _NO_MANIFESTS
        for document in documents(path.read_text())
    ]
    settings = {name: value for file in _ENV_FILES for name, value in dotenv_values(folder / file).items()}
    return [
        *written,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vestnik-settings"}, "data": settings},
    ]


@functools.cache
def _built(overlay: str) -> list[Manifest]:
    return _kustomized(KUBERNETES / "overlays" / overlay)


def _kustomized(folder: Path) -> list[Manifest]:
    command = ["kubectl", "kustomize", str(folder)]
    return documents(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def built(overlay: str) -> list[Manifest]:
    """The objects that `kubectl apply -k` would send for an overlay."""
    if not has_kustomize():
        pytest.skip("needs a kubectl with Kustomize 5")
    return copy.deepcopy(_built(overlay))


def built_with(overlay: str, component: str, folder: Path) -> list[Manifest]:
    """What an overlay becomes in an overlay of one's own that adds a component; `folder`: an empty one."""
    if not has_kustomize():
        pytest.skip("needs a kubectl with Kustomize 5")
    paths = (KUBERNETES / "overlays" / overlay, KUBERNETES / "components" / component)
    resource, added_component = (os.path.relpath(path, folder.resolve()) for path in paths)
    kustomization = {"kind": "Kustomization", "resources": [resource], "components": [added_component]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return _kustomized(folder)


@functools.cache
def has_kustomize() -> bool:
    if shutil.which("kubectl") is None:
        return False
    answer = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True)
    version = str(json.loads(answer.stdout or "{}").get("kustomizeVersion", ""))
    return version.startswith("v") and int(version[1:].partition(".")[0]) >= 5


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    return next(manifest for manifest in of_kind(manifests, kind) if manifest["metadata"]["name"] == name)


def title(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def pod_of(manifest: Manifest) -> Manifest:
    """The specification of the pods of a Deployment or a Job."""
    spec: Manifest = manifest["spec"]["template"]["spec"]
    return spec


def containers_of(manifest: Manifest) -> list[Manifest]:
    pod = pod_of(manifest)
    return [*pod.get("initContainers", []), *pod["containers"]]
