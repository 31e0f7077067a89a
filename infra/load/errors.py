"""Errors that end a load or one of its requests; the operator sees their messages."""

from infra.operator_errors import OperatorError


class LoadError(OperatorError):
    """The load cannot start or continue."""


class Refused(Exception):
    """The gateway answered with a permanent error."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        super().__init__(f"{status} {code}: {detail}")


class GaveUp(Exception):
    """The request was retried until its deadline."""
