"""Messages come out with plain text in place of sealed values, a batch at a time, or as their reader wants them."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.aio.client import Client

from contracts.catalogue import StillSealed, decode
from contracts.envelope import Provenance, encode
from contracts.envelope import seal as envelop
from contracts.errors import KeysUnavailable
from contracts.events.event import Event
from contracts.events.message import MessageSent, ReactionChanged
from contracts.events.second_factor import SealedSecret, SecondFactorState, TotpBegun
from contracts.events.user import AddressState, EmailChangeRequested
from contracts.values.timestamps import from_unix_ms
from streams.message import Message
from streams.personal_data import cipher, reading
from streams.personal_data.reading import PersonalData, readable, unseal_with
from streams.personal_data.unsealer import Unsealer
from tests.fix_older_events import ANNA, TODAY, GreetingSent
from tests.unit.streams.personal_data.memory_keys import Keys

AT = from_unix_ms(0)
KEY = AESGCM(cipher.new_key())


def connection(keys: Keys | None = None) -> Client:
    nc = Client()
    if keys is not None:
        unseal_with(nc, Unsealer(keys))
    return nc


def sealed(key_id: str, field: str, text: str) -> Any:  # noqa: ANN401 - a field's type is that of its text
    return cipher.seal(KEY, key_id, field, text)


def sent(text: Any) -> MessageSent:  # noqa: ANN401 - may be sealed
    return MessageSent(message_id="m", sender_id="a", recipient_id="b", sequence=1, text=text, client_message_id="c")


def stored(sequence: int, event: Event, *, schema: int | None = None, data: object = None) -> Message:
    envelope = envelop(event, aggregate_id="x", version=sequence, provenance=Provenance())
    if schema is not None:
        envelope = msgspec.structs.replace(envelope, schema=schema, data=msgspec.Raw(msgspec.json.encode(data)))
    return Message("MESSAGING", sequence, "vestnik.messaging.conversation.x", encode(envelope))


def sealed_message(sequence: int, key_id: str, text: str) -> Message:
    return stored(sequence, sent(sealed(key_id, "message.sent/text", text)))


def texts(messages: list[Message]) -> list[str]:
    events = [message.open().data for message in messages]
    assert all(isinstance(event, MessageSent) for event in events)
    return [event.text for event in events if isinstance(event, MessageSent)]


async def test_plain_and_sealed_events_of_a_batch_come_out_alike_and_keys_are_looked_up_once() -> None:
    keys = Keys(anna=KEY, ben=KEY)
    plain = stored(2, sent("two"))
    batch = [sealed_message(1, "anna", "one"), plain, sealed_message(3, "ben", "three"), sealed_message(4, "anna", "4")]
    messages = await readable(connection(keys), batch)
    assert texts(messages) == ["one", "two", "three", "4"]
    assert messages[1] is plain
    assert keys.requests == [{"anna", "ben"}]
    # A reader that decodes the data itself gets the same.
    for message in messages:
        envelope = message.envelope()
        assert decode(envelope.type, envelope.schema, envelope.data) == message.open().data
    assert [message.payload for message in messages] == [message.payload for message in batch]
    assert [message.event_id() for message in messages] == [message.event_id() for message in batch]


async def test_messages_without_sealed_values_are_the_same_ones() -> None:
    keys = Keys()
    secret = SealedSecret(key="k", ciphertext="c")
    batch = [
        stored(1, sent('{"key": "k", "ciphertext": "c"}')),
        # Another kind of sealed value, and messages that are no events.
        stored(2, TotpBegun(state=SecondFactorState(secret=secret))),
        Message("MESSAGING", 3, "s", b'"ciphertext"'),
        Message("MESSAGING", 4, "s", b"{}"),
    ]
    messages = await readable(connection(keys), batch)
    assert all(before is after for before, after in zip(batch, messages, strict=True))
    assert keys.requests == []


async def test_a_large_batch_is_unsealed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_TOGETHER", 2)
    keys = Keys(anna=KEY)
    batch = [sealed_message(sequence, "anna", str(sequence)) for sequence in range(1, 6)]
    assert texts(await readable(connection(keys), batch)) == ["1", "2", "3", "4", "5"]
    assert keys.requests == [{"anna"}] * 3


async def test_what_an_erasure_leaves_is_empty() -> None:
    changed = ReactionChanged(
        message_id="m", conversation_id="x", sequence=1, sender_id="a", sent_at=AT, members=(), user_id="b",
        emoji=sealed("gone", "reaction.changed/emoji", "👍"),
    )  # fmt: skip
    first, second = await readable(
        connection(Keys(gone=None)), [sealed_message(1, "gone", "secret"), stored(2, changed)]
    )
    assert texts([first]) == [""]
    assert second.open().data == msgspec.structs.replace(changed, emoji=None)


async def test_without_a_key_nothing_of_the_batch_is_returned() -> None:
    with pytest.raises(KeysUnavailable):
        await readable(connection(Keys()), [stored(1, sent("one")), sealed_message(2, "away", "two")])


async def test_an_event_that_cannot_be_deciphered_stays_sealed_and_the_others_are_read() -> None:
    keys = Keys(anna=KEY, ben=AESGCM(cipher.new_key()))
    batch = [sealed_message(1, "anna", "one"), sealed_message(2, "ben", "two"), sealed_message(3, "anna", "three")]
    first, second, third = await readable(connection(keys), batch)
    assert texts([first, third]) == ["one", "three"]
    assert second is batch[1]
    with pytest.raises(StillSealed):
        second.open()
    # What waits for a key waits beside it, too.
    with pytest.raises(KeysUnavailable):
        await readable(connection(keys), [*batch, sealed_message(4, "away", "four")])


async def test_an_event_that_cannot_be_deciphered_leaves_none_beside_it_half_read() -> None:
    """Whether their personal data is their own or deeper in them."""

    def requested(key_id: str) -> EmailChangeRequested:
        return EmailChangeRequested(
            user_id="u", address=AddressState(email=sealed(key_id, "email.change_requested/address.email", "a@b.c"))
        )

    keys = Keys(anna=KEY, ben=AESGCM(cipher.new_key()))
    batch = [
        sealed_message(1, "anna", "one"),
        stored(2, requested("anna")),
        stored(3, requested("ben")),
        stored(4, requested("anna")),
        sealed_message(5, "anna", "five"),
    ]
    messages = await readable(connection(keys), batch)
    assert texts([messages[0], messages[4]]) == ["one", "five"]
    plain = EmailChangeRequested(user_id="u", address=AddressState(email="a@b.c"))
    assert [messages[index].open().data for index in (1, 3)] == [plain, plain]
    assert messages[2] is batch[2]


async def test_a_reader_without_use_for_personal_data_needs_no_key() -> None:
    for nc in (connection(), connection(Keys())):
        messages = await readable(nc, [sealed_message(1, "away", "one"), stored(2, sent("two"))], PersonalData.EMPTY)
        assert texts(messages) == ["", "two"]


async def test_a_reader_that_copies_messages_gets_them_as_stored() -> None:
    batch = [sealed_message(1, "anna", "one")]
    assert await readable(connection(Keys(anna=KEY)), batch, PersonalData.STORED) is batch


async def test_a_connection_without_keys_opens_no_sealed_event() -> None:
    (message,) = await readable(connection(), [sealed_message(1, "anna", "one")])
    with pytest.raises(StillSealed, match="no key"):
        message.open()


@pytest.mark.usefixtures("greetings")
async def test_a_sealed_event_of_an_older_schema_is_unsealed_in_the_current_one() -> None:
    text = msgspec.to_builtins(sealed("anna", "greeting.sent/text", "hello you"))
    older = stored(1, TODAY, schema=1, data={"from": ANNA, "text": text})
    (message,) = await readable(connection(Keys(anna=KEY)), [older])
    assert message.open().data == GreetingSent(sender_id=ANNA, text="hello you", words=0)
    envelope = message.envelope()
    assert envelope.schema == GreetingSent.SCHEMA
    assert decode(envelope.type, envelope.schema, envelope.data) == message.open().data
