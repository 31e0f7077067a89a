import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.events.notary import EndReason, TreeClosed, TreeHeadSigned
from streams.merkle.signatures import has_valid_signature, has_valid_state, signed, signed_text, state_text

ROOT = "ab" * 32
HEAD = TreeHeadSigned(
    stream="AUTH",
    tree=2,
    size=40,
    last_sequence=57,
    root=ROOT,
    at="2026-01-31T12:00:00.000Z",
    key_id="20260131T000000Z-0a1b2c3d",
)
END = TreeClosed(
    stream="AUTH",
    tree=2,
    size=40,
    last_sequence=57,
    root=ROOT,
    at="2026-01-31T12:00:00.000Z",
    key_id="20260131T000000Z-0a1b2c3d",
    reason=EndReason.LOSS_ACCEPTED,
    cause="loss 58-60",
    next_tree=3,
    first_lost=58,
    last_lost=60,
)


def test_the_signed_text_of_a_head_is_the_documented_one() -> None:
    assert signed_text(HEAD) == (
        b"vestnik tree head v1\nAUTH\n2\n40\n57\n" + ROOT.encode() + b"\n2026-01-31T12:00:00.000Z\n"
        b"20260131T000000Z-0a1b2c3d\n"
    )


def test_the_signed_text_of_an_end_is_the_documented_one() -> None:
    assert signed_text(END) == (
        b"vestnik tree end v1\nAUTH\n2\n40\n57\n" + ROOT.encode() + b"\n2026-01-31T12:00:00.000Z\n"
        b"20260131T000000Z-0a1b2c3d\nloss accepted\nloss 58-60\n3\n58\n60\n"
    )


@pytest.mark.parametrize("record", [HEAD, END])
def test_a_signature_holds_with_its_key_alone(record: TreeHeadSigned | TreeClosed) -> None:
    key = Ed25519PrivateKey.generate()
    complete = signed(record, key)
    assert has_valid_signature(complete, key.public_key())
    assert not has_valid_signature(complete, Ed25519PrivateKey.generate().public_key())
    assert not has_valid_signature(record, key.public_key())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream", "SESSION"),
        ("tree", 1),
        ("size", 41),
        ("last_sequence", 58),
        ("root", "ac" * 32),
        ("at", "2026-01-31T12:00:00.001Z"),
        ("key_id", "20260131T000000Z-0a1b2c3e"),
        ("reason", EndReason.RESTORE),
        ("first_lost", 1),
        ("last_lost", 61),
        ("cause", "loss 58-61"),
        ("next_tree", 4),
    ],
)
def test_every_signed_field_counts(field: str, value: object) -> None:
    key = Ed25519PrivateKey.generate()
    for record in (HEAD, END):
        if field in record.__struct_fields__:
            changed = msgspec.structs.replace(signed(record, key), **{field: value})
            assert not has_valid_signature(changed, key.public_key())


def test_the_text_of_the_state_is_the_documented_one() -> None:
    head = msgspec.structs.replace(HEAD, signature="cd", settled=("import a",), last_leaf=ROOT, first_sequence=7)
    assert state_text(head) == b'vestnik tree state v1\ncd\n["import a"]\n' + ROOT.encode() + b"\n7\n"
    assert state_text(END) == b"vestnik tree state v1\n\n[]\n\n0\n"


@pytest.mark.parametrize(
    ("field", "value"),
    [("settled", ("import a",)), ("last_leaf", ROOT), ("first_sequence", 7), ("size", 41), ("state_signature", "")],
)
def test_what_the_notary_continues_from_is_signed_too(field: str, value: object) -> None:
    key = Ed25519PrivateKey.generate()
    for record in (HEAD, END):
        complete = signed(record, key)
        assert has_valid_state(complete, key.public_key())
        if field in record.__struct_fields__:
            changed = msgspec.structs.replace(complete, **{field: value})
            assert not has_valid_state(changed, key.public_key())
