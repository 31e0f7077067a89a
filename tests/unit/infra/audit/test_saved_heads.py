import base64
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.events.notary import TreeHeadSigned
from infra.audit.published_keys import Jwk, JwkSet
from infra.audit.saved_heads import SavedHead, SavedHeads, heads_of_others, load, save
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
NO_SIZE = msgspec.structs.replace(HEAD, size=-1)
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


def test_verified_heads_of_streams_that_are_not_verified_now_are_kept() -> None:
    messaging = SAVED.items[0]
    auth, contact = (msgspec.structs.replace(messaging, stream=stream) for stream in ("AUTH", "CONTACT"))
    at = "2026-12-01T13:00:00.000Z"
    source = SavedHeads(items=[messaging, auth], keys=SAVED.keys, verified_at=at)
    replaced = SavedHeads(items=[auth, contact], keys=SAVED.keys, verified_at=at)
    assert heads_of_others(["MESSAGING"], source, replaced) == [auth, contact]
    # Heads that were not compared with the events are none to continue from.
    assert heads_of_others(["MESSAGING"], msgspec.structs.replace(source, verified_at=None), None) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a saved answer"),
        (b'{"items": []}', "is not a saved answer"),
        (msgspec.json.encode(SAVED).replace(b'"size":2', b'"size":3'), "is not signed with a key in that file"),
        (msgspec.json.encode(msgspec.structs.replace(SAVED, keys=JwkSet())), "is not signed with a key in that file"),
        # A whole number that is no size would have the audit compare nothing, without an end.
        (
            msgspec.json.encode(msgspec.structs.replace(SAVED, items=[SavedHead.of(signed(NO_SIZE, KEY))])),
            "is not a saved answer",
        ),
        (msgspec.json.encode(SAVED).replace(b"00" * 32, b"0" * 63), "is not a saved answer"),
    ],
)
def test_a_file_that_is_no_saved_answer_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "heads.json"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=message):
        load(path)


def test_a_file_of_the_folder_of_heads_is_read_with_the_keys_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "heads-2026-12-01.jsonl"
    later_head = SavedHead.of(signed(msgspec.structs.replace(HEAD, size=3, last_sequence=3), KEY))

    def line(head: SavedHead) -> bytes:
        fields = {"sequence": 7, "id": "an event's", "type": "tree_head.signed"} | msgspec.structs.asdict(head)
        return msgspec.json.encode(fields) + b"\n"

    first, second = line(SAVED.items[0]), line(later_head)
    end = msgspec.json.encode({"sequence": 8, "type": "tree.closed", "stream": "MESSAGING"}) + b"\n"
    # One was cut off, and one is there twice.
    path.write_bytes(first + second[:50] + b"\n" + second + end + first)
    with pytest.raises(OperatorError, match=r"keys\.json cannot be read"):
        load(path)
    (tmp_path / "keys.json").write_bytes(msgspec.json.encode(JwkSet([JWK])))
    assert load(path) == SavedHeads(items=[SAVED.items[0], later_head], keys=JwkSet([JWK]))
    path.write_bytes(first + second.replace(b'"size":3', b'"size":4'))
    with pytest.raises(OperatorError, match="is not signed with a key in that file"):
        load(path)
    path.write_bytes(first + b"{}\n")
    with pytest.raises(OperatorError, match="is not a saved answer"):
        load(path)
