"""A request to a route, the answer of its service, and the response that is expected."""

from dataclasses import dataclass, field

from contracts.positions import Position
from tests.integration.gateway.scripted import Answer

PEER = "01890a5d-ac96-774b-bcce-b302099a8057"
OTHER = "01890a5d-ac96-774b-bcce-b302099a8058"
WROTE = Position({"AUTH": 3, "MESSAGING": 7}).encode()
AT = 1_767_225_600_005
SHOWN = "2026-01-01T00:00:00.005Z"


@dataclass
class Case:
    method: str
    path: str
    answers: dict[str, Answer]
    status: int
    expected: object = None
    body: object = None
    public: bool = False
    asked: dict[str, object] = field(default_factory=dict)


def page(*items: object, following: str | None = None) -> dict[str, object]:
    return {"items": list(items), "next": following}
