"""Reads the verification tokens that a system without an SMTP server writes to its mail directory."""

import asyncio
import email
import email.policy
import os
import re
import time
from email.message import EmailMessage
from email.utils import getaddresses
from pathlib import Path

_TOKEN = re.compile(r"^Token: (\S+)\s*$", re.MULTILINE)
_SCAN_SECONDS = 0.05


class Mailbox:
    """The mail directory, shared by all waiting requests: each file is read once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # Address to tokens, the newest last.
        self._tokens: dict[str, list[str]] = {}
        # Size of each file when it was read; a file whose size has changed is read again.
        self._read: dict[str, int] = {}
        self._scanned_at = float("-inf")

    async def token(self, address: str, *, timeout: float, other_than: frozenset[str] = frozenset()) -> str | None:
        """Returns the newest token mailed to the address that is not in `other_than`; None if none arrives in time."""
        deadline = time.monotonic() + timeout
        while True:
            self._scan()
            fresh = [token for token in self._tokens.get(address.lower(), ()) if token not in other_than]
            if fresh:
                return fresh[-1]
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(_SCAN_SECONDS)

    def _scan(self) -> None:
        """Reads new files, at most once per half polling interval for all callers."""
        if time.monotonic() - self._scanned_at < _SCAN_SECONDS / 2:
            return
        for path, size, _ in sorted(self._unread(), key=lambda entry: entry[2]):
            content = _read(path)
            if content is None:
                continue
            self._read[path.name] = size
            for address, token in _tokens(content):
                self._tokens.setdefault(address, []).append(token)
        self._scanned_at = time.monotonic()

    def _unread(self) -> list[tuple[Path, int, float]]:
        try:
            with os.scandir(self.directory) as entries:
                mails = [(Path(entry.path), entry.stat()) for entry in entries if entry.name.endswith(".eml")]
        except FileNotFoundError:
            return []
        return [
            (path, stat.st_size, stat.st_mtime) for path, stat in mails if self._read.get(path.name) != stat.st_size
        ]


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _tokens(content: bytes) -> list[tuple[str, str]]:
    message = email.message_from_bytes(content, EmailMessage, policy=email.policy.default)
    body = message.get_body(("plain",))
    match = _TOKEN.search(body.get_content()) if body is not None else None
    if match is None:
        return []
    recipients = getaddresses([str(header) for header in message.get_all("To", [])])
    return [(address.lower(), match[1]) for _, address in recipients]
