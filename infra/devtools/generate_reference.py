"""Generates what lists things of the code: the reference pages of settings, events (as Markdown and as AsyncAPI) and
errors, the example of a configuration for Prometheus, Grafana's dashboards, and most manifests for Kubernetes.

`./just gen` writes them; `./just check` fails if they are out of date.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from contracts.aggregate_types import AGGREGATE_TYPES, AggregateType
from contracts.errors import BY_CODE
from contracts.events.event import Event
from contracts.services import BESIDE, LOOPBACK, REGISTRY
from contracts.subjects import STREAMS
from contracts.values.personal_data import Sealed
from infra.devtools import asyncapi
from infra.devtools.dashboards import dashboard
from infra.devtools.dashboards.catalogue import DASHBOARDS
from infra.devtools.kubernetes.alerts import alerts_file
from infra.devtools.kubernetes.availability import availability_file
from infra.devtools.kubernetes.jobs import jobs_file
from infra.devtools.kubernetes.network import network_file
from infra.devtools.kubernetes.workloads import addresses_file, services_file
from infra.settings import describe
from infra.telemetry.variables import VARIABLES

_KUBERNETES = "infra/deployment/kubernetes"
ROOT = Path(__file__).resolve().parents[2]
_NOTE = "<!-- Generated from the code by `./just gen`. -->\n"


def settings_page() -> str:
    rows = "\n".join(
        f"| `{option.name}` | {f'`{option.default}`' if option.default else '(empty)'} | {_cell(option.description)} |"
        for option in describe()
    )
    telemetry = "\n".join(
        f"| `{variable.name}` | {f'`{variable.default}`' if variable.default else '(empty)'} | {variable.meaning} |"
        for variable in VARIABLES
    )
    return f"""# Settings
{_NOTE}
Settings are environment variables; a `.env` file in the working directory is read too, and the environment takes
precedence over it. With an unknown name with our prefix, or an invalid value, the start fails with one clear line.
`vestnik settings` prints the settings with their current values.

| variable | default | meaning |
|---|---|---|
{rows}

## Traces

The standard variables of OpenTelemetry, from the environment only; a process that has no endpoint traces nothing
([how to](../howto/trace-a-request.md)).

| variable | default | meaning |
|---|---|---|
{telemetry}
"""


def errors_page() -> str:
    kinds = sorted(BY_CODE.values(), key=lambda kind: (kind.status, kind.code))
    rows = "\n".join(
        f"| `{kind.code}` | {kind.status} | `{kind.grpc}` | {_cell((kind.__doc__ or '').strip())} |" for kind in kinds
    )
    return f"""# Errors
{_NOTE}
Over REST an error is `application/problem+json` (RFC 9457) with the stable field `code`; over gRPC it is a status
with a `google.rpc.ErrorInfo` in the details whose `reason` is the same code and whose `domain` is `vestnik`.
`invalid` adds `errors`: a JSON pointer and a message for each violation, and a `code` for some of them
(`weak_password`: a password that is easy to guess; `reserved_username`: a name that is not available to anyone). Over
gRPC that code is the violation's `reason`. Errors that a retry may resolve have `Retry-After`.

| code | REST | gRPC | message |
|---|---|---|---|
{rows}

Malformed requests are answered in the same form, and their connection is closed: 400 `malformed_request` (not HTTP, no
or several `Host` headers, several `Authorization` headers, an ambiguous end of the body), 414 `uri_too_long`, 431
`headers_too_large`.
"""


def events_page() -> str:
    sections = "\n".join(_stream_section(stream, owner) for stream, owner in STREAMS.items())
    return f"""# Events
{_NOTE}
Every event is stored in JetStream as JSON: an envelope with `id` (UUIDv7), `type`, `schema` (version of the data's
schema), `aggregate_id`, `version` (1, 2, 3, … within the aggregate), `at`, `actor`, `correlation_id` (the system's id
of the request), `request_id` (the client's `X-Request-Id`, if it sent one), `causation_id`, `traceparent`, and the
event's own fields in `data`. There is one subject per aggregate; it does not contain the type. Only the owner of the
stream may read the subjects of private events, unless the event says otherwise. *Personal* fields may also be stored as
`{{key, ciphertext}}`. The same as an AsyncAPI 3 document: [asyncapi.json](asyncapi.json).

{sections}"""


def prometheus_example() -> str:
    targets = "\n".join(
        f'''      - targets: ["{LOOPBACK}:{service.port + BESIDE}"]
        labels: {{service: {service.name}}}'''
        for service in REGISTRY.values()
    )
    return f"""# Written by `./just gen` out of contracts/services.py; edit there.
# What to scrape: every process of every service, each at its own port. The ports are those of `vestnik serve` with
# default addresses on one machine; under `vestnik up`, `vestnik status --json` names them.
rule_files:
  - alerts.yml
scrape_configs:
  - job_name: vestnik
    scrape_interval: 15s
    static_configs:
{targets}
"""


def _stream_section(stream: str, owner: str) -> str:
    own = [(channel, event) for channel in AGGREGATE_TYPES if channel.stream == stream for event in channel.events]
    return f"## {stream}, owned by {owner}\n\n" + "\n".join(_event_section(channel, event) for channel, event in own)


def _event_section(channel: AggregateType, event: type[Event]) -> str:
    private = " (private)" if event.PRIVATE else ""
    about = " ".join((event.__doc__ or "").split()) if event.__doc__ and event.__doc__ != Event.__doc__ else ""
    fields = "\n".join(f"- {line}" for line in _fields(event)) or "- no fields of its own"
    head = f"### `{event.TYPE}`{private}, schema {event.SCHEMA}\n\nOn `{channel.address}`.\n\n"
    return head + (f"{about}\n\n" if about else "") + f"{fields}\n"


def _fields(event: type[Event]) -> Iterator[str]:
    _, components = msgspec.json.schema_components([event])
    yield from _fields_of(event.__name__, components, "")


def _fields_of(struct: str, components: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yields a line per field of the struct, followed by the fields of nested structs: `address.pending[].email`."""
    for name, described in components[struct]["properties"].items():
        personal = ", personal" if _is_personal(described) else ""
        default = "" if "default" not in described else f", default `{described['default']!r}`"
        yield f"`{prefix}{name}`: {_kind(described)}{personal}{default}"
        for held, many in _structs(described):
            yield from _fields_of(held, components, f"{prefix}{name}{'[]' if many else ''}.")


def _structs(described: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yields the structs that a value may be, and whether it is a list of them."""
    for option in described.get("anyOf", (described,)):
        many = option.get("type") == "array"
        name = (option["items"] if many else option).get("$ref", "").rpartition("/")[2]
        if name and name != Sealed.__name__:
            yield name, many


def _is_personal(described: object) -> bool:
    return b"/Sealed" in msgspec.json.encode(described)


def _is_sealed(option: dict[str, object]) -> bool:
    return str(option.get("$ref", "")).endswith(f"/{Sealed.__name__}")


def _kind(described: dict[str, object]) -> str:
    options = described.get("anyOf")
    if isinstance(options, list):
        return " or ".join(_kind(option) for option in options if not _is_sealed(option))
    if isinstance(values := described.get("enum"), list):
        return " or ".join("nothing" if value is None else f"`{value}`" for value in values)
    if "$ref" in described:
        return "object"
    if described.get("format") == "date-time":
        return "time"
    return {"null": "nothing", "array": "list", "integer": "number"}.get(
        str(described.get("type")), str(described["type"])
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# By path in the tree.
BUILDERS: dict[str, Callable[[], str]] = {
    "docs/reference/settings.md": settings_page,
    "docs/reference/errors.md": errors_page,
    "docs/reference/events.md": events_page,
    "docs/reference/asyncapi.json": asyncapi.text,
    "infra/deployment/prometheus.yml": prometheus_example,
    **{f"infra/deployment/dashboards/{board.name}.json": partial(dashboard.to_text, board) for board in DASHBOARDS},
    f"{_KUBERNETES}/overlays/three-zones/availability.yaml": availability_file,
    f"{_KUBERNETES}/base/addresses.env": addresses_file,
    f"{_KUBERNETES}/base/alerts.yaml": alerts_file,
    f"{_KUBERNETES}/base/jobs.yaml": jobs_file,
    f"{_KUBERNETES}/base/network-policies.yaml": network_file,
    f"{_KUBERNETES}/base/services.yaml": services_file,
}


def main() -> int:
    stale = [name for name, build in BUILDERS.items() if not _same(ROOT / name, build())]
    if sys.argv[1:] == ["--check"]:
        for name in stale:
            print(f"{name} is not what the code says: run ./just gen", file=sys.stderr)  # noqa: T201
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).write_text(BUILDERS[name](), encoding="utf-8")
    return 0


def _same(path: Path, content: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == content


if __name__ == "__main__":
    sys.exit(main())
