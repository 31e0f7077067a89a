"""The published keys of the notary, as a JWK set (RFC 7517)."""

from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contracts.values import base64url
from infra.operator_errors import OperatorError
from infra.security.notary.keys import JWKS


class Jwk(msgspec.Struct, frozen=True, kw_only=True):
    kid: str
    kty: str = ""
    crv: str = ""
    # The public key, base64url without padding.
    x: str = ""


class JwkSet(msgspec.Struct, frozen=True):
    keys: list[Jwk] = []


def public_keys(jwks: JwkSet) -> dict[str, Ed25519PublicKey]:
    """The Ed25519 keys by id.

    Raises:
        OperatorError: a key cannot be read, or two have one id.
    """
    keys: dict[str, Ed25519PublicKey] = {}
    for jwk in jwks.keys:
        if jwk.kid in keys:
            raise OperatorError(f"two keys of the notary have the id {jwk.kid}")
        if (jwk.kty, jwk.crv) != ("OKP", "Ed25519"):
            raise OperatorError(f"the key {jwk.kid} of the notary is not an Ed25519 key")
        try:
            raw = base64url.decode(jwk.x)
            keys[jwk.kid] = Ed25519PublicKey.from_public_bytes(raw)
        except ValueError as error:
            raise OperatorError(f"the key {jwk.kid} of the notary cannot be read: {error}") from error
    return keys


def load_published(secrets: Path) -> JwkSet:
    """The keys that the system publishes.

    Raises:
        OperatorError: they cannot be read.
    """
    path = secrets / JWKS
    try:
        return msgspec.json.decode(path.read_bytes(), type=JwkSet)
    except OSError as error:
        raise OperatorError(f"{path}, the public keys of the notary, cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise OperatorError(f"{path} is not a JWK set: {error}") from error


def changed_keys(kept: JwkSet, published: JwkSet) -> list[str]:
    """Describes the saved keys that are published no longer, or changed: a published key must stay as it is."""
    present = {jwk.kid: jwk.x for jwk in published.keys}
    return [
        f"the key {jwk.kid} of the notary, which was kept, is {'another one now' if jwk.kid in present else 'gone'}"
        for jwk in kept.keys
        if present.get(jwk.kid) != jwk.x
    ]
