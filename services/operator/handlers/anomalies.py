"""Anomalies: each answer is a look, recorded first."""

from contracts.errors import Invalid, Violation
from contracts.rpc.vestnik.operator.v1 import Document, ListAnomaliesRequest
from contracts.values.validation import validated
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Recorder
from services.operator.anomalies import anomaly_page
from services.operator.anomalies.anomaly_page import AnomalyFilter
from services.operator.anomalies.queries import AnomalyQueries
from services.operator.anomalies.rules import RULES, Rule
from services.operator.handlers.documents import PageRequest, as_text, document, moment


class AnomalyHandlers:
    def __init__(self, queries: AnomalyQueries, recorder: Recorder) -> None:
        self._queries = queries
        self._recorder = recorder

    async def list(self, message: ListAnomaliesRequest, actor: Actor) -> Document:
        limit = validated(PageRequest, {"limit": message.limit}).limit
        selection = AnomalyFilter(
            since=moment(message.since, "/since"),
            until=moment(message.until, "/until"),
            rules=_rules(message.rule),
        )
        looked_for = {"rule": message.rule, "since": as_text(selection.since), "until": as_text(selection.until)}
        await self._recorder.look(actor, "anomalies", filter_=looked_for)
        return document(await anomaly_page.newest(self._queries, selection, limit=limit, cursor=message.before))


def _rules(rule: str) -> tuple[Rule, ...]:
    if not rule:
        return RULES
    for known in RULES:
        if known == rule:
            return (known,)
    raise Invalid(violations=(Violation("/rule", f"Not one of {', '.join(RULES)}"),))
