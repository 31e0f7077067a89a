"""A look records no name or address of a person, whatever an operator types."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.aio.client import Client as NATS

from contracts.errors import Invalid, NotFound
from contracts.rpc.vestnik.operator.v1 import GetAggregateRequest, ListEventsRequest, TraceEventRequest
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Recorder
from services.operator.handlers.history import HistoryHandlers
from services.operator.read_models import ReadModels

OPERATOR = Actor(name="olga", user_id=None, channel="page", address="192.0.2.1")


class Looks:
    def __init__(self) -> None:
        self.recorded: list[object] = []

    async def look(self, *look: object, **filtered: object) -> None:
        self.recorded.append((look, filtered))


def handlers(looks: Looks) -> HistoryHandlers:
    unused: Any = SimpleNamespace()
    return HistoryHandlers(cast(NATS, unused), cast(ReadModels, unused), cast(Recorder, looks))


async def test_what_is_no_id_of_an_event_is_not_found_and_not_recorded() -> None:
    looks = Looks()
    with pytest.raises(NotFound):
        await handlers(looks).trace(TraceEventRequest(id="anna@example.org"), OPERATOR)
    assert looks.recorded == []


@pytest.mark.parametrize(("kind", "path"), [("user", "/id"), ("anna", "/kind")])
async def test_what_is_no_id_of_an_aggregate_is_refused_and_not_recorded(kind: str, path: str) -> None:
    looks = Looks()
    with pytest.raises(Invalid) as refused:
        await handlers(looks).aggregate(
            GetAggregateRequest(kind=kind, aggregate_id="anna@example.org", limit=10), OPERATOR
        )
    assert [violation.path for violation in refused.value.violations] == [path]
    assert looks.recorded == []


@pytest.mark.parametrize("aggregate_id", ["..", ".", "a..b", "a.", ".a", "a b", "*", ">", "a\x00"])
async def test_what_can_be_in_no_subject_is_refused_and_not_recorded(aggregate_id: str) -> None:
    looks = Looks()
    with pytest.raises(Invalid) as refused:
        await handlers(looks).events(ListEventsRequest(aggregate_id=aggregate_id, limit=10), OPERATOR)
    assert [violation.path for violation in refused.value.violations] == ["/aggregate_id"]
    assert looks.recorded == []
