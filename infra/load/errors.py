"""What ends a load, or one of its requests; the message is what the operator reads."""

from infra.operator_errors import OperatorError


class LoadError(OperatorError):
    """The load cannot begin or go on."""


class Refused(Exception):
    """The gateway answered with an error that repeating will not change."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        super().__init__(f"{status} {code}: {detail}")


class GaveUp(Exception):
    """The request was repeated for as long as patience lasts."""
