"""Heads that an auditor keeps: a saved answer of `/.well-known/vestnik/heads`, or what `vestnik audit verify` saved."""

import os
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contracts.events.notary import Hash, TreeHeadSigned
from infra.audit.published_keys import JwkSet, public_keys
from infra.operator_errors import OperatorError
from streams.merkle.signatures import Signed, has_valid_signature


class SavedHead(msgspec.Struct, frozen=True, kw_only=True):
    """The signed fields of a head."""

    stream: str
    tree: int
    size: int
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


_SAVED = msgspec.json.Decoder(SavedHeads)


def load(path: Path) -> SavedHeads:
    """
    Raises:
        OperatorError: the file cannot be read, or a head in it is not signed with a key in it.
    """
    try:
        saved = _SAVED.decode(path.read_bytes())
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise OperatorError(f"{path} is not a saved answer of /.well-known/vestnik/heads: {error}") from error
    keys = public_keys(saved.keys)
    for head in saved.items:
        key = keys.get(head.key_id)
        if key is None or not head.has_valid_signature(key):
            raise OperatorError(f"{path}: {head} of {head.stream} is not signed with a key in that file")
    return saved


def save(path: Path, saved: SavedHeads) -> None:
    """Replaces the file; it is whole or unchanged.

    Raises:
        OperatorError: it cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(saved), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}") from error
