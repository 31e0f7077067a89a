from datetime import UTC, datetime, timedelta

from infra.history.login_audit import Row
from infra.history.login_summary import LoginSummary, SummaryRow

NIGHT = datetime(2026, 1, 1, 23, 59, tzinfo=UTC)


def row(event: str, reason: str | None = None, *, at: datetime = NIGHT, count: int | None = None) -> Row:
    return Row(
        at=at,
        event=event,
        user_id="u",
        username="u",
        session_id="s",
        device=None,
        address=None,
        reason=reason,
        count=count,
    )


def test_rows_are_counted_by_day_event_and_reason() -> None:
    summary = LoginSummary()
    summary.add([row("session.created"), row("session.created"), row("session.created", at=NIGHT + timedelta(hours=1))])
    summary.add([row("session.revoked", "operator alice: stolen"), row("session.revoked", "operator bob")])
    summary.add([row("login.failed", "wrong_password", count=1), row("login.failed", "wrong_password", count=300)])

    def counted(day: str, event: str, reason: str | None, count: int) -> SummaryRow:
        return SummaryRow(day=day, event=event, reason=reason, count=count)

    assert summary.rows() == [
        counted("2026-01-01", "login.failed", "wrong_password", 301),
        counted("2026-01-01", "session.created", None, 2),
        counted("2026-01-01", "session.revoked", "operator", 2),
        counted("2026-01-02", "session.created", None, 1),
    ]
