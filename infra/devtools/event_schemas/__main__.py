"""`./just check` compares the current events with the released ones; `./just release-schemas` releases the current.

A change that breaks readers is refused. An event that is not released yet may still be changed at will.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.catalogue import EVENTS
from contracts.events.event import Event
from infra.devtools.event_schemas import released_contracts
from infra.devtools.event_schemas.compatibility import breaking_changes
from infra.devtools.event_schemas.event_contract import Contract
from infra.operator_errors import OperatorError


def today() -> dict[str, tuple[type[Event], Contract]]:
    """The current event classes and their contracts, by type."""
    return {kind: (event, Contract.of(event, AGGREGATE_TYPE_OF[kind].pattern)) for kind, event in EVENTS.items()}


def main(
    arguments: Sequence[str],
    *,
    folder: Path = released_contracts.FOLDER,
    contracts: Mapping[str, tuple[type[Event], Contract]] | None = None,
) -> int:
    contracts = today() if contracts is None else contracts
    try:
        broken = breaking_changes(released_contracts.released(folder), contracts)
    except OperatorError as failure:
        return _refused([str(failure)])
    if broken:
        return _refused([*map(str, broken), "docs/howto/change-an-event.md says how an event may be changed"])
    waiting = released_contracts.unreleased(folder, (contract for _, contract in contracts.values()))
    if "--check" in arguments:
        if waiting:
            names = ", ".join(contract.kind for contract in waiting)
            print(f"no break; {len(waiting)} not released yet, which may still change: {names}")  # noqa: T201
        return 0
    for contract in waiting:
        print(f"released {released_contracts.write(folder, contract).relative_to(folder)}")  # noqa: T201
    return 0


def _refused(lines: Sequence[str]) -> int:
    for line in lines:
        print(line, file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
