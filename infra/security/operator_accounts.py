"""Operator accounts: who may open the page at /ops, in a file in the folder of secrets.

Nothing in a stream, in the database or in a token makes an account an operator's. It takes write access to that folder,
which would suffice to log in as the operator anyway. A change takes effect immediately, without a restart: each request
checks the file's version and reads it again if it has changed.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from infra.durable_files import replace
from infra.operator_errors import OperatorError
from infra.security.secret_files import locked

FILE = "operators.json"
# Identifies a version of the file: each is written as a new file and moved into place.
_Version = tuple[int, int, int]


class Operator(msgspec.Struct, frozen=True):
    """An account with an operator's rights."""

    user_id: str
    # Recorded with the operator's actions.
    username: str
    since: datetime
    # Who added it: their login name on the machine.
    by: str


class NoSuchOperator(OperatorError):
    """The account is not an operator's."""

    def __init__(self, user: str) -> None:
        super().__init__(f"{user} is not an operator")


class UnreadableOperators(OperatorError):
    """The file cannot be read, or its content is not valid."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} cannot be read: until it is fixed or removed, no account is an operator")


class Operators:
    """The operators in the file, reloaded when it changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._version: _Version | None = None
        self._known: dict[str, Operator] = {}

    def find(self, user_id: str) -> Operator | None:
        """The operator with this account; None if it is not an operator's.

        Raises:
            UnreadableOperators: the file cannot be read or its content is not valid.
        """
        # Before reading: a file that replaces this one meanwhile has another version at the next call.
        version = self._look()
        if version is None or version != self._version:
            self._known = {operator.user_id: operator for operator in self.all()}
            self._version = version
        return self._known.get(user_id)

    def _look(self) -> _Version | None:
        """The file's current version; None if it does not exist or cannot be checked."""
        try:
            file = os.stat(self._folder / FILE)
        except OSError:
            return None
        return file.st_ino, file.st_mtime_ns, file.st_size

    def all(self) -> list[Operator]:
        """All operators, in the order in which they were added.

        Raises:
            UnreadableOperators: the file cannot be read or its content is not valid.
        """
        path = self._folder / FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[Operator])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            raise UnreadableOperators(path) from error

    def add(self, user_id: str, username: str, by: str) -> Operator:
        """Makes the account an operator's; an existing entry is left unchanged."""
        with locked(self._folder):
            operators = self.all()
            operator = next((existing for existing in operators if existing.user_id == user_id), None)
            if operator is None:
                operator = Operator(user_id, username, datetime.now(UTC), by)
                self._write([*operators, operator])
        return operator

    def remove(self, user: str) -> Operator:
        """Removes an operator, by id or username.

        Raises:
            NoSuchOperator: no operator has that id or username.
        """
        with locked(self._folder):
            removed = self.named(user)
            self._write([existing for existing in self.all() if existing.user_id != removed.user_id])
        return removed

    def named(self, user: str) -> Operator:
        """The operator with this id or username.

        Raises:
            NoSuchOperator: no operator has that id or username.
            UnreadableOperators: as `all`.
        """
        operator = next((known for known in self.all() if user in (known.user_id, known.username)), None)
        if operator is None:
            raise NoSuchOperator(user)
        return operator

    def name_of(self, operator: str) -> str:
        """The username of an operator whom an event names by the account's id.

        A login name stays, and so does the id of an account that is no operator's any more.
        """
        try:
            known = self.find(operator)
        except UnreadableOperators:
            known = None
        return operator if known is None else known.username

    def id_of(self, operator: str) -> str:
        """The account's id of an operator with this username; another text stays as it is."""
        try:
            return self.named(operator).user_id
        except (NoSuchOperator, UnreadableOperators):
            return operator

    def _write(self, operators: list[Operator]) -> None:
        replace(self._folder / FILE, msgspec.json.format(msgspec.json.encode(operators)))
