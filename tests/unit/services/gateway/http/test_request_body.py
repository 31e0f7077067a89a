"""Request bodies: malformed and invalid ones, and where the violation is."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive

from contracts.errors import BodyTooLarge, Invalid, MalformedJson, UnsupportedMediaType, Violation
from services.gateway.http import request_body


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    names: list[str] = []


class Body(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    inner: Inner | None = None


DECODER = msgspec.json.Decoder(Body)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"{}", "/text"),
        (b'{"text": null}', "/text"),
        (b'{"text": "a", "b/c~": 1}', "/b~1c~0"),
        (b'{"text": "a", "inner": {"names": ["a", 1]}}', "/inner/names/1"),
        (b'{"text": "a", "inner": {"x": 1}}', "/inner/x"),
        (b"[]", ""),
        (b"1", ""),
    ],
)
def test_a_violation_has_the_json_pointer_of_the_invalid_value(raw: bytes, path: str) -> None:
    with pytest.raises(Invalid) as refused:
        request_body.decode(raw, DECODER)

    assert [violation.path for violation in refused.value.violations] == [path]


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: f'{{"text": "{text}"'.encode()))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    with suppress(MalformedJson, Invalid):
        assert isinstance(request_body.decode(raw, DECODER), Body)


@given(st.text())
def test_text_is_kept_as_it_came(text: str) -> None:
    assert request_body.decode(msgspec.json.encode({"text": text}), DECODER).text == text


@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\ud800", "\\udc00\\ud800"])
def test_half_a_surrogate_pair_is_json_and_no_text(escape: str) -> None:
    with pytest.raises(Invalid) as refused:
        request_body.decode(f'{{"text": "{escape}"}}'.encode(), DECODER)
    assert [violation.path for violation in refused.value.violations] == ["/text"]


@pytest.mark.parametrize("number", ["1e999", "-1E400", "9" * 5_000])
def test_a_number_that_is_too_large_is_called_that(number: str) -> None:
    with pytest.raises(Invalid) as refused:
        request_body.decode(f'{{"text": {number}}}'.encode(), DECODER)
    assert refused.value.violations == (Violation("", "A number is too large"),)


def test_a_half_within_a_list_is_no_number() -> None:
    with pytest.raises(Invalid) as refused:
        request_body.decode(b'{"text": "a", "inner": {"names": ["\\ud800"]}}', DECODER)
    assert refused.value.violations == (Violation("", "Half a surrogate pair is not text"),)


@pytest.mark.parametrize("rest", ["", '"', '"}x', '", "n": NaN}', '", }'])
def test_half_a_surrogate_pair_in_a_body_that_is_not_json_is_malformed(rest: str) -> None:
    with pytest.raises(MalformedJson):
        request_body.decode(f'{{"text": "\\ud800{rest}'.encode(), DECODER)


@pytest.mark.parametrize(
    "body",
    [
        '{"text": "a", "text": "b"}',
        '{"text": "a", "text": "a"}',
        '{"text": "a", "t\\u0065xt": "b"}',
        '{"\\u0074ext": "a", "text": "b"}',
    ],
)
def test_a_name_that_is_given_twice_is_refused(body: str) -> None:
    with pytest.raises(Invalid) as refused:
        request_body.decode(body.encode(), DECODER, [b'"text"'])
    assert refused.value.violations == (Violation("/text", "Given more than once"),)


@pytest.mark.parametrize("text", ['"text"', '{"text": 1, "text": 2}', "\\u0074", "a: b", "\U0001f989"])
def test_a_value_may_look_like_a_name(text: str) -> None:
    for encoded in (msgspec.json.encode({"text": text}), json.dumps({"text": text}).encode()):
        assert request_body.decode(encoded, DECODER, [b'"text"']).text == text


def receiving(messages: Iterator[Message]) -> Receive:
    async def receive() -> Message:
        try:
            return next(messages)
        except StopIteration:
            return await asyncio.Future()

    return receive


async def test_a_body_is_put_together_of_its_parts() -> None:
    first: Message = {"type": "http.request", "body": b"a", "more_body": True}
    last: Message = {"type": "http.request", "body": b"b"}

    assert await request_body.read(receiving(iter([first, last]))) == b"ab"


async def test_a_body_that_grows_too_large_is_refused_before_its_end() -> None:
    part = {"type": "http.request", "body": b"x" * 40_000, "more_body": True}
    with pytest.raises(BodyTooLarge):
        await request_body.read(receiving(iter([part, part])))


def test_a_body_that_is_declared_too_large_is_refused_unread() -> None:
    request_body.check_length(None)
    request_body.check_length("65536")
    for declared in ("65537", "9" * 40):
        with pytest.raises(BodyTooLarge):
            request_body.check_length(declared)


async def test_a_body_that_does_not_arrive_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "PATIENCE", 0.01)
    with pytest.raises(MalformedJson):
        await request_body.read(receiving(iter([])))


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON;charset=UTF-8", 'application/json; charset="utf8"']
)
def test_json_in_utf_8_is_accepted(media_type: str) -> None:
    request_body.check_media_type(media_type, (request_body.JSON,))


@pytest.mark.parametrize("media_type", [None, "", "text/json", "application/json; charset=utf-16"])
def test_other_media_types_are_refused(media_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        request_body.check_media_type(media_type, (request_body.JSON,))
