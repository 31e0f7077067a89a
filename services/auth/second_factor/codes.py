"""Codes as people enter them: those of an authenticator app (TOTP, RFC 6238) and recovery codes.

An app's code has six digits of the HMAC-SHA-1 of the time step, 30 seconds long. One step before and one after the
current one are accepted too: clocks differ, and typing takes time. A recovery code has 80 random bits.
"""

import base64
import hashlib
import hmac
import secrets
import unicodedata
from datetime import datetime

import pyotp
import segno

DIGITS = 6
STEP = 30
# Steps before and after the current one.
SKEW = 1
RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_GROUP = 4
_ISSUER = "Vestnik"
_PURPOSE = b"vestnik recovery code 1\0"


def normalized(text: str) -> str:
    """The code without separators, in lower case, with ASCII digits: apps and people write `123 456`."""
    plain = "".join(text.split()).replace("-", "").lower()
    return "".join(str(unicodedata.decimal(character, character)) for character in plain)


def is_app_code(code: str) -> bool:
    """Whether it has the form of an app's code; anything else can only be a recovery code."""
    return len(code) == DIGITS and code.isascii() and code.isdigit()


def new_secret() -> str:
    """A random secret of 160 bits, in Base32."""
    return pyotp.random_base32()


def matching_steps(secret: str, code: str, now: datetime) -> tuple[int, ...]:
    """The time steps around `now` that have this code; compares each in constant time."""
    totp, current = pyotp.TOTP(secret, digits=DIGITS, interval=STEP), int(now.timestamp()) // STEP
    steps = range(max(0, current - SKEW), current + SKEW + 1)
    return tuple(step for step in steps if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()))


def otpauth_uri(secret: str, account: str) -> str:
    """The secret and its name as authenticator apps read them from a QR code."""
    return pyotp.TOTP(secret, digits=DIGITS, interval=STEP, name=account, issuer=_ISSUER).provisioning_uri()


def qr_code(text: str) -> list[str]:
    """The rows of the text's QR code: `1` is dark, `0` light; without the margin."""
    return ["".join("1" if module else "0" for module in row) for row in segno.make_qr(text, error="m").matrix]


def new_recovery_codes() -> list[str]:
    """Ten random codes, in groups of four characters: `abcd-efgh-2345-6767`."""
    return [_new_recovery_code() for _ in range(RECOVERY_CODES)]


def _new_recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


class RecoveryDigests:
    """Digests of recovery codes, for events: an HMAC, because 80 random bits cannot be guessed as a password can."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, user_id: str, code: str) -> str:
        text = f"{user_id}:{normalized(code)}"
        return hmac.digest(self._key, _PURPOSE + text.encode(), hashlib.sha256).hex()[:32]
