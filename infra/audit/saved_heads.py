"""Heads that an auditor keeps: a saved answer of `/.well-known/vestnik/heads`, what `vestnik audit verify` saved, or a
file of the folder of heads with the keys beside it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from contracts.events.notary import Hash, TreeHeadSigned
from infra import durable_files
from infra.audit.published_keys import JwkSet, public_keys
from infra.operator_errors import OperatorError
from streams.merkle.signatures import Signed, has_valid_signature


class SavedHead(msgspec.Struct, frozen=True, kw_only=True):
    """The signed fields of a head."""

    stream: str
    tree: int
    size: Annotated[int, Meta(ge=1)]
    last_sequence: int
    root: Hash
    at: str
    key_id: str
    signature: str

    @classmethod
    def of(cls, head: Signed) -> "SavedHead":
        return cls(**{name: getattr(head, name) for name in cls.__struct_fields__})

    def has_valid_signature(self, key: Ed25519PublicKey) -> bool:
        return has_valid_signature(TreeHeadSigned(**msgspec.structs.asdict(self)), key)

    def __str__(self) -> str:
        return f"the saved head of tree {self.tree} with {self.size:,} events ({self.at})"


class SavedHeads(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    items: list[SavedHead]
    keys: JwkSet
    # When `vestnik audit verify` found all events up to these heads as signed; None: an answer of the system.
    verified_at: str | None = None

    def of_stream(self, stream: str) -> list[SavedHead]:
        return [head for head in self.items if head.stream == stream]


def heads_of_others(streams: Collection[str], *files: SavedHeads | None) -> list[SavedHead]:
    """The heads of all other streams in files of earlier verifications, each once."""
    verified = [file for file in files if file is not None and file.verified_at is not None]
    return list(dict.fromkeys(head for file in verified for head in file.items if head.stream not in streams))


class _Line(msgspec.Struct, frozen=True):
    # Of the record's event.
    type: str


_SAVED = msgspec.json.Decoder(SavedHeads)
_HEAD = msgspec.json.Decoder(SavedHead)
_LINE = msgspec.json.Decoder(_Line)
# A file of the folder of heads, and the name of the one with the keys.
_LINES = ".jsonl"
_KEYS = "keys.json"


def load(path: Path) -> SavedHeads:
    """
    Raises:
        OperatorError: the file cannot be read, or a head in it is not signed with a key in it, or beside it.
    """
    try:
        saved = _of_lines(path) if path.suffix == _LINES else _SAVED.decode(path.read_bytes())
    except OSError as error:
        raise OperatorError(f"{error.filename} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise OperatorError(f"{path} is not a saved answer of /.well-known/vestnik/heads: {error}") from error
    keys = public_keys(saved.keys)
    for head in saved.items:
        key = keys.get(head.key_id)
        if key is None or not head.has_valid_signature(key):
            raise OperatorError(f"{path}: {head} of {head.stream} is not signed with a key in that file")
    return saved


def _of_lines(path: Path) -> SavedHeads:
    """The heads of one day in the folder of heads; the ends of trees are left out, and so is a line that was cut off.

    Raises:
        OSError: a file cannot be read.
        DecodeError: a line is whole, and no record.
    """
    heads = dict[SavedHead, None]()
    for line in path.read_bytes().splitlines():
        # A crash cuts off a line, which is written again after it.
        if line.endswith(b"}") and _LINE.decode(line).type == TreeHeadSigned.TYPE:
            heads[_HEAD.decode(line)] = None
    return SavedHeads(items=list(heads), keys=msgspec.json.decode(path.with_name(_KEYS).read_bytes(), type=JwkSet))


def save(path: Path, saved: SavedHeads) -> None:
    """Replaces the file; it is whole or unchanged.

    Raises:
        OperatorError: it cannot be written.
    """
    content = msgspec.json.format(msgspec.json.encode(saved), indent=2) + b"\n"
    try:
        durable_files.replace(path, content, mode=durable_files.PUBLIC)
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}") from error
