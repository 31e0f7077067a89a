"""Backup of the data keys on their own: apart from the events, or a restore would undo erasures.

The file is JSON, one object a line: a header, one record a key as stored (wrapped, so of no use without the master
keys), and an end with a checksum of all lines before it. The header has the key of the claims on addresses and names,
as it is: with it and the streams, addresses can be tested.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec

from contracts import envelope
from contracts.personal_data.key_ids import owner_of, wrapped_by
from infra.operator_errors import OperatorError
from streams.jetstream.key_value import Changed
from streams.personal_data.data_keys import MasterKeys, unwrap_person
from streams.personal_data.key_store import KeyRecord, KeyStore
from streams.personal_data.keys.destruction import KeyDestruction

_FORMAT = "vestnik data keys 1"


class BadKeyBackup(OperatorError):
    """The file is no whole backup of data keys."""


class KeyBackup(msgspec.Struct, frozen=True):
    # Existing keys, and tombstones of destroyed ones.
    keys: int
    destroyed: int


class KeyRestore(msgspec.Struct, kw_only=True):
    # Keys that were stored.
    restored: int = 0
    # Keys that were there.
    present: int = 0
    # Keys of the file that were destroyed here since, and stay destroyed.
    destroyed_here: int = 0
    # Keys here whose tombstone is in the file: destroyed now.
    destroyed_now: int = 0
    # Keys without a tombstone that the streams call destroyed: destroyed again, before the file was read.
    destroyed_again: int = 0
    # Keys here that differ from those of the file, and stay; what the file's keys sealed cannot be read.
    different: list[str] = msgspec.field(default_factory=list)
    # Users whose key is destroyed and whose erasure the streams do not have, so that it has to be repeated.
    erase_again: list[str] = msgspec.field(default_factory=list)


class _Header(msgspec.Struct, frozen=True):
    format: str
    created_at: datetime
    # In Base64; None in files of releases until 0.3.
    claims_key: bytes | None = None


class _Line(msgspec.Struct, frozen=True):
    key_id: str
    record: KeyRecord


class _End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lines: int
    sha256: str


async def back_up(store: KeyStore, claims_key: bytes, file: IO[bytes]) -> KeyBackup:
    """Writes all keys of the store, and the key of claims.

    Raises:
        KeysUnavailable: the store does not answer.
    """
    digest, lines, destroyed = hashlib.sha256(), 0, 0

    def write(value: object) -> None:
        line = _ENCODER.encode(value) + b"\n"
        digest.update(line)
        file.write(line)

    write(_Header(_FORMAT, envelope.now(), claims_key))
    async for page in store.pages():
        for key_id, record in page:
            write(_Line(key_id, record))
            lines += 1
            destroyed += record.destroyed_at is not None
    file.write(_ENCODER.encode(_End(lines, digest.hexdigest())) + b"\n")
    return KeyBackup(lines - destroyed, destroyed)


def check(path: Path) -> None:
    """Reads the whole file.

    Raises:
        BadKeyBackup: it is damaged, cut off, or something else.
    """
    for _ in _lines(path):
        pass


def claims_key(path: Path) -> bytes | None:
    """Returns the key of claims in the file; None: it is of a release until 0.3.

    Raises:
        BadKeyBackup: the file is damaged, cut off, or something else.
    """
    check(path)
    with path.open("rb") as file:
        return _header(file.readline(), path).claims_key


async def restore(path: Path, store: KeyStore, master_keys: MasterKeys) -> KeyRestore:
    """Stores the keys of the file that are missing. A tombstone, here or in the file, prevails over a key. Repeatable.

    Raises:
        BadKeyBackup: the file is damaged, cut off, or something else; nothing was changed.
        KeysUnavailable: the store does not answer, or a master key is missing.
    """
    check(path)
    result, destruction = KeyRestore(), KeyDestruction(store)
    for line in _lines(path):
        await _restore(line, store, master_keys, destruction, result)
    return result


async def _restore(
    line: _Line, store: KeyStore, master_keys: MasterKeys, destruction: KeyDestruction, result: KeyRestore
) -> None:
    while True:
        stored = await store.latest(line.key_id)
        if stored is None:
            try:
                await store.put(line.key_id, line.record, revision=0)
            except Changed:
                continue
            result.restored += 1
        elif line.record.destroyed_at is not None:
            # Also where the tombstone is: an interrupted destruction may have left the key beside it.
            destroyed = await destruction.destroy(line.key_id)
            result.destroyed_now += destroyed
            result.present += not destroyed
        elif stored.record.destroyed_at is not None:
            result.destroyed_here += 1
        elif _is_same(line, stored.record, master_keys):
            result.present += 1
        else:
            result.different.append(line.key_id)
        return


def _is_same(line: _Line, record: KeyRecord, master_keys: MasterKeys) -> bool:
    """Whether both are the same key, perhaps wrapped by different master keys."""
    if (line.record.kek, line.record.wrapped) == (record.kek, record.wrapped):
        return True
    if wrapped_by(line.key_id) is not None:
        return False
    return unwrap_person(line.key_id, line.record, master_keys) == unwrap_person(line.key_id, record, master_keys)


def _lines(path: Path) -> Iterator[_Line]:
    """The keys of the file.

    Raises:
        BadKeyBackup: at the latest at its end.
    """
    digest, count, previous = hashlib.sha256(), 0, b""
    try:
        with path.open("rb") as file:
            header = file.readline()
            _header(header, path)
            digest.update(header)
            for line in file:
                if previous:
                    digest.update(previous)
                    count += 1
                    yield _checked(msgspec.json.decode(previous, type=_Line), path)
                previous = line
            end = msgspec.json.decode(previous, type=_End)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadKeyBackup(f"{path} is damaged, cut off, or no backup of data keys: {error}") from error
    except OSError as error:
        raise BadKeyBackup(f"{path} cannot be read: {error.strerror}") from error
    if (end.lines, end.sha256) != (count, digest.hexdigest()):
        raise BadKeyBackup(f"{path} is damaged: its checksum differs")


def _header(line: bytes, path: Path) -> _Header:
    header = msgspec.json.decode(line, type=_Header)
    if header.format != _FORMAT:
        raise BadKeyBackup(f"{path} is no backup of data keys of a release that this one knows")
    return header


def _checked(line: _Line, path: Path) -> _Line:
    if owner_of(line.key_id) is None:
        raise BadKeyBackup(f"{path} is damaged: {line.key_id!r} is no key id")
    return line


_ENCODER = msgspec.json.Encoder()
