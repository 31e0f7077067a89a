"""What a reply to an append says."""

import pytest

from streams.jetstream import publish_ack
from streams.jetstream.requests import NoAnswer


def test_an_acknowledgement_has_a_sequence() -> None:
    assert publish_ack.decode(b'{"stream":"S","seq":7}').seq == 7


def test_a_refusal_has_none() -> None:
    ack = publish_ack.decode(b'{"error":{"code":400,"err_code":10071},"stream":"S","seq":0}')
    assert publish_ack.is_conflict(ack)


@pytest.mark.parametrize(
    "reply", [b"", b'{"stream":"S","seq":', b"{}", b'{"stream":"S"}', b'{"seq":"7"}', b'{"seq":-1}', b"null", b"\xff"]
)
def test_anything_else_leaves_the_outcome_open(reply: bytes) -> None:
    with pytest.raises(NoAnswer) as failure:
        publish_ack.decode(reply)
    assert failure.value.uncertain
