import base64
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.events.notary import TreeHeadSigned
from infra.audit.published_keys import Jwk, JwkSet
from infra.audit.saved_heads import SavedHead, SavedHeads, load, save
from infra.operator_errors import OperatorError
from streams.merkle.signatures import signed

KEY = Ed25519PrivateKey.generate()
JWK = Jwk(
    kid="key",
    kty="OKP",
    crv="Ed25519",
    x=base64.urlsafe_b64encode(KEY.public_key().public_bytes_raw()).rstrip(b"=").decode(),
)
HEAD = TreeHeadSigned(
    stream="MESSAGING", tree=1, size=2, last_sequence=2, root="00" * 32, at="2026-12-01T12:00:00.000Z", key_id="key"
)
SAVED = SavedHeads(items=[SavedHead.of(signed(HEAD, KEY))], keys=JwkSet([JWK]))


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    path.write_bytes(msgspec.json.encode(SAVED))
    assert load(path) == SAVED
    verified = msgspec.structs.replace(SAVED, verified_at="2026-12-01T13:00:00.000Z")
    save(path, verified)
    assert load(path) == verified
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OperatorError, match="cannot be written"):
        save(tmp_path / "nowhere" / "heads.json", verified)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a saved answer"),
        (b'{"items": []}', "is not a saved answer"),
        (msgspec.json.encode(SAVED).replace(b'"size":2', b'"size":3'), "is not signed with a key in that file"),
        (msgspec.json.encode(msgspec.structs.replace(SAVED, keys=JwkSet())), "is not signed with a key in that file"),
        (msgspec.json.encode(SAVED).replace(b"00" * 32, b"0" * 63), "is not a saved answer"),
    ],
)
def test_a_file_that_is_no_saved_answer_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "heads.json"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=message):
        load(path)
