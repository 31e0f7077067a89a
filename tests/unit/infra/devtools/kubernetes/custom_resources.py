"""Fields of the custom resources in use, as the documentation of their makers has them.

Only what the manifests use is here: a field that is not listed is refused, so that a typing error shows.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# A type, a pattern of a text, the possible values, a mapping of fields (a name that ends with `!` is required), or a
# list with the shape of its items.
Shape = Any

_DNS_NAME = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_DURATION = re.compile(r"\d+(h|m|s|ms)(\d+(m|s|ms))*")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|Ki|Mi|Gi|Ti)?")
_PORT = range(1, 65536)
_LABELS = {"*": str}
_KEY = {"algorithm": {"RSA", "ECDSA", "Ed25519"}, "size": int, "rotationPolicy": {"Always", "Never"}}
_RESOURCES = {
    "requests": {"cpu": _QUANTITY, "memory": _QUANTITY},
    "limits": {"cpu": _QUANTITY, "memory": _QUANTITY},
}
_BACKEND = {"name!": _DNS_NAME, "port!": _PORT}
_PATH = {"type!": {"Exact", "PathPrefix", "RegularExpression"}, "value!": re.compile(r"/.*")}

SHAPES: Mapping[tuple[str, str], Shape] = {
    # https://gateway-api.sigs.k8s.io/reference/spec/
    ("gateway.networking.k8s.io/v1", "Gateway"): {
        "gatewayClassName!": _DNS_NAME,
        "listeners!": [
            {
                "name!": _DNS_NAME,
                "protocol!": {"HTTP", "HTTPS"},
                "port!": _PORT,
                "hostname": _DNS_NAME,
                "tls": {"mode": {"Terminate"}, "certificateRefs!": [{"name!": _DNS_NAME}]},
            }
        ],
    },
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): {
        "parentRefs!": [{"name!": _DNS_NAME, "sectionName": _DNS_NAME}],
        "hostnames": [_DNS_NAME],
        "rules!": [
            {
                "matches": [{"path": _PATH}],
                "timeouts": {"request": _DURATION, "backendRequest": _DURATION},
                "backendRefs": [_BACKEND],
                "filters": [
                    {
                        "type!": {"RequestRedirect"},
                        "requestRedirect": {"scheme": {"http", "https"}, "statusCode": {301, 302, 303, 307, 308}},
                    }
                ],
            }
        ],
    },
    # https://cert-manager.io/docs/reference/api-docs/
    ("cert-manager.io/v1", "Certificate"): {
        "secretName!": _DNS_NAME,
        "dnsNames": [_DNS_NAME],
        "duration": _DURATION,
        "privateKey": _KEY,
        "issuerRef!": {"kind": {"Issuer", "ClusterIssuer"}, "name!": _DNS_NAME, "group": {"cert-manager.io"}},
    },
    # https://prometheus-operator.dev/docs/api-reference/api/
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        "jobLabel": str,
        "selector!": {"matchLabels": _LABELS},
        "podMetricsEndpoints!": [
            {
                "port!": _DNS_NAME,
                "path": re.compile(r"/.*"),
                "interval": _DURATION,
                "relabelings": [{"sourceLabels": [re.compile(r"[a-z_][a-z0-9_]*")], "targetLabel": str}],
            }
        ],
    },
    ("monitoring.coreos.com/v1", "PrometheusRule"): {
        "groups!": [
            {
                "name!": str,
                "interval": _DURATION,
                "rules!": [
                    {
                        "alert!": re.compile(r"[A-Za-z_]\w*"),
                        "expr!": str,
                        "for": _DURATION,
                        "labels": _LABELS,
                        "annotations": _LABELS,
                    }
                ],
            }
        ],
    },
    # https://cloudnative-pg.io/documentation/current/cloudnative-pg.v1/
    ("postgresql.cnpg.io/v1", "Cluster"): {
        "instances!": range(1, 10),
        "imageName!": str,
        "enableSuperuserAccess": bool,
        "certificates": {"serverTLSSecret": _DNS_NAME, "serverCASecret": _DNS_NAME},
        "primaryUpdateStrategy": {"unsupervised", "supervised"},
        "bootstrap": {"initdb": {"database": str, "owner": str, "encoding": str}},
        # PostgreSQL's parameters are texts, numbers too.
        "postgresql": {"parameters": _LABELS},
        "storage!": {"size!": _QUANTITY, "storageClass": _DNS_NAME},
        "affinity": {
            "enablePodAntiAffinity": bool,
            "podAntiAffinityType": {"preferred", "required"},
            "topologyKey": str,
        },
        "resources": _RESOURCES,
    },
}


def shape_errors(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The errors in the fields of a custom resource."""
    shape = SHAPES.get((manifest["apiVersion"], manifest["kind"]))
    if shape is None:
        yield f"{manifest['apiVersion']} {manifest['kind']} is not known"
    else:
        yield from _errors(manifest.get("spec"), shape, "spec")


def _errors(value: Any, shape: Shape, path: str) -> Iterator[str]:  # noqa: ANN401 - any value of YAML
    if isinstance(shape, dict):
        yield from _field_errors(value, shape, path)
    elif isinstance(shape, list):
        if not isinstance(value, list) or not value:
            yield f"{path} is not a list with items"
        else:
            for number, item in enumerate(value):
                yield from _errors(item, shape[0], f"{path}[{number}]")
    elif not _fits(value, shape):
        yield f"{path} is {value!r}"


def _field_errors(value: Any, shape: Mapping[str, Shape], path: str) -> Iterator[str]:  # noqa: ANN401 - any value of YAML
    if not isinstance(value, dict):
        yield f"{path} is not a mapping"
        return
    fields = {name.removesuffix("!"): field for name, field in shape.items()}
    yield from (f"{path}.{name[:-1]} is missing" for name in shape if name.endswith("!") and name[:-1] not in value)
    for name, inner in value.items():
        if name not in fields and "*" not in fields:
            yield f"{path}.{name} is not a field"
        else:
            yield from _errors(inner, fields.get(name, fields.get("*")), f"{path}.{name}")


def _fits(value: Any, shape: Shape) -> bool:  # noqa: ANN401 - any value of YAML
    if isinstance(shape, re.Pattern):
        return isinstance(value, str) and shape.fullmatch(value) is not None
    if isinstance(shape, set | range):
        return not isinstance(value, bool) and value in shape
    return isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
