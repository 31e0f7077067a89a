"""What a log line holds, as text and as JSON."""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from contracts.personal_data.key_ids import person_key, text_key
from contracts.values.ids import new_id
from infra.logs.log_format import JsonFormatter, TextFormatter, user_digest
from infra.rpc import call_context
from infra.rpc.call_context import Call

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
DETAIL = "duplicate key\nDETAIL:  Key (username)=(anna) already\n\nexists."


@pytest.fixture
def call() -> Iterator[Call]:
    call = Call(request_id="theirs", correlation_id="ours", traceparent=f"00-{TRACE}-00f067aa0ba902b7-01", actor="anna")
    token = call_context.enter(call)
    yield call
    call_context._current.reset(token)


def record(message: str = "it is %s", *args: object, error: BaseException | None = None) -> logging.LogRecord:
    raised = (type(error), error, error.__traceback__) if error is not None else None
    log_record = logging.LogRecord("streams.log", logging.WARNING, __file__, 1, message, args, raised)
    log_record.created = 1_767_225_600.25
    return log_record


def caught(cause: Exception | None = None) -> Exception:
    try:
        raise ValueError(DETAIL) from cause
    except ValueError as error:
        return error


def test_a_line_in_json_has_the_fields_that_a_collector_needs() -> None:
    line = json.loads(JsonFormatter("auth").format(record("it is %s", 'a "word"\nand\u2028more\udc80')))
    assert line.pop("pid") > 0
    assert line == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "WARNING",
        "logger": "streams.log",
        "message": 'it is a "word"\nand\u2028more\udc80',
        "service": "auth",
    }


def test_a_line_names_the_request_and_the_trace_that_are_served_and_not_the_user(call: Call) -> None:
    line = JsonFormatter("auth").format(record("hello"))
    fields = json.loads(line)
    assert (fields["request_id"], fields["correlation_id"], fields["trace_id"]) == ("theirs", "ours", TRACE)
    assert "anna" not in line
    assert TextFormatter().format(record("hello")) == "WARNING streams.log: hello (request theirs)"


def test_an_exception_is_a_field_of_the_same_line() -> None:
    line = JsonFormatter("auth").format(record("failed", error=caught()))
    assert "\n" not in line
    assert json.loads(line)["exception"].splitlines()[-1] == "ValueError: duplicate key"


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter("auth")], ids=["text", "json"])
def test_values_of_rows_in_errors_of_the_database_are_left_out(formatter: logging.Formatter) -> None:
    error = caught(cause=caught())
    for line in (formatter.format(record("%s", DETAIL)), formatter.format(record("failed", error=error))):
        assert "duplicate key" in line
        assert "anna" not in line
        assert "exists" not in line
    # The cause does not hide the error that it led to.
    assert line.count("ValueError: duplicate key") == 2


def test_a_line_is_never_longer_than_collectors_take() -> None:
    try:
        raise ValueError("x" * 1_000_000)
    except ValueError:
        log_record = record("%s", "y" * 1_000_000)
        log_record.exc_info = sys.exc_info()
    assert len(JsonFormatter("auth").format(log_record)) < 100_000


def test_a_digest_with_the_key_of_all_processes_stands_for_the_user(call: Call) -> None:
    lines = [
        json.loads(JsonFormatter(service, key).format(record("hello")))
        for service, key in (("auth", b"k" * 32), ("session", b"k" * 32), ("session", b"o" * 32))
    ]
    assert [line["user"] for line in lines[:2]] == ["2dadd6a44590d38ab3042e24a19fe120"] * 2
    assert lines[2]["user"] != lines[0]["user"]
    assert "user" not in json.loads(JsonFormatter("auth").format(record("hello")))
    assert "user" not in TextFormatter().format(record("hello"))


def test_ids_of_keys_name_no_user_and_no_conversation() -> None:
    user, conversation = new_id(), new_id()
    text = text_key(conversation, user, datetime(2026, 12, 1, tzinfo=UTC))
    message = f"no key {person_key(user)}, none {text}, none address.{user}.2026-12"
    error = ValueError(message)
    line = json.loads(JsonFormatter("auth", b"key").format(record("%s", message, error=error)))
    digest = user_digest(b"key", user)
    assert line["message"] == f"no key person.{digest}, none text.{digest}.2026-12, none address.{digest}.2026-12"
    assert line["exception"].endswith(line["message"])
    for formatter in (TextFormatter(), JsonFormatter("auth")):
        text = formatter.format(record("%s", message, error=error))
        assert user not in text
        assert conversation not in text
