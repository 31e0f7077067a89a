import base64

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.audit.published_keys import Jwk, JwkSet, changed_keys, public_keys
from infra.operator_errors import OperatorError


def jwk(kid: str) -> Jwk:
    raw = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    return Jwk(kid=kid, kty="OKP", crv="Ed25519", x=base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


A, B = jwk("a"), jwk("b")


def test_published_keys_are_known_by_their_ids() -> None:
    assert list(public_keys(JwkSet([A, B]))) == ["a", "b"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([A, A], "two keys of the notary have the id a"),
        ([msgspec.structs.replace(A, crv="X25519")], "is not an Ed25519 key"),
        ([msgspec.structs.replace(A, x="AAAA")], "cannot be read"),
        ([msgspec.structs.replace(A, x="A")], "cannot be read"),
    ],
)
def test_a_set_with_a_key_that_is_none_is_refused(keys: list[Jwk], message: str) -> None:
    with pytest.raises(OperatorError, match=message):
        public_keys(JwkSet(keys))


def test_a_kept_key_that_is_gone_or_another_one_is_named() -> None:
    assert changed_keys(JwkSet([A]), JwkSet([A, B])) == []
    assert changed_keys(JwkSet([A]), JwkSet([B])) == ["the key a of the notary, which was kept, is gone"]
    assert changed_keys(JwkSet([A]), JwkSet([jwk("a")])) == [
        "the key a of the notary, which was kept, is another one now"
    ]
