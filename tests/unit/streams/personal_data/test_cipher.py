"""A sealed text is readable with its key, in its field, and nowhere else."""

import base64

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from contracts.values.personal_data import Sealed
from streams.personal_data import cipher

KEY = AESGCM(cipher.new_key())


@given(st.text())
def test_a_sealed_text_is_read_with_its_key(text: str) -> None:
    sealed = cipher.seal(KEY, "k", "message.sent/text", text)
    assert cipher.unseal(KEY, sealed, "message.sent/text") == text


def test_the_same_text_is_sealed_in_another_way_each_time() -> None:
    sealed = {cipher.seal(KEY, "k", "f", "text").ciphertext for _ in range(100)}
    assert len(sealed) == 100


def test_another_key_another_field_and_another_key_id_do_not_read_it() -> None:
    sealed = cipher.seal(KEY, "k", "f", "text")
    with pytest.raises(cipher.Undecipherable):
        cipher.unseal(AESGCM(cipher.new_key()), sealed, "f")
    with pytest.raises(cipher.Undecipherable):
        cipher.unseal(KEY, sealed, "g")
    with pytest.raises(cipher.Undecipherable):
        cipher.unseal(KEY, Sealed(key="l", ciphertext=sealed.ciphertext), "f")


def test_an_altered_or_malformed_text_is_not_read() -> None:
    raw = bytearray(base64.b64decode(cipher.seal(KEY, "k", "f", "text").ciphertext))
    raw[-1] ^= 1
    no_text = cipher._encrypt(KEY, b"\xff", cipher._associated_data(cipher._FIELD, "k", "f"))
    for ciphertext in (base64.b64encode(raw).decode(), "", "?", "AAAA", base64.b64encode(bytes(27)).decode(), no_text):
        with pytest.raises(cipher.Undecipherable):
            cipher.unseal(KEY, Sealed(key="k", ciphertext=ciphertext), "f")


def test_a_wrapped_key_is_good_for_its_id_and_its_wrapping_key_alone() -> None:
    key = cipher.new_key()
    wrapped = cipher.wrap(KEY, "master", "k", key)
    assert cipher.unwrap(KEY, "master", "k", wrapped) == key
    for wrapping_key, wrapping_id, key_id in (
        (KEY, "master", "l"),
        (KEY, "other", "k"),
        (AESGCM(cipher.new_key()), "master", "k"),
    ):
        with pytest.raises(cipher.Undecipherable):
            cipher.unwrap(wrapping_key, wrapping_id, key_id, wrapped)
