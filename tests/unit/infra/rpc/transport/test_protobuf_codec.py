"""Encoded messages equal betterproto2's own, for every message of the services."""

import dataclasses
import importlib
from typing import Any

import betterproto2
import pytest
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import Invalid
from contracts.rpc.vestnik.auth.v1 import RegisterResponse, User
from contracts.rpc.vestnik.contact.v1 import Friend, FriendState, GetFriendsResponse
from contracts.rpc.vestnik.messaging.v1 import GetMessagesRequest, MarkSeenRequest, SendMessageRequest
from contracts.rpc.vestnik.session.v1 import RevokeSessionRequest
from infra.rpc.transport.protobuf_codec import StrictCodec, _class_of

CODEC = StrictCodec()
PACKAGES = ("auth", "session", "profile", "contact", "messaging")


def kinds() -> list[type[betterproto2.Message]]:
    message_types: list[type[betterproto2.Message]] = []
    for package in PACKAGES:
        module = importlib.import_module(f"contracts.rpc.vestnik.{package}.v1")
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type) and issubclass(value, betterproto2.Message):
                message_types.append(value)
    return message_types


SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    "bytes": st.binary(max_size=20),
    "bool": st.booleans(),
    "double": st.floats(allow_nan=False),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": st.integers(0, 2**64 - 1),
}


def messages(kind: type[betterproto2.Message]) -> st.SearchStrategy[betterproto2.Message]:
    parts: dict[str, st.SearchStrategy[Any]] = {}
    chosen: dict[str, list[str]] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # every message is a dataclass
        meta = field.metadata["betterproto"]
        if meta.proto_type == "message":
            one = messages(_class_of(kind, field.name))
        elif meta.proto_type == "enum":
            one = st.sampled_from(list(_class_of(kind, field.name)))
        else:
            one = SCALARS[meta.proto_type]
        if meta.repeated:
            parts[field.name] = st.lists(one, max_size=3)
        elif meta.optional or meta.proto_type == "message":
            parts[field.name] = st.none() | one
        else:
            parts[field.name] = one
        if meta.group is not None:
            chosen.setdefault(meta.group, []).append(field.name)

    def at_most_one(values: dict[str, Any]) -> betterproto2.Message:
        for names in chosen.values():
            for name in [name for name in names if values[name] is not None][1:]:
                values[name] = None
        return kind(**values)

    return st.fixed_dictionaries(parts).map(at_most_one)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_message_has_the_bytes_of_betterproto2_and_comes_back_equal(
    kind: type[betterproto2.Message], data: st.DataObject
) -> None:
    message = data.draw(messages(kind))
    encoded = CODEC.encode(message, kind)
    assert encoded == bytes(message)
    read = CODEC.decode(encoded, kind)
    assert read == message
    assert read == kind.parse(encoded)
    assert _types(read) == _types(kind.parse(encoded))
    assert bytes(read) == encoded


def _types(message: betterproto2.Message) -> dict[str, type]:
    return {name: type(value) for name, value in vars(message).items()}


def test_what_is_not_set_is_none_and_what_is_set_to_nothing_is_not() -> None:
    unset = CODEC.decode(CODEC.encode(GetMessagesRequest(limit=1), GetMessagesRequest), GetMessagesRequest)
    assert unset.after is None
    zero = CODEC.decode(CODEC.encode(GetMessagesRequest(after=0), GetMessagesRequest), GetMessagesRequest)
    assert zero.after == 0
    decoded = CODEC.decode(
        CODEC.encode(RevokeSessionRequest(user_id="u", session_id=""), RevokeSessionRequest), RevokeSessionRequest
    )
    assert (decoded.session_id, decoded.all_but_session_id) == ("", None)
    for answer, user in ((RegisterResponse(), None), (RegisterResponse(user=User()), User())):
        assert CODEC.decode(CODEC.encode(answer, RegisterResponse), RegisterResponse).user == user


def test_a_word_of_an_enumeration_that_a_later_release_knows_is_kept() -> None:
    response = GetFriendsResponse(friends=[Friend(user_id="u", state=FriendState(77))])
    read = CODEC.decode(CODEC.encode(response, GetFriendsResponse), GetFriendsResponse)
    assert read.friends[0].state == 77
    assert isinstance(read.friends[0].state, FriendState)


def test_a_field_that_a_later_release_knows_is_passed_over() -> None:
    encoded = CODEC.encode(MarkSeenRequest(user_id="u", peer_id="p", sequence=3), MarkSeenRequest)
    with_unknown_field = encoded + b"\xf2\x07\x03new"
    assert CODEC.decode(with_unknown_field, MarkSeenRequest) == MarkSeenRequest(user_id="u", peer_id="p", sequence=3)


@settings(max_examples=200, deadline=None)
@given(garbage=st.binary(max_size=60))
def test_garbage_is_what_the_c_library_reads_or_refused(garbage: bytes) -> None:
    google = GetMessageClass(SendMessageRequest.DESCRIPTOR)
    try:
        expected = google.FromString(garbage)
    except DecodeError:
        with pytest.raises(Invalid):
            CODEC.decode(garbage, SendMessageRequest)
        return
    read = CODEC.decode(garbage, SendMessageRequest)
    for name in ("sender_id", "recipient_id", "text", "client_message_id"):
        assert getattr(read, name) == getattr(expected, name)


def test_a_message_cut_short_anywhere_is_refused_or_whole_up_to_there() -> None:
    message = SendMessageRequest(sender_id="s" * 36, recipient_id="r" * 36, text="t" * 200, client_message_id="c" * 10)
    encoded = CODEC.encode(message, SendMessageRequest)
    for length in range(len(encoded)):
        try:
            read = CODEC.decode(encoded[:length], SendMessageRequest)
        except Invalid:
            continue
        # Only between two fields is what came a message.
        assert encoded.startswith(CODEC.encode(read, SendMessageRequest))
        assert len(CODEC.encode(read, SendMessageRequest)) == length


def test_another_type_than_the_call_has_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="is not SendMessageRequest"):
        CODEC.encode(MarkSeenRequest(), SendMessageRequest)


def test_a_text_that_is_no_unicode_is_never_sent() -> None:
    with pytest.raises((UnicodeEncodeError, ValueError)):
        CODEC.encode(SendMessageRequest(text="\ud800"), SendMessageRequest)
