import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.values import base64url


@given(st.binary(max_size=40))
def test_bytes_are_read_back_from_their_text(raw: bytes) -> None:
    text = base64url.encode(raw)
    assert "=" not in text
    assert base64url.decode(text) == raw


@given(st.text(alphabet="AQgw-_+/=x\n \u00e4", max_size=9))
def test_a_text_is_refused_unless_it_is_written_so(text: str) -> None:
    try:
        raw = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(raw) == text


@pytest.mark.parametrize("text", ["A", "AB", "AAB", "AA==", "+/+/", "AAAAA", "AAA\n", "ÄÄ", "AA=A"])
def test_a_noncanonical_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        base64url.decode(text)
