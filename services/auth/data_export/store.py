"""Stores files encrypted in a bucket of the event store, in parts of 256 KiB, where every replica finds them.

The events of users may be sealed with keys of their own, but a file is a plain copy: without encryption, it could
be read from the store's disks. Each file has a key of its own, derived from a key that auth alone has, so that a
part's number is nonce enough. A part is good for its own place, file and user alone.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from contracts.errors import DataExportExpired
from contracts.values.ids import new_id
from streams.jetstream.key_value import KeyValue

PART_BYTES = 256 * 1024
_NONCE_BYTES = 12
_PURPOSE = b"vestnik data export 1\0"
# Detail of the refusal.
LOST = "The file with this copy of your data is lost; request another one."


class TooLarge(Exception):
    """The file would be larger than allowed."""


class FileStore:
    def __init__(self, bucket: KeyValue, key: bytes, *, most_bytes: int) -> None:
        """`most_bytes`: of one file."""
        self._bucket = bucket
        self._key = key
        self.most_bytes = most_bytes

    def new_file(self, user_id: str) -> "FileWriter":
        return FileWriter(self, user_id, new_id())

    async def read(self, user_id: str, file_id: str, part: int) -> bytes | None:
        """Reads a part of a complete file; None: the replica that answers does not have it.

        Raises:
            DataExportExpired: the part is unreadable: it was encrypted with another key.
            Unavailable: the store does not answer.
        """
        key = _key(file_id, part)
        sealed = (await self._bucket.get_many([key])).get(key)
        if sealed is None:
            return None
        try:
            return self._cipher(user_id, file_id).decrypt(_nonce(part), sealed, None)
        except InvalidTag as error:
            raise DataExportExpired(LOST) from error

    async def write(self, user_id: str, file_id: str, part: int, content: bytes) -> None:
        """
        Raises:
            Unavailable: it is unknown whether the part was stored, or the store is full.
        """
        sealed = self._cipher(user_id, file_id).encrypt(_nonce(part), content, None)
        await self._bucket.put(_key(file_id, part), sealed)

    async def remove(self, file_id: str, parts: int) -> None:
        """Removes a file that is not needed, as far as possible; what is left expires.

        Raises:
            Unavailable: some parts may be left.
        """
        for part in range(parts):
            await self._bucket.delete(_key(file_id, part), seconds=1)

    def _cipher(self, user_id: str, file_id: str) -> AESGCM:
        about = _PURPOSE + user_id.encode() + b"\0" + file_id.encode()
        return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=about).derive(self._key))


class FileWriter:
    """Writes one file: collects bytes synchronously, and stores whole parts when flushed."""

    def __init__(self, store: FileStore, user_id: str, file_id: str) -> None:
        self._store = store
        self._user_id = user_id
        self.file_id = file_id
        self.parts = 0
        self.size = 0
        self._pending = bytearray()
        self._ignores = False

    def write(self, content: bytes) -> int:
        """Takes bytes; they stay in memory until `flush_parts`.

        Raises:
            TooLarge: the file has reached its greatest size.
        """
        if self._ignores:
            return len(content)
        self.size += len(content)
        if self.size > self._store.most_bytes:
            raise TooLarge
        self._pending += content
        return len(content)

    def flush(self) -> None:
        """As of a file object; nothing is stored here."""

    def ignore(self) -> None:
        """Drops all further bytes."""
        self._ignores = True
        self._pending.clear()

    async def flush_parts(self, *, last: bool = False) -> None:
        """Stores the whole parts; with `last` also the rest.

        Raises:
            Unavailable: as `FileStore.write`.
        """
        while len(self._pending) >= PART_BYTES or (last and self._pending):
            content = bytes(self._pending[:PART_BYTES])
            await self._store.write(self._user_id, self.file_id, self.parts, content)
            del self._pending[:PART_BYTES]
            self.parts += 1

    async def discard(self) -> None:
        """
        Raises:
            Unavailable: some parts may be left, until they expire.
        """
        await self._store.remove(self.file_id, self.parts + 1)


def _key(file_id: str, part: int) -> str:
    return f"{file_id}.{part}"


def _nonce(part: int) -> bytes:
    return part.to_bytes(_NONCE_BYTES, "big")
