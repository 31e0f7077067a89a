"""Reports, decided on what happened before."""

from datetime import UTC, datetime, timedelta

import pytest

from contracts.errors import NotFound
from contracts.errors import ReportSettled as AlreadySettled
from contracts.events.event import Event
from contracts.events.report import ReportedMessage, ReportExpired, ReportFiled, ReportSettled, ReportViewed
from services.contact.reports.domain import (
    Operator,
    Report,
    decide_expire,
    decide_file,
    decide_settle,
    decide_view,
    evolve,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
KEEP = timedelta(days=90)
OLGA, OLEG = Operator("o1", "olga"), Operator("o2", "oleg")
FILED = ReportFiled(
    reporter_id="anna",
    reported_id="ben",
    reason="spam",
    comment="Daily.",
    messages=(ReportedMessage(message_id="m", sequence=1, sender_id="ben", sent_at=AT, text="Buy!"),),
)
SETTLED = ReportSettled(operator_id="o1", operator="olga", outcome="upheld", note="Clear.")


def given_events(*events: Event) -> Report:
    state = Report()
    for event in events:
        state = evolve(state, event, AT)
    return state


def test_a_report_is_filed_once() -> None:
    assert decide_file(given_events(), FILED) == (FILED,)
    assert decide_file(given_events(FILED), FILED) == ()


def test_each_view_of_the_texts_is_recorded() -> None:
    viewed = ReportViewed(operator_id="o1", operator="olga")
    assert decide_view(given_events(FILED, viewed), OLGA) == (viewed,)


def test_the_same_operator_may_repeat_a_settlement() -> None:
    assert decide_settle(given_events(FILED), OLGA, "upheld", "Clear.") == (SETTLED,)
    assert decide_settle(given_events(FILED, SETTLED), OLGA, "upheld", "Clear.") == ()


@pytest.mark.parametrize(
    ("operator", "outcome", "note"),
    [(OLEG, "upheld", "Clear."), (OLGA, "dismissed", "Clear."), (OLGA, "upheld", "Other.")],
)
def test_a_settled_report_is_not_settled_in_another_way(operator: Operator, outcome: str, note: str) -> None:
    with pytest.raises(AlreadySettled):
        decide_settle(given_events(FILED, SETTLED), operator, outcome, note)


def test_a_report_that_was_not_filed_is_neither_shown_nor_settled() -> None:
    with pytest.raises(NotFound):
        decide_view(given_events(), OLGA)
    with pytest.raises(NotFound):
        decide_settle(given_events(), OLGA, "upheld", "")


def test_texts_expire_once_and_not_before_their_time() -> None:
    settled = given_events(FILED, SETTLED)
    assert decide_expire(settled, AT + KEEP - timedelta(seconds=1), KEEP) == ()
    assert decide_expire(settled, AT + KEEP, KEEP) == (ReportExpired(),)
    assert decide_expire(given_events(FILED, SETTLED, ReportExpired()), AT + KEEP, KEEP) == ()
    assert decide_expire(given_events(FILED), AT + 2 * KEEP, KEEP) == ()


def test_no_expired_text_is_left_in_the_state() -> None:
    state = given_events(FILED, SETTLED, ReportExpired())
    assert state.filed is not None
    assert (state.filed.reporter_id, state.filed.comment, state.filed.messages) == ("anna", "", ())
    assert decide_view(state, OLGA) == ()
