"""Who is an operator: the accounts that may open the page at /ops, in a file of the folder of secrets.

Nobody becomes an operator by what is in a stream, in the database or in a token: whoever may write in that folder says
so, and he could log in as the operator anyway. A change counts at once, without a restart: the file is looked
at for each request, and read where it is another.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from infra.operator_errors import OperatorError
from infra.security.secret_files import locked, replace

FILE = "operators.json"
# Tells one version of the file from another: each is a file of its own, moved into its place.
_Version = tuple[int, int, int]


class Operator(msgspec.Struct, frozen=True):
    """An account that may see and do what an operator may."""

    user_id: str
    # As what it does is recorded.
    username: str
    since: datetime
    # Who said so, by the name at the machine.
    by: str


class NoSuchOperator(OperatorError):
    """The account is not an operator's."""

    def __init__(self, user: str) -> None:
        super().__init__(f"{user} is not an operator")


class UnreadableOperators(OperatorError):
    """The file is not what we write."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} cannot be read: until it is mended or removed, nobody is an operator")


class Operators:
    """The operators, as they stand in the file now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._version: _Version | None = None
        self._known: dict[str, Operator] = {}

    def find(self, user_id: str) -> Operator | None:
        """The operator whose account this is.

        Raises:
            UnreadableOperators: the file is not what we write.
        """
        # Before it is read: one that takes its place meanwhile is another the next time.
        version = self._look()
        if version is None or version != self._version:
            self._known = {each.user_id: each for each in self.all()}
            self._version = version
        return self._known.get(user_id)

    def _look(self) -> _Version | None:
        """Which version of the file is there; None where there is none, or it cannot be looked at."""
        try:
            found = os.stat(self._folder / FILE)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def all(self) -> list[Operator]:
        """All of them, who became one first before the others.

        Raises:
            UnreadableOperators: the file is not what we write.
        """
        path = self._folder / FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[Operator])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            raise UnreadableOperators(path) from error

    def add(self, user_id: str, username: str, by: str) -> Operator:
        """Makes the account an operator's; who is one already stays as he is."""
        with locked(self._folder):
            known = self.all()
            found = next((each for each in known if each.user_id == user_id), None)
            if found is None:
                found = Operator(user_id, username, datetime.now(UTC), by)
                self._write([*known, found])
        return found

    def remove(self, user: str) -> Operator:
        """Takes it back, by id or username.

        Raises:
            NoSuchOperator: there is none of that name.
        """
        with locked(self._folder):
            known = self.all()
            found = next((each for each in known if user in (each.user_id, each.username)), None)
            if found is None:
                raise NoSuchOperator(user)
            self._write([each for each in known if each is not found])
        return found

    def _write(self, operators: list[Operator]) -> None:
        replace(self._folder / FILE, msgspec.json.format(msgspec.json.encode(operators)))
