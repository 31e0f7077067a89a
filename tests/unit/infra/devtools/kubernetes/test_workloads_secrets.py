"""The Secrets that secrets.sh prints out of the folder of `vestnik deployment-secrets`."""

import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from contracts.services import REGISTRY
from infra.provisioning.secret_folders import Servers, make
from tests.unit.infra.devtools.kubernetes.manifest_checks import made_secrets
from tests.unit.infra.devtools.kubernetes.manifests import (
    KUBERNETES,
    Manifest,
    base,
    containers_of,
    documents,
    has_kustomize,
    named,
    of_kind,
    pod_of,
)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """What the script prints."""
    if not has_kustomize():
        pytest.skip("needs kubectl")
    folder = tmp_path_factory.mktemp("deployment")
    make(folder, Servers(nats=["nats-0.nats-headless"], postgres=["vestnik-postgres-rw"]))
    completed = subprocess.run(["sh", KUBERNETES / "secrets.sh", folder], check=True, capture_output=True, text=True)
    return documents(completed.stdout)


@pytest.fixture(scope="module")
def secrets(printed: list[Manifest]) -> dict[str, dict[str, Any]]:
    """The content of each Secret by its name."""
    return {secret["metadata"]["name"]: secret["data"] for secret in printed}


def test_the_script_makes_what_the_checks_of_the_manifests_take_it_to_make(secrets: dict[str, dict[str, Any]]) -> None:
    assert secrets.keys() == made_secrets().keys()


@pytest.mark.parametrize("service", REGISTRY)
def test_a_service_gets_the_key_of_no_other_service(service: str, secrets: dict[str, dict[str, Any]]) -> None:
    secret = secrets[f"vestnik-{service}"]
    assert {f"service-{service}.pem", f"tls-{service}.key", "tls-ca.pem", "nats-url"} <= secret.keys()
    others = {name for name in REGISTRY if name != service}
    assert not {f"service-{name}.pem" for name in others} & secret.keys()
    assert not {f"tls-{name}.key" for name in others} & secret.keys()
    assert "edge.pem" not in secret
    assert ("database-url" in secret) is REGISTRY[service].read_models


def test_every_file_that_a_setting_names_is_in_a_secret(secrets: dict[str, dict[str, Any]]) -> None:
    manifests = base()
    common = of_kind(manifests, "ConfigMap")[0]["data"]
    for workload in of_kind(manifests, "Deployment", "Job"):
        for container in containers_of(workload):
            variables = {variable["name"]: variable.get("value", "") for variable in container.get("env", [])}
            environ = (common if "envFrom" in container else {}) | variables
            for name, value in environ.items():
                if value.startswith("/run/") and name != "VESTNIK_SECRETS_DIR":
                    assert _is_in_a_secret(workload, container, value, secrets), (name, value)


def _is_in_a_secret(workload: Manifest, container: Manifest, path: str, secrets: dict[str, dict[str, Any]]) -> bool:
    file = PurePosixPath(path)
    mounts = [mount for mount in container["volumeMounts"] if PurePosixPath(mount["mountPath"]) == file.parent]
    volumes = {volume["name"]: volume for volume in pod_of(workload)["volumes"]}
    return any(
        file.name in secrets.get(volumes[mount["name"]].get("secret", {}).get("secretName"), {}) for mount in mounts
    )


def test_the_certificates_of_the_servers_are_where_the_charts_look_for_them(secrets: dict[str, dict[str, Any]]) -> None:
    certificates = named(base(), "Cluster", "vestnik-postgres")["spec"]["certificates"]
    for name in {"nats-tls", *certificates.values()}:
        assert secrets[name].keys() == {"tls.crt", "tls.key", "ca.crt"}
    assert secrets["nats-accounts"].keys() == {"accounts.conf", "cluster.conf"}


def test_cloudnativepg_notices_a_new_certificate(printed: list[Manifest]) -> None:
    secret = named(printed, "Secret", "vestnik-postgres-tls")
    assert "cnpg.io/reload" in secret["metadata"]["labels"]
    assert (secret["metadata"]["namespace"], secret["type"]) == ("vestnik", "kubernetes.io/tls")


def test_a_missing_file_ends_the_script(tmp_path: Path) -> None:
    if not has_kustomize():
        pytest.skip("needs kubectl")
    completed = subprocess.run(["sh", KUBERNETES / "secrets.sh", tmp_path], capture_output=True)
    assert completed.returncode != 0
