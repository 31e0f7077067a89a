"""The journal of a load, from which it resumes: an append-only file with one JSON object per line.

Losing it, or its last lines, costs only time, since every step of a load is idempotent. It holds refresh tokens and is
readable by its owner only.
"""

import fcntl
import os
from pathlib import Path
from typing import IO

import msgspec

from infra.load.errors import LoadError
from infra.load.history_file import Pair


class Began(msgspec.Struct, frozen=True, tag="began"):
    """The first line: the history that is loaded, and the gateway."""

    digest: str
    url: str


class Person(msgspec.Struct, frozen=True, tag="person"):
    """A person has an account, or a newer refresh token."""

    name: str
    user_id: str
    refresh_token: str


class Friends(msgspec.Struct, frozen=True, tag="friends"):
    pair: Pair


class Sent(msgspec.Struct, frozen=True, tag="sent"):
    line: int


Entry = Began | Person | Friends | Sent
_DECODER = msgspec.json.Decoder(Entry)
_ENCODER = msgspec.json.Encoder()


class Journal:
    """The state file, open and locked; the content for another history or another gateway is discarded."""

    def __init__(self, path: Path, *, digest: str, url: str) -> None:
        self._began = Began(digest, url)
        self._file = _open_alone(path)
        self.people: dict[str, Person] = {}
        self.friends: set[Pair] = set()
        self.sent: set[int] = set()
        self._read()

    def person(self, name: str, user_id: str, refresh_token: str) -> None:
        entry = Person(name, user_id, refresh_token)
        self.people[name] = entry
        self._append(entry)

    def befriended(self, pair: Pair) -> None:
        self.friends.add(pair)
        self._append(Friends(pair))

    def sent_line(self, line: int) -> None:
        self.sent.add(line)
        self._append(Sent(line))

    def start_over(self) -> None:
        """Clears the journal."""
        self.people.clear()
        self.friends.clear()
        self.sent.clear()
        self._file.seek(0)
        self._file.truncate()
        self._append(self._began)
        self.flush()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _append(self, entry: Entry) -> None:
        self._file.write(_ENCODER.encode(entry) + b"\n")

    def _read(self) -> None:
        good = 0
        self._file.seek(0)
        for row in self._file:
            try:
                entry = _DECODER.decode(row)
            except msgspec.DecodeError:
                break
            # A line without its newline is incomplete: a crash may have cut off the last one.
            if not row.endswith(b"\n") or (good == 0 and entry != self._began):
                break
            self._take(entry)
            good += len(row)
        if good == 0:
            self.start_over()
            return
        self._file.seek(good)
        self._file.truncate()

    def _take(self, entry: Entry) -> None:
        match entry:
            case Person(name):
                self.people[name] = entry
            case Friends(pair):
                self.friends.add(pair)
            case Sent(line):
                self.sent.add(line)
            case Began():
                pass


def _open_alone(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except OSError as error:
        raise LoadError(f"Cannot write the state file {path}: {error.strerror or error}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise LoadError(f"Another load is using {path}.") from error
    return file
