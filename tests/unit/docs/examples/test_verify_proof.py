"""The stand-alone verifier, against trees that are built here by the recursive definitions of RFC 9162."""

import base64
import hashlib
import importlib.util
import json
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

Json = dict[str, Any]
FILE = Path(__file__).resolve().parents[4] / "docs" / "examples" / "verify_proof.py"
STREAM, KEY_ID, AT = "MESSAGING", "20261201T000000Z-00000000", "2026-12-01T12:00:00.000Z"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_proof", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verifier = loaded()


# RFC 9162, section 2.1, word for word


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def split(count: int) -> int:
    """The largest power of two smaller than `count`."""
    return 1 << (count - 1).bit_length() - 1


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0])
    middle = split(len(leaves))
    return sha256(b"\x01" + tree_hash(leaves[:middle]) + tree_hash(leaves[middle:]))


def inclusion(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    middle = split(len(leaves))
    if index < middle:
        return [*inclusion(index, leaves[:middle]), tree_hash(leaves[middle:])]
    return [*inclusion(index - middle, leaves[middle:]), tree_hash(leaves[:middle])]


def consistency(size: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    if size == len(leaves):
        return [] if whole else [tree_hash(leaves)]
    middle = split(len(leaves))
    if size <= middle:
        return [*consistency(size, leaves[:middle], whole=whole), tree_hash(leaves[middle:])]
    return [*consistency(size - middle, leaves[middle:], whole=False), tree_hash(leaves[:middle])]


# Proofs of invented events


def event(number: int) -> Json:
    payload = json.dumps({"id": f"event-{number}", "type": "message.sent", "data": {"text": f"№ {number}"}}).encode()
    # Sequences begin at 1 and lack one in the middle: a lost event is not a leaf.
    sequence = number + 1 + (number >= 3)
    subject = f"vestnik.messaging.conversation.{number}"
    return {"sequence": sequence, "subject": subject, "message_id": f"event-{number}", "payload": payload}


def leaf(one: Json, stream: str = STREAM) -> bytes:
    parts = [
        b"vestnik leaf v1",
        stream.encode(),
        struct.pack(">Q", one["sequence"]),
        one["subject"].encode(),
        one["message_id"].encode(),
        one["payload"],
    ]
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


@lru_cache
def tree_of(size: int) -> list[bytes]:
    return [leaf(event(number)) for number in range(size)]


def head_of(leaves: Sequence[bytes], *, key: Ed25519PrivateKey = KEY, **changes: object) -> Json:
    head = {
        "stream": STREAM,
        "tree": 1,
        "size": len(leaves),
        "last_sequence": event(len(leaves) - 1)["sequence"],
        "root": tree_hash(leaves).hex(),
        "at": AT,
        "key_id": KEY_ID,
    } | changes
    names = ("stream", "tree", "size", "last_sequence", "root", "at", "key_id")
    signed = "".join(f"{line}\n" for line in ("vestnik tree head v1", *(head[name] for name in names)))
    return head | {"signature": key.sign(signed.encode()).hex()}


def heads_of(*heads: Json) -> Json:
    encoded = base64.urlsafe_b64encode(KEY.public_key().public_bytes_raw()).decode().rstrip("=")
    return {
        "items": list(heads),
        "keys": {"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": KEY_ID, "x": encoded}]},
    }


def proof_of(number: int, size: int) -> Json:
    one, leaves = event(number), tree_of(size)
    return {
        "event_id": f"event-{number}",
        "stream": STREAM,
        "tree": 1,
        "sequence": one["sequence"],
        "subject": one["subject"],
        "message_id": one["message_id"],
        "payload": base64.b64encode(one["payload"]).decode(),
        "index": number,
        "size": size,
        "leaf": sha256(b"\x00" + leaves[number]).hex(),
        "path": [value.hex() for value in inclusion(number, leaves)],
    }


def continued(number: int, older: int, size: int) -> Json:
    """A proof for an auditor who has only the head of an older tree."""
    leaves = tree_of(size)
    path = [value.hex() for value in consistency(older, leaves)]
    return proof_of(number, size) | {"head": head_of(leaves), "continues": older, "consistency": path}


def refusal(proof: Json, heads: Json) -> str:
    with pytest.raises(verifier.Refused) as refused:
        verifier.verify(proof, heads)
    return str(refused.value)


# The trees are built by definitions that take their time.
FEW_EXAMPLES = settings(max_examples=50)
SIZES = st.integers(1, 40)


@FEW_EXAMPLES
@given(st.data(), SIZES)
def test_every_event_of_a_tree_is_proved_and_at_no_other_index_or_size(data: st.DataObject, size: int) -> None:
    number = data.draw(st.integers(0, size - 1))
    proof, heads = proof_of(number, size), heads_of(head_of(tree_of(size)))
    assert f"It is leaf {number} of tree 1, in the head of {size} events" in verifier.verify(proof, heads)
    other = data.draw(st.integers(0, size + 1).filter(lambda index: index != number))
    refusal(proof | {"index": other}, heads)
    another = data.draw(SIZES.filter(lambda other: other != size))
    refusal(proof | {"size": another}, heads_of(head_of(tree_of(another))))


@FEW_EXAMPLES
@given(st.data(), st.integers(2, 40))
def test_a_newer_head_is_accepted_where_it_continues_the_one_in_heads(data: st.DataObject, size: int) -> None:
    older = data.draw(st.integers(1, size - 1))
    proof = continued(data.draw(st.integers(0, size - 1)), older, size)
    heads = heads_of(head_of(tree_of(older)))
    assert f"That head continues the one of {older} events in HEADS" in verifier.verify(proof, heads)
    forged = [leaf(event(number) | {"message_id": "another"}) for number in range(older)]
    assert "a fork" in refusal(proof, heads_of(head_of(forged)))
    for path in (proof["consistency"][:-1], [*proof["consistency"], "00" * 32]):
        assert "a fork" in refusal(proof | {"consistency": path}, heads)


@FEW_EXAMPLES
@given(st.data())
def test_one_flipped_bit_anywhere_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 20))
    number = data.draw(st.integers(0, size - 1))
    proof, heads = proof_of(number, size), heads_of(head_of(tree_of(size)))
    place = data.draw(st.sampled_from(["payload", "leaf", "path", "root", "signature", "key"]))

    def flipped(value: bytes) -> bytes:
        bit = data.draw(st.integers(0, len(value) * 8 - 1))
        flipped_bytes = bytearray(value)
        flipped_bytes[bit // 8] ^= 1 << bit % 8
        return bytes(flipped_bytes)

    def flipped_base64(value: str) -> str:
        return base64.b64encode(flipped(base64.b64decode(value))).decode()

    match place:
        case "payload":
            proof["payload"] = flipped_base64(proof["payload"])
        case "leaf":
            proof["leaf"] = flipped(bytes.fromhex(proof["leaf"])).hex()
        case "path":
            index = data.draw(st.integers(0, len(proof["path"]) - 1))
            proof["path"][index] = flipped(bytes.fromhex(proof["path"][index])).hex()
        case "root":
            heads["items"][0]["root"] = flipped(bytes.fromhex(heads["items"][0]["root"])).hex()
        case "signature":
            heads["items"][0]["signature"] = flipped(bytes.fromhex(heads["items"][0]["signature"])).hex()
        case "key":
            key = flipped(KEY.public_key().public_bytes_raw())
            heads["keys"]["keys"][0]["x"] = base64.urlsafe_b64encode(key).decode().rstrip("=")
    refusal(proof, heads)


SIZE = 7
GOOD = proof_of(4, SIZE)
HEADS = heads_of(head_of(tree_of(SIZE)))
JWK: Json = HEADS["keys"]["keys"][0]


def with_payload(payload: bytes) -> Json:
    return GOOD | {"payload": base64.b64encode(payload).decode()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_id": "event-5"}, "its payload is the event event-4"),
        ({"stream": "CONTACT"}, "the leaf is not the hash"),
        ({"sequence": 7}, "the leaf is not the hash"),
        ({"subject": "vestnik.messaging.conversation.5"}, "the leaf is not the hash"),
        ({"message_id": ""}, "the leaf is not the hash"),
        ({"tree": 2}, "HEADS has no head of tree 2 of MESSAGING with 7 events (it has: none)"),
        ({"size": 8}, "HEADS has no head of tree 1 of MESSAGING with 8 events (it has: 7)"),
        ({"index": 7}, "a tree of 7 leaves has no leaf 7"),
        ({"index": -1}, "`index`"),
        ({"index": True}, "`index`"),
        ({"index": 4.0}, "`index`"),
        ({"size": 2**63}, "`size`"),
        ({"path": GOOD["path"][:-1]}, "the path is too short"),
        ({"path": [*GOOD["path"], "00" * 32]}, "the path is too long"),
        ({"path": ["00" * 32] * 65}, "at most 64 hashes"),
        ({"path": [value.upper() for value in GOOD["path"]]}, "`path`"),
        ({"path": "".join(GOOD["path"])}, "`path`"),
        ({"leaf": None}, "`leaf`"),
        ({"payload": GOOD["payload"] + "\n"}, "`payload` has a line break"),
        ({"payload": GOOD["payload"] + " "}, "the payload is not base64"),
        ({"payload": GOOD["payload"][:-1]}, "the payload is not base64"),
        ({"payload": "e31="}, "canonical base64"),
        ({"event_id": "event-4\n"}, "line break"),
        ({"subject": "\ud800"}, "not valid Unicode"),
    ],
)
def test_a_changed_proof_is_refused_by_what_is_wrong_with_it(change: Json, message: str) -> None:
    verifier.verify(GOOD, HEADS)
    assert message in refusal(GOOD | change, HEADS)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b'{"id": "event-5", "id": "event-4"}', "the field id twice"),
        (b'{"id": ["event-4"]}', "`id`"),
        (b'["event-4"]', "not a JSON object"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"id": "event-4", "n": ' + b"9" * 5_000 + b"}", "not JSON"),
        (b'{"id": "event-4", "n": NaN}', "not JSON"),
    ],
)
def test_a_payload_that_two_readers_may_read_differently_is_refused(payload: bytes, message: str) -> None:
    assert message in refusal(with_payload(payload), HEADS)


def test_leaves_that_differ_only_in_where_one_field_ends_differ() -> None:
    one, other = event(1) | {"subject": "ab", "message_id": "c"}, event(1) | {"subject": "a", "message_id": "bc"}
    assert verifier.leaf_hash(STREAM, 2, "ab", "c", one["payload"]) == sha256(b"\x00" + leaf(one))
    assert sha256(b"\x00" + leaf(one)) != sha256(b"\x00" + leaf(other))


def changed_key(**changes: object) -> Json:
    return HEADS | {"keys": {"keys": [JWK | changes]}}


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"keys": HEADS["keys"]}, "no list `items`"),
        ({"items": HEADS["items"]}, "no `keys`"),
        (HEADS | {"items": [1]}, "no list `items` of objects"),
        (HEADS | {"keys": {"keys": []}}, "0 keys with the id"),
        (HEADS | {"keys": {"keys": [JWK, JWK]}}, "2 keys with the id"),
        (changed_key(kid="another"), "0 keys with the id"),
        (changed_key(kty="EC"), "not an Ed25519 key"),
        (changed_key(crv="X25519"), "not an Ed25519 key"),
        (changed_key(x="AAAA"), "base64 of 32 bytes"),
        (changed_key(x="+" + JWK["x"][1:]), "not base64url"),
        (heads_of(head_of(tree_of(SIZE), at=AT + "\n")), "line break"),
        (heads_of(head_of(tree_of(SIZE), last_sequence=3)), "sequence 6 is after the last one of the head, 3"),
        (heads_of(head_of(tree_of(SIZE)) | {"signature": "00"}), "not 128 digits"),
        (heads_of(head_of(tree_of(SIZE)), head_of(tree_of(SIZE), root="00" * 32)), "a fork"),
        (heads_of(head_of(tree_of(SIZE), root="00" * 32)), "the path does not lead to the root"),
        (heads_of(head_of(tree_of(SIZE)) | {"at": "2026-12-01T12:00:01.000Z"}), "the signature of the head"),
        (
            heads_of(head_of(tree_of(SIZE), key=Ed25519PrivateKey.from_private_bytes(bytes(32)))),
            "the signature of the head of MESSAGING with 7 events is not one by the key",
        ),
    ],
)
def test_heads_that_are_not_signed_by_a_key_of_theirs_are_refused(heads: Json, message: str) -> None:
    assert message in refusal(GOOD, heads)


def test_a_head_in_the_proof_itself_counts_only_with_signature_and_consistency() -> None:
    older = heads_of(head_of(tree_of(3)))
    proof = continued(4, 3, SIZE)
    verifier.verify(proof, older)
    stripped = {name: value for name, value in proof.items() if name != "consistency"}
    assert "HEADS has no head" in refusal(stripped, older)
    assert "no head that it leads to" in refusal(proof | {"head": None}, older)
    assert "another stream, tree or size" in refusal(proof | {"head": head_of(tree_of(6))}, older)
    assert "to continue" in refusal(proof | {"continues": 2}, older)
    unsigned = proof["head"] | {"at": "2026-12-02T12:00:00.000Z"}
    assert "the signature of the head of MESSAGING with 7" in refusal(proof | {"head": unsigned}, older)
    forged = heads_of(head_of(tree_of(3)) | {"at": "2026-12-02T12:00:00.000Z"})
    assert "the signature of the head of MESSAGING with 3" in refusal(proof, forged)
    another_key = head_of(tree_of(SIZE), key_id="another")
    assert "0 keys with the id another" in refusal(proof | {"head": another_key}, older)


def run(tmp_path: Path, proof: bytes, heads: bytes) -> tuple[int, str, str]:
    (tmp_path / "proof.json").write_bytes(proof)
    (tmp_path / "heads.json").write_bytes(heads)
    # -I: nothing of this project can be imported.
    command = [sys.executable, "-I", str(FILE), "proof.json", "heads.json"]
    completed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    return completed.returncode, completed.stdout, completed.stderr


def test_the_exit_code_is_0_only_if_the_proof_holds(tmp_path: Path) -> None:
    proof_bytes, heads = json.dumps(GOOD).encode(), json.dumps(HEADS).encode()
    code, output, errors = run(tmp_path, proof_bytes, heads)
    assert (code, output.splitlines()[0], errors) == (0, "The proof holds.", "")
    cases: list[tuple[bytes, bytes, str]] = [
        (json.dumps(proof_of(5, SIZE) | {"event_id": "event-4"}).encode(), heads, "its payload is the event event-5"),
        (proof_bytes[:-10], heads, "proof.json is not JSON"),
        (proof_bytes, b"", "heads.json is not JSON"),
        (b"[]", heads, "proof.json is not a JSON object"),
        (proof_bytes.replace(b'"tree"', b'"size": 7, "tree"'), heads, "the field size twice"),
        (b" " * (16 * 1024 * 1024 + 1), heads, "more than 16,777,216 bytes"),
        (json.dumps(GOOD | {"event_id": "\x1b[2J"}).encode(), heads, "\\u001b[2J"),
    ]
    for proof, answer, message in cases:
        code, output, errors = run(tmp_path, proof, answer)
        assert (code, output) == (1, "")
        assert errors.startswith("The proof does NOT hold: ")
        assert message in errors
        assert "Traceback" not in errors


def test_a_daily_file_of_the_folder_of_heads_is_accepted_as_heads(tmp_path: Path) -> None:
    def lines(*records: Json) -> bytes:
        return b"".join(json.dumps(record).encode() + b"\n" for record in records)

    heads = [{"sequence": 3, "id": "7", "type": "tree_head.signed"} | head for head in HEADS["items"]]
    end = {"sequence": 9, "id": "8", "type": "tree.closed", "stream": STREAM, "tree": 1, "size": SIZE}
    (tmp_path / "proof.json").write_text(json.dumps(GOOD))
    (tmp_path / "keys.json").write_text(json.dumps(HEADS["keys"]))
    day = tmp_path / "heads-2026-12-01.jsonl"
    for content, message in [
        # Some are there twice, and a crash has cut off a line.
        (b'{"sequence": 3, "id"\n' + lines(*heads, end, *heads), ""),
        (lines(end), "HEADS has no head"),
        (lines(*(head | {"size": SIZE + 1} for head in heads)), "HEADS has no head"),
        (lines(*(head | {"at": "2026-12-01T13:00:00.000Z"} for head in heads)), "is not one by the key"),
        (lines(*heads, *(head | {"root": "0" * 64} for head in heads)), "a fork"),
        (b"{]}\n", "is not JSON"),
    ]:
        day.write_bytes(content)
        command = [sys.executable, "-I", str(FILE), "proof.json", day.name]
        completed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (completed.returncode, "The proof holds." in completed.stdout) == (int(bool(message)), not message), (
            completed.stderr
        )
        assert message in completed.stderr
    (tmp_path / "keys.json").unlink()
    with pytest.raises(verifier.Refused, match=r"keys\.json cannot be read"):
        verifier.read_heads(day)


SHAPES: list[Callable[[Any], Any]] = [lambda value: [value], lambda value: {"keys": value}, lambda _: None, str]


@FEW_EXAMPLES
@given(st.data())
def test_no_shape_of_the_input_breaks_it(data: st.DataObject) -> None:
    values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.none()))
    proof, heads = dict(GOOD), json.loads(json.dumps(HEADS))
    target = data.draw(st.sampled_from([proof, heads, heads["items"][0], heads["keys"], heads["keys"]["keys"][0]]))
    name = data.draw(st.sampled_from(sorted(target)))
    if name in ("use", "at"):
        return
    before = target[name]
    target[name] = data.draw(st.one_of(values, st.sampled_from(SHAPES).map(lambda shape: shape(before))))
    if (type(target[name]), target[name]) != (type(before), before):
        refusal(proof, heads)
