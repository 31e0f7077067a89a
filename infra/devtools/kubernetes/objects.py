"""What the generated Kubernetes objects have in common: names, labels, and their form as YAML."""

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.services import BESIDE, REGISTRY, Service

# A Kubernetes object, as YAML has it.
Manifest = dict[str, Any]

PART_OF = "app.kubernetes.io/part-of"
NAME = "app.kubernetes.io/name"
VESTNIK = "vestnik"
_NOTE = """\
# Written by `./just gen` out of contracts/services.py and infra/devtools/kubernetes/; edit there.
"""


def manifest(api_version: str, kind: str, name: str, **parts: object) -> Manifest:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "labels": labels(name)},
        **parts,
    }


def labels(name: str) -> dict[str, str]:
    """The labels of everything that belongs to a service or a job."""
    return {NAME: name, PART_OF: VESTNIK}


def pods_of(name: str) -> dict[str, Any]:
    """The selector of a service's or a job's pods."""
    return {"matchLabels": labels(name)}


def headless(service: str) -> str:
    """The name in DNS that has the address of each ready replica of the service."""
    return f"{service}-headless"


def ports(service: Service) -> dict[str, int]:
    """The ports of a service's pods, by their names in Kubernetes."""
    own = {"http": service.port} if not service.methods else {"grpc": service.port}
    rest = {"rest": service.rest_port} if service.rest_port else {}
    return {**own, **rest, "metrics": service.port + BESIDE}


def call_ports(service: str) -> list[int]:
    """The ports at which other services call this one."""
    return [port for name, port in ports(REGISTRY[service]).items() if name != "metrics"]


def text_of(manifests: Iterable[Mapping[str, object]], about: str) -> str:
    """The manifests as a file of YAML documents; `about` says in a comment what they are."""
    import yaml  # here, since it is for development alone

    class Dumper(yaml.SafeDumper):
        """Writes equal objects in full each time, and list items indented below their key."""

        def ignore_aliases(self, data: object) -> bool:
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

    documents = (yaml.dump(document, Dumper=Dumper, sort_keys=False, width=120) for document in manifests)
    comment = "".join(f"# {line}\n" for line in about.splitlines())
    return f"{_NOTE}{comment}" + "---\n".join(documents)
