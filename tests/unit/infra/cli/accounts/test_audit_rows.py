"""Rows of the audit as text."""

from datetime import UTC, datetime

import msgspec

from infra.cli.accounts.audit_rows import comma_separated, json_lines, table
from infra.history.login_audit import Row
from infra.history.login_summary import SummaryRow

START = datetime(2026, 1, 1, tzinfo=UTC)
_line, _json, _csv = table().of_row, json_lines().of_row, comma_separated(counts=False).of_row


def row(device: str | None) -> Row:
    return Row(
        at=START,
        event="session.created",
        user_id="u",
        username="anna",
        session_id="s",
        device=device,
        address=None,
        reason=None,
    )


def test_what_a_client_calls_itself_steers_no_terminal_and_is_no_formula() -> None:
    hostile = row('\x1b]0;owned\x07=\u202e"x",\n')
    for rendered in (_line(hostile), _csv(hostile), _json(hostile)):
        assert rendered.count("\n") == 1
        assert not set(rendered) & {"\x1b", "\x07", "\u202e"} or rendered == _json(hostile)
    assert "\x1b" not in _json(hostile)
    for device in ("=1+1", "+1", "-1", "@x", " =1", "＝1+1"):
        assert f",'{device}," in _csv(row(device))


def test_a_semicolon_in_what_a_client_calls_itself_begins_no_formula() -> None:
    """Spreadsheets in many languages use semicolons as separators, and read commas as text."""
    assert ",x;'=1+1;'@y;z," in _csv(row("x;=1+1;@y;z"))


def test_personal_data_that_was_forgotten_is_null() -> None:
    assert '"device":null' in _json(row(None))


def test_a_failed_login_has_no_session_and_says_how_many_it_stands_for() -> None:
    failed = Row(
        at=START,
        event="login.failed",
        user_id=None,
        username=None,
        session_id=None,
        device="",
        address="192.0.2.1",
        reason="unknown_login",
        count=12,
    )
    assert msgspec.json.decode(_json(failed)) == {
        "at": "2026-01-01T00:00:00.000Z",
        "event": "login.failed",
        "user_id": None,
        "username": None,
        "session_id": None,
        "device": "",
        "address": "192.0.2.1",
        "reason": "unknown_login",
        "count": 12,
    }
    assert "count" not in msgspec.json.decode(_json(row("phone")))
    form = comma_separated(counts=True)
    assert form.header.endswith(",reason,count\n")
    assert form.of_row(failed) == "2026-01-01T00:00:00.000Z,login.failed,,,,,192.0.2.1,unknown_login,12\n"
    assert form.of_row(row("phone")).endswith(",phone,,,\n")
    assert _line(failed).endswith("  unknown_login x12\n")


def test_a_summary_has_a_line_for_each_count() -> None:
    counted = SummaryRow(day="2026-01-01", event="session.created", reason=None, count=3)
    assert json_lines().of_summary(counted) == (
        '{"day":"2026-01-01","event":"session.created","reason":null,"count":3}\n'
    )
    form = comma_separated(counts=True)
    assert form.summary_header + form.of_summary(counted) == ("day,event,reason,count\n2026-01-01,session.created,,3\n")
    assert table().of_summary(counted).split() == ["2026-01-01", "session.created", "3"]
