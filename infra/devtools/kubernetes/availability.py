"""Keeps replicas of the services available: a PodDisruptionBudget and an autoscaler for each."""

from collections.abc import Iterator

from contracts.services import REGISTRY
from infra.devtools.kubernetes.objects import Manifest, manifest, pods_of, text_of

# Each process has up to a dozen connections to PostgreSQL: what its `max_connections` allows in three zones.
_FEWEST, _MOST = 2, 4
_BUSY_PERCENT = 70


def availability_file() -> str:
    about = (
        "Two to four replicas of each service, by the processor time that they use of what they request, and at most\n"
        "one of them evicted at a time. There is one process of the operator's service and one of the notary."
    )
    return text_of((document for name in replicated() for document in _of(name)), about)


def replicated() -> list[str]:
    """The services with several replicas."""
    return [service.name for service in REGISTRY.values() if not service.optional]


def _of(name: str) -> Iterator[Manifest]:
    yield manifest(
        "policy/v1",
        "PodDisruptionBudget",
        name,
        spec={"maxUnavailable": 1, "selector": pods_of(name), "unhealthyPodEvictionPolicy": "AlwaysAllow"},
    )
    usage = {"type": "Utilization", "averageUtilization": _BUSY_PERCENT}
    yield manifest(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        name,
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": _FEWEST,
            "maxReplicas": _MOST,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": usage}}],
        },
    )
