"""The two formats of a log line: readable text, and JSON with one object a line."""

import hmac
import json
import logging
import re
from datetime import UTC, datetime
from types import TracebackType

from contracts.personal_data.key_ids import KEYS_IN_TEXT
from infra.rpc.call_context import serving

# Characters of a message or of an exception in JSON: collectors drop lines that are much longer.
_LONGEST = 32_000
# What PostgreSQL adds to an error may hold values of rows, and so personal data: from there on to the end of the text
# of the exception.
_VALUES = re.compile(
    r"\n(?:DETAIL|CONTEXT):.*?(?=\n\n(?:The above exception was|During handling of the above)|\Z)", re.DOTALL
)
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class TextFormatter(logging.Formatter):
    """Level, logger, message, and the id of the request that is being served."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        call = serving()
        request = f" (request {call.request_id})" if call is not None else ""
        return _without_users(_without_values(super().formatMessage(record))) + request

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - the library's name
        return _without_users(_without_values(super().formatException(ei)))


class JsonFormatter(logging.Formatter):
    """One object a line; request, correlation and trace ids are those of the call that is being served, as is the user.

    A digest with a key stands for the user: it shows which lines belong to the same user, but not to which one.
    """

    def __init__(self, service: str, user_key: bytes | None = None) -> None:
        """`user_key`: key of the digests; None: no line says for which user it is."""
        super().__init__()
        self._service = service
        self._user_key = user_key

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            **json_fields(record.created, record.levelname, record.name, self._message(record), self._service),
            "pid": record.process,
        }
        call = serving()
        if call is not None:
            fields["request_id"] = call.request_id
            if call.correlation_id:
                fields["correlation_id"] = call.correlation_id
            if call.traceparent:
                fields["trace_id"] = call.traceparent.split("-")[1]
            if call.actor and self._user_key is not None:
                fields["user"] = user_digest(self._user_key, call.actor)
        if record.exc_info and record.exc_info[0] is not None:
            # Its end names the error.
            exception = _without_values(self.formatException(record.exc_info))
            fields["exception"] = _without_users(exception, self._user_key)[-_LONGEST:]
        return json.dumps(fields)

    def _message(self, record: logging.LogRecord) -> str:
        return _without_users(record.getMessage(), self._user_key)


def user_digest(key: bytes, user_id: str) -> str:
    """Stands for a user: the first half of the HMAC-SHA256 of the id, in hexadecimal."""
    return hmac.digest(key, user_id.encode(), "sha256")[:16].hex()


def json_fields(created: float, level: str, logger: str, message: str, service: str) -> dict[str, object]:
    """The fields that every line has. `created`: Unix time."""
    time = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    return {
        "time": time.replace("+00:00", "Z"),
        "level": level,
        "logger": logger,
        "message": _without_values(message)[:_LONGEST],
        "service": service,
    }


def _without_users(text: str, user_key: bytes | None = None) -> str:
    """The text with a digest of the user, or nothing, in place of the ids of users and conversations in ids of keys."""

    def replaced(key_id: re.Match[str]) -> str:
        user = "…" if user_key is None else user_digest(user_key, key_id["user"])
        return f"{key_id['kind'].partition('.')[0]}.{user}"

    return KEYS_IN_TEXT.sub(replaced, text)


def _without_values(text: str) -> str:
    return _VALUES.sub("", text)
