"""The jobs that prepare NATS and PostgreSQL; both may run again at any time, and change nothing then."""

from typing import Any

from infra.devtools.kubernetes.objects import VESTNIK, Manifest, labels, manifest, text_of
from infra.devtools.kubernetes.workloads import (
    CONTAINER_SECURITY,
    POD,
    SECRETS,
    SETTINGS,
    secret_of,
)

STREAMS, POSTGRES_LOGINS = "streams", "postgres-logins"
POSTGRES_IMAGE = "postgresql"
_POSTGRES_USER = 26  # of that image
_TOPOLOGY = "/run/vestnik/topology"
_LOGINS = "/run/vestnik/logins"
_RESOURCES = {"requests": {"cpu": "100m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}}


def jobs_file() -> str:
    about = (
        "Preparation of NATS and PostgreSQL, for a new release too. A finished job is removed after ten minutes; the\n"
        "next `kubectl apply` runs it again."
    )
    accounts = [
        manifest("v1", "ServiceAccount", name, automountServiceAccountToken=False)
        for name in (STREAMS, POSTGRES_LOGINS)
    ]
    return text_of([*accounts, _streams(), _postgres_logins()], about)


def _streams() -> Manifest:
    """Creates the streams as NATS's user `topology`, and records the act in the operator's name.

    Its folder of secrets can be written to, since acts wait there while there is nothing in the streams yet; on a new
    system that record ends with the pod.
    """
    password = "nats-operator.password"  # noqa: S105 - the name of a file
    container = {
        "name": STREAMS,
        "image": VESTNIK,
        "args": ["streams"],
        "env": [
            {"name": "VESTNIK_NATS_URL_FILE", "value": f"{_TOPOLOGY}/nats-url"},
            {"name": "VESTNIK_NATS_CA", "value": f"{_TOPOLOGY}/tls-ca.pem"},
        ],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "resources": _RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a file system of the pod
            {"name": "secrets", "mountPath": SECRETS},
            {"name": "topology", "mountPath": f"{SECRETS}/{password}", "subPath": password, "readOnly": True},
            {"name": "topology", "mountPath": _TOPOLOGY, "readOnly": True},
        ],
    }
    pod = {
        "serviceAccountName": STREAMS,
        **POD,
        "restartPolicy": "OnFailure",
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "secrets", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "topology", "secret": {"secretName": secret_of(STREAMS), "defaultMode": 0o440}},
        ],
    }
    return _job(STREAMS, pod)


def _postgres_logins() -> Manifest:
    """Runs the SQL of `vestnik postgres-logins` as the superuser that CloudNativePG created."""
    login = f"{VESTNIK}-postgres-superuser"
    environment = {
        "PGHOST": "vestnik-postgres-rw",
        "PGDATABASE": VESTNIK,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": f"{_LOGINS}/tls-ca.pem",
    }
    container = {
        "name": POSTGRES_LOGINS,
        "image": POSTGRES_IMAGE,
        "command": ["psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--single-transaction"],
        "args": ["--file", f"{_LOGINS}/logins.sql"],
        "env": [
            *({"name": name, "value": value} for name, value in environment.items()),
            *(
                {"name": name, "valueFrom": {"secretKeyRef": {"name": login, "key": key}}}
                for name, key in (("PGUSER", "username"), ("PGPASSWORD", "password"))
            ),
        ],
        "resources": _RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "logins", "mountPath": _LOGINS, "readOnly": True},
        ],
    }
    user = {"runAsUser": _POSTGRES_USER, "runAsGroup": _POSTGRES_USER, "fsGroup": _POSTGRES_USER}
    pod = {
        "serviceAccountName": POSTGRES_LOGINS,
        **POD,
        "securityContext": POD["securityContext"] | user,
        "restartPolicy": "OnFailure",
        "containers": [container],
        "volumes": [
            {"name": "logins", "secret": {"secretName": secret_of(POSTGRES_LOGINS), "defaultMode": 0o440}},
        ],
    }
    return _job(POSTGRES_LOGINS, pod)


def _job(name: str, pod: dict[str, Any]) -> Manifest:
    return manifest(
        "batch/v1",
        "Job",
        name,
        # A pod that fails is started again: its server may not answer yet.
        spec={
            "backoffLimit": 20,
            "ttlSecondsAfterFinished": 600,
            "template": {"metadata": {"labels": labels(name)}, "spec": pod},
        },
    )
