"""What gateways tell each other about presence. A user is 16 bytes: a gateway with 20,000 users fits into a message."""

from collections.abc import Iterable

import msgspec

_ID_BYTES = 16


class Changes(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """Users who came or went at a gateway since its last message of this kind."""

    gateway: str
    # How many of these messages the gateway has sent: a gap shows that one was lost.
    number: int
    # When those who went were last connected, Unix time.
    at: float
    online: bytes
    offline: bytes
    # Users who are no longer shown, whether they went or not.
    hidden: bytes


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    """The gateway lives. `number`: of its last Changes."""

    gateway: str
    number: int


class Snapshot(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """All users who are online at a gateway, after its Changes up to `number`."""

    gateway: str
    number: int
    online: bytes


class SnapshotRequest(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """Asks a gateway for its snapshot; all gateways if empty."""

    gateway: str


class Watch(msgspec.Struct, frozen=True, array_like=True):
    """A session's clients, at any gateway, are to receive changes of the presence that a response contained."""

    # The gateway that answered.
    gateway: str
    user_id: str
    session_id: str
    online: bytes
    offline: bytes


PresenceMessage = Changes | Heartbeat | Snapshot | SnapshotRequest


def pack(user_ids: Iterable[str]) -> bytes:
    return bytes.fromhex("".join(user_ids).replace("-", ""))


def unpack(packed: bytes) -> list[str]:
    digits = packed.hex()
    step = 2 * _ID_BYTES
    ids = (digits[begin : begin + step] for begin in range(0, len(digits), step))
    return [f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}" for one in ids]
