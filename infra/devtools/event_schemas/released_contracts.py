"""The released contracts: one file `contracts/schemas/<type>/v<schema>.json` per schema ever released."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from infra.devtools.event_schemas.event_contract import Contract
from infra.operator_errors import OperatorError

FOLDER = Path(__file__).resolve().parents[3] / "contracts" / "schemas"


def released(folder: Path) -> list[Contract]:
    """Reads every contract that was ever released.

    Raises:
        OperatorError: a file is not a contract, or is not at the path of its type and schema.
    """
    return [_read(folder, path) for path in sorted(folder.glob("**/*.json"))]


def unreleased(folder: Path, contracts: Iterable[Contract]) -> list[Contract]:
    """Returns the contracts that a release would write: new ones, and those that differ from their file."""
    return [contract for contract in contracts if not _same(_path(folder, contract), contract.text())]


def write(folder: Path, contract: Contract) -> Path:
    path = _path(folder, contract)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contract.text())
    return path


def _path(folder: Path, contract: Contract) -> Path:
    return folder / contract.kind / f"v{contract.schema}.json"


def _read(folder: Path, path: Path) -> Contract:
    try:
        contract = msgspec.json.decode(path.read_bytes(), type=Contract)
    except msgspec.DecodeError as error:
        raise OperatorError(f"{path} is no released schema: {error}") from error
    if _path(folder, contract) != path:
        raise OperatorError(f"{path} holds {contract.kind}, schema {contract.schema}")
    return contract


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
