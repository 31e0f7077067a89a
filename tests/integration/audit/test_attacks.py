"""Whatever is done to a stream or to the heads, an audit finds and names it."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from contracts.envelope import Envelope, Provenance, seal
from contracts.events.notary import EndReason
from contracts.subjects import CONTACT, MESSAGING, NOTARY, lost_in, tree_head
from infra.archive.event_check import EventCheck
from infra.audit import event_evidence
from infra.audit.notary_log import NoNotary, NotaryLog, read_chain
from infra.audit.published_keys import public_keys
from infra.audit.saved_heads import SavedHead
from infra.audit.verdicts import StreamAudit
from infra.embedded.nats_server import NatsServer
from streams.jetstream.api import JetStream
from streams.jetstream.client import Client
from streams.log import Append
from streams.loss import placeholders
from streams.loss.missing_events import Gap, accept
from streams.restore import ArchivedMessage
from tests.damage import cut_the_end, flip_a_byte
from tests.integration.audit.signed_history import Change, Key, SignedHistory, replaced
from tests.integration.streams.conftest import append_to, fill

SIZES = (10, 17, 30, 40)


def ranges(audit: StreamAudit) -> tuple[int, int] | None:
    """The range that has the first wrong sequence."""
    return None if audit.first_wrong is None else (audit.first_wrong.first, audit.first_wrong.last)


async def signed(nc: Client) -> SignedHistory:
    """Forty messages of two conversations, and four heads of them."""
    history = SignedHistory(nc)
    await fill(history.log, 20, "a")
    await fill(history.log, 20, "b")
    await history.sign(*SIZES)
    return history


def with_text(message: ArchivedMessage, old: bytes, new: bytes) -> ArchivedMessage:
    assert old in message.payload
    return replaced(message, payload=message.payload.replace(old, new))


def append_to_archive(name: str) -> ArchivedMessage:
    """An event of an aggregate that does not exist yet, so that everything about it is valid."""
    envelope = append_to(name).envelope
    return ArchivedMessage(append_to(name).subject, msgspec.json.encode(envelope), {"Nats-Msg-Id": envelope.id})


def swapped(events: list[ArchivedMessage], one: int, other: int) -> list[ArchivedMessage]:
    events[one], events[other] = events[other], events[one]
    return events


def between(events: list[ArchivedMessage], index: int) -> list[ArchivedMessage]:
    return [*events[:index], append_to_archive("c"), *events[index:]]


def forged(events: list[ArchivedMessage]) -> list[ArchivedMessage]:
    """Every event with other contents and an id of its own: valid subjects, versions and headers."""
    changed = []
    for number, event in enumerate(events):
        name = "a" if number < 20 else "b"
        envelope = append_to(name, version=number % 20 + 1, text="forged").envelope
        changed.append(ArchivedMessage(event.subject, msgspec.json.encode(envelope), {"Nats-Msg-Id": envelope.id}))
    return changed


# By attack: the change, the range of sequences that has to be named, and the event that shows it by itself, if any.
ATTACKS: dict[str, tuple[Change, tuple[int, int], str | None]] = {
    "the text of event 13 is altered": (
        lambda events: [*events[:12], with_text(events[12], b"hello", b"hullo"), *events[13:]],
        (11, 16),
        None,
    ),
    "the text of the last event is altered": (
        lambda events: [*events[:39], with_text(events[39], b"hello", b"hullo")],
        (33, 40),
        None,
    ),
    "event 12 is dropped, and all after it move up": (
        lambda events: [*events[:11], *events[12:], events[11]],
        (11, 16),
        "MESSAGING:12 (vestnik.messaging.conversation.a): has version 13, after version 11",
    ),
    "an event is inserted as event 5": (lambda events: between(events, 4), (1, 8), None),
    "events 21 and 41 change places": (
        lambda events: swapped(between(events, 40), 20, 40),
        (18, 24),
        # The event of another aggregate fits, and the one after it lacks its predecessor.
        "MESSAGING:22 (vestnik.messaging.conversation.b): has version 2, and is the first of its aggregate",
    ),
    "events 3 and 4 change places": (
        lambda events: swapped(events, 2, 3),
        (1, 8),
        "MESSAGING:3 (vestnik.messaging.conversation.a): has version 4, after version 2",
    ),
    "the whole stream is rewritten": (forged, (1, 8), None),
    "event 25 moves to the subject of another conversation": (
        lambda events: [*events[:24], replaced(events[24], subject=events[0].subject), *events[25:]],
        (25, 28),
        "MESSAGING:25 (vestnik.messaging.conversation.a): names another aggregate: b",
    ),
    "event 36 gets another id in its header": (
        lambda events: [*events[:35], replaced(events[35], headers={"Nats-Msg-Id": "x"}), *events[36:]],
        (33, 40),
        "has the header Nats-Msg-Id x",
    ),
}


async def test_a_changed_event_is_found_and_its_place_is_named(streams: Client) -> None:
    history = await signed(streams)
    sound = await history.audit()
    assert (sound.sound, sound.events, sound.unsigned, sound.heads) == (True, 40, 0, 4)
    assert sound.head is not None
    assert sound.head.size == 40
    for attack, (change, (first, last), shown_by) in ATTACKS.items():
        original = await history.rewrite(change)
        verdict = await history.audit()
        assert not verdict.sound, attack
        assert verdict.first_wrong is not None, attack
        assert (verdict.first_wrong.first, verdict.first_wrong.last) == (first, last), attack
        assert "altered, dropped, inserted or reordered" in verdict.first_wrong.what, attack
        assert (shown_by or "") in (verdict.first_wrong.shown_by or ""), attack
        assert (verdict.first_wrong.shown_by is None) == (shown_by is None), attack
        await history.rewrite(lambda events, original=original: original)  # type: ignore[misc]  # a default binds it
    assert (await history.audit()).sound


async def test_what_shows_a_change_is_searched_in_the_events_around_it(
    streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = await signed(streams)
    await history.rewrite(lambda events: [*events[:11], *events[12:], events[11]])
    monkeypatch.setattr(event_evidence, "_READ", 3)
    read: list[int] = []
    check = EventCheck.check

    def noted(self: EventCheck, sequence: int, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        read.append(sequence)
        check(self, sequence, subject, payload, headers)

    monkeypatch.setattr(EventCheck, "check", noted)
    fault = await event_evidence.first_fault(streams, MESSAGING, 11, 40)
    assert fault is not None
    assert (fault.sequence, fault.what) == (12, "has version 13, after version 11")
    assert read == list(range(8, 14))


async def test_a_damaged_file_is_found_as_the_events_that_are_missing(
    streams: Client, nats_server: NatsServer, tmp_path: Path
) -> None:
    history = SignedHistory(streams)
    await fill(history.log, 4, "a")
    await history.log.append(append_to("a", expected=4, version=5, text="to be damaged"))
    await fill(history.log, 4, "a")
    await history.sign(3, 7)
    await nats_server.stop()
    flip_a_byte(tmp_path / "nats", MESSAGING, b"to be damaged")
    await nats_server.start()
    verdict = await history.audit()
    assert ranges(verdict) == (5, 5)
    assert str(verdict.first_wrong).startswith("5: missing; ")
    assert verdict.faults == ["MESSAGING:5 is missing, and no one has accepted the loss"]
    # A decision is not enough: a signed record has to end the tree.
    await accept(JetStream(streams), [Gap(MESSAGING, 5, 5)], "a test")
    verdict = await history.audit()
    assert not verdict.sound
    assert verdict.first_wrong is not None
    await history.close(await history.head(4), EndReason.LOSS_ACCEPTED)
    await history.sign(3, tree=2, after=4)
    verdict = await history.audit()
    assert (verdict.sound, verdict.events, verdict.unsigned) == (True, 7, 1)
    (closed,) = verdict.closed
    assert (closed.tree, closed.size, closed.reason, closed.void) == (1, 4, "loss accepted", 3)
    # And the first tree is still compared.
    original = await history.rewrite(lambda events: [with_text(events[0], b"hello", b"hullo"), *events[1:]])
    assert len(original) == 8
    broken = await history.audit()
    assert broken.first_wrong is not None
    assert broken.first_wrong.first == 1


async def test_a_stream_that_was_cut_or_restored_from_a_backup_is_found(
    streams: Client, nats_server: NatsServer, tmp_path: Path
) -> None:
    history = SignedHistory(streams)
    await fill(history.log, 8, "a")
    kept = await history.sign(5, 8)
    await nats_server.stop()
    cut_the_end(tmp_path / "nats", MESSAGING, 100)
    (tmp_path / "nats" / "store").glob("**/index.db")
    await nats_server.start()
    cut = await history.audit()
    assert not cut.sound
    assert cut.first_wrong is not None
    assert cut.first_wrong.first == 8

    # A backup with the first six events; then three others were stored.
    await history.rewrite(lambda events: events[:6])
    shorter = await history.audit()
    assert ranges(shorter) == (6, 8)
    assert "the stream ends at 6" in str(shorter.first_wrong)
    await fill(history.log, 3, "b")
    longer = await history.audit()
    assert ranges(longer) == (6, 8)

    # The notary records the restore: it is listed, with what is void by it.
    await history.close(await history.head(6), EndReason.RESTORE)
    await history.sign(3, tree=2, after=6)
    restored = await history.audit()
    assert restored.sound
    (closed,) = restored.closed
    assert (closed.reason, closed.size, closed.void) == ("restore", 6, 2)
    # But not for who has kept a head that is void now, unless they know of the restore.
    unknown = await history.audit(saved=[kept])
    assert (unknown.sound, unknown.accepted) == (False, [])
    assert unknown.faults == [
        "the saved head of tree 1 with 8 events (2026-12-01T12:00:00.000Z) is void, because its tree was ended: a test"
        ". If you know of that end: --accept-end 'a test'"
    ]
    assert not (await history.audit(saved=[kept], accepted_ends=["another"])).sound
    known = await history.audit(saved=[kept], accepted_ends=["a test"])
    assert (known.sound, len(known.accepted)) == (True, 1)
    # A head of that tree that was never in NOTARY is not among the void ones.
    fork = await history.head(8, leaves=[bytes(32)] * 8)
    (fault,) = (await history.audit(saved=[fork])).faults
    assert "is not in NOTARY, not even among those that the end of its tree has voided" in fault


async def test_a_made_up_loss_does_not_hide_a_rewritten_stream(streams: Client) -> None:
    history = await signed(streams)
    kept = await history.head(40)
    await history.close(await history.head(9), EndReason.LOSS_ACCEPTED, lost=(10, 11))
    await history.rewrite(lambda events: [*events[:9], *forged(events)[9:]])
    await history.sign(31, tree=2, after=9)
    verdict = await history.audit(saved=[kept], accepted_ends=["a test"])
    assert verdict.faults == [
        f"MESSAGING:{sequence} is an event, and the end of a tree calls it lost" for sequence in (10, 11)
    ]
    # A restore after it may have brought them back, and is listed.
    await history.close(await history.head(1, tree=2, after=9), EndReason.RESTORE, next_tree=3)
    await history.sign(30, tree=3, after=10)
    verdict = await history.audit(saved=[kept], accepted_ends=["a test"])
    assert (verdict.sound, [end.reason for end in verdict.closed]) == (True, ["loss accepted", "restore"])


async def test_a_placeholder_is_one_of_an_event_whose_loss_was_accepted(streams: Client) -> None:
    history = SignedHistory(streams)
    await fill(history.log, 4, "a")
    await history.sign(4)

    def with_hidden(events: list[ArchivedMessage]) -> list[ArchivedMessage]:
        return [*events[:4], replaced(append_to_archive("c"), subject=lost_in(MESSAGING))]

    await history.rewrite(with_hidden)
    (fault,) = (await history.audit()).faults
    assert fault == "MESSAGING:5 is no placeholder of the event that was lost there, and no head covers it"
    await history.rewrite(lambda events: [*events[:4], placeholders.kept(Gap(MESSAGING, 6, 7), 1)])
    assert (await history.audit()).faults == [fault]
    await history.rewrite(
        lambda events: [*events[:4], replaced(events[0], payload=b"{}", subject=lost_in(MESSAGING), headers={})]
    )
    assert "is a placeholder of a lost event that cannot be read" in (await history.audit()).faults[0]
    await history.rewrite(lambda events: [*events[:4], placeholders.kept(Gap(MESSAGING, 5, 5), 1)])
    (fault,) = (await history.audit()).faults
    assert fault == "MESSAGING:5 is the placeholder of an event whose loss no one has accepted"
    await accept(JetStream(streams), [Gap(MESSAGING, 5, 5)], "a test", filled=True)
    assert (await history.audit()).sound


async def test_a_kept_head_among_lost_records_of_the_notary_is_compared_with_the_events(streams: Client) -> None:
    history = await signed(streams)
    kept_head = await history.head(17)
    await history.rewrite(lambda events: events[:1], NOTARY)
    assert not (await history.audit(saved=[kept_head])).sound
    verdict = await history.audit(saved=[kept_head], records_lost=3)
    assert (verdict.sound, verdict.events, verdict.faults) == (True, 17, [])
    assert "is not in NOTARY, which has lost 3 records; the loss is accepted" in verdict.accepted[0]
    fork = await history.head(17, leaves=[bytes(32)] * 17)
    assert not (await history.audit(saved=[fork], records_lost=3)).sound


async def test_an_event_that_was_dropped_is_not_taken_for_a_cut_end(streams: Client) -> None:
    history = await signed(streams)
    await history.rewrite(lambda events: [*events[:31], *events[32:]])
    verdict = await history.audit()
    assert ranges(verdict) == (31, 40)
    assert "missing or changed: the stream ends at 39" in str(verdict.first_wrong)
    assert verdict.first_wrong is not None
    assert verdict.first_wrong.shown_by is not None
    assert verdict.first_wrong.shown_by.startswith("MESSAGING:32 (vestnik.messaging.conversation.b): has version 13")


async def test_a_backup_of_everything_is_found_by_a_head_that_was_kept(streams: Client) -> None:
    history = await signed(streams)
    kept = await history.head(40)
    old_heads = 2
    # Streams and NOTARY go back together, so that nothing in the system itself contradicts it.
    await history.rewrite(lambda events: events[:20])
    await history.rewrite(lambda events: events[:old_heads], NOTARY)
    assert (await history.audit()).sound
    verdict = await history.audit(saved=[kept])
    assert not verdict.sound
    assert verdict.faults == [
        "the saved head of tree 1 with 40 events (2026-12-01T12:00:00.000Z) is not in NOTARY: its records were cut off "
        "or replaced"
    ]
    assert ranges(verdict) == (18, 40)


async def test_payloads_that_were_swapped_between_streams_are_found(streams: Client) -> None:
    history = await signed(streams)
    friendship = append_to("x").envelope
    await history.log.append(Append(subject="vestnik.contact.friendship.x", expected=0, envelope=friendship))
    await history.sign(1, stream=CONTACT)
    (contact,) = await history.rewrite(lambda events: events, CONTACT)
    (message, *_) = await history.rewrite(lambda events: events)
    await history.rewrite(lambda events: [replaced(events[0], payload=contact.payload), *events[1:]])
    await history.rewrite(lambda events: [replaced(events[0], payload=message.payload)], CONTACT)
    for stream, last in ((MESSAGING, 8), (CONTACT, 1)):
        verdict = await history.audit(stream)
        assert ranges(verdict) == (1, last)


async def test_two_heads_of_one_size_are_a_fork_and_so_is_one_that_does_not_continue(streams: Client) -> None:
    history = await signed(streams)
    other = [bytes(32)] * 40
    await history.store(await history.head(40, leaves=other))
    (fault,) = (await history.audit()).faults
    assert re.fullmatch(
        r"NOTARY:5: the head of tree 1 of MESSAGING with 40 events \(.*\) contradicts the head of the same size in "
        r"NOTARY:4: a fork",
        fault,
    )
    await history.store(await history.head(20))
    assert "does not continue the one in NOTARY:4, which has 40 events" in (await history.audit()).faults[1]
    # Of a later size: the events agree with the earlier heads alone.
    await fill(history.log, 24, "c")
    await history.store(await history.head(64, leaves=[bytes(32)] * 64))
    verdict = await history.audit()
    assert ranges(verdict) == (41, 64)
    await history.rewrite(lambda events: events[:4], NOTARY)
    await history.store(await history.head(64, since=40))
    assert (await history.audit()).sound


async def test_a_fork_is_found_by_a_head_that_was_kept(streams: Client) -> None:
    history = await signed(streams)
    kept = await history.head(30, leaves=[bytes(32)] * 30)
    (fault,) = (await history.audit(saved=[kept])).faults
    assert "contradicts NOTARY:3, a head of the same size: a fork" in fault
    # Two kept heads that contradict each other, of a size that NOTARY does not have.
    pair = [await history.head(12), await history.head(12, leaves=[bytes(32)] * 12)]
    missing, contradiction = (await history.audit(saved=pair)).faults
    assert "is not in NOTARY" in missing
    assert "contradicts another saved head, a head of the same size: a fork" in contradiction
    unknown = msgspec.structs.replace(await history.head(30), tree=7)
    (fault,) = (await history.audit(saved=[unknown])).faults
    assert "is of a tree that NOTARY does not have" in fault


async def test_heads_count_only_with_a_signature_by_a_published_key_and_in_their_place(streams: Client) -> None:
    history = await signed(streams)
    original = await history.rewrite(lambda events: events, NOTARY)
    other, forger = Key("another"), Key(history.key.id)
    heads = [await history.head(size) for size in SIZES]
    for record, message in (
        (await history.head(40, key=other, since=30), "is signed with a key that is not published: another"),
        (await history.head(40, key=forger, since=30), f"has a signature that is not one by the key {history.key.id}"),
        (msgspec.structs.replace(heads[3], last_sequence=41), "has a signature that is not one by the key"),
    ):
        await history.rewrite(lambda events: events[:3], NOTARY)
        await history.store(record)
        verdict = await history.audit()
        assert not verdict.sound
        assert message in verdict.faults[0]
        # The events are compared with the heads that count.
        assert (verdict.first_wrong, verdict.events, verdict.unsigned) == (None, 30, 10)
        await history.rewrite(lambda events: original, NOTARY)
    # A head on the subject of another stream.
    envelope = seal(heads[0], aggregate_id=CONTACT, version=1, provenance=Provenance())
    await history.log.append(Append(subject=tree_head(CONTACT), expected=0, envelope=envelope))
    (fault,) = (await history.audit(CONTACT)).faults
    assert "is one of MESSAGING, on the subject of CONTACT" in fault
    # Heads of other streams than the chosen ones are not kept.
    chosen = await NotaryLog.read(streams, public_keys(history.key.jwks), [MESSAGING])
    assert (list(chosen.chains), chosen.records, chosen.faults) == ([MESSAGING], 5, [])
    assert (chosen.records_of[MESSAGING], chosen.records_of[CONTACT]) == (4, 1)
    assert (await read_chain(streams, MESSAGING, public_keys(history.key.jwks))).records == 4


async def test_a_notary_s_stream_that_was_cut_or_changed_is_found(streams: Client) -> None:
    history = await signed(streams)
    original = await history.rewrite(lambda events: [events[0], *events[2:]], NOTARY)
    (fault,) = (await history.read_heads()).faults
    assert fault == "NOTARY:2 (vestnik.notary.head.MESSAGING): has version 3, after version 1"
    await history.rewrite(lambda events: [*original, replaced(original[0], headers={})], NOTARY)
    assert "has the id of an earlier event" in (await history.read_heads()).faults[0]
    await history.rewrite(lambda events: [*original, replaced(original[0], payload=b"{}", headers={})], NOTARY)
    assert "NOTARY:5 (vestnik.notary.head.MESSAGING): cannot be read" in (await history.read_heads()).faults[0]
    # Without its last heads: what they covered counts as not signed yet, and a kept head shows it.
    kept = await history.head(40)
    await history.rewrite(lambda events: events[:1], NOTARY)
    behind = await history.audit()
    assert (behind.sound, behind.events, behind.unsigned) == (True, 10, 30)
    verdict = await history.audit(saved=[kept])
    assert (verdict.sound, verdict.first_wrong) == (False, None)
    assert "is not in NOTARY: its records were cut off or replaced" in verdict.faults[0]


async def test_without_heads_nothing_is_proved(streams: Client) -> None:
    history = SignedHistory(streams)
    assert (await history.audit()).sound
    await fill(history.log, 2, "a")
    young = await history.audit()
    assert (young.sound, young.unsigned) == (True, 2)

    def of_ten_minutes_ago(events: list[ArchivedMessage]) -> list[ArchivedMessage]:
        envelope = msgspec.json.decode(events[0].payload, type=Envelope)
        older = msgspec.structs.replace(envelope, at=envelope.at - timedelta(minutes=10))
        return [replaced(events[0], payload=msgspec.json.encode(older)), *events[1:]]

    await history.rewrite(of_ten_minutes_ago)
    (fault,) = (await history.audit()).faults
    assert fault == "no head was ever signed: nothing about its events up to 2 can be proved"
    await streams.jetstream().delete_stream(NOTARY)
    with pytest.raises(NoNotary, match="there is no stream NOTARY"):
        await history.audit()


async def test_an_audit_continues_from_a_head_whose_events_were_verified_before(streams: Client) -> None:
    history = await signed(streams)
    kept_head = await history.head(17)
    verdict = await history.audit(saved=[kept_head], continue_=True)
    assert (verdict.sound, verdict.after, verdict.events) == (True, 17, 23)
    # Without a newer head, the one from which it began is the last.
    original = await history.rewrite(lambda events: events[:2], NOTARY)
    same = await history.audit(saved=[kept_head], continue_=True)
    assert (same.sound, same.events) == (True, 0)
    assert same.head == SavedHead.of(kept_head)
    await history.rewrite(lambda events: original, NOTARY)
    # What is before is trusted, and what comes after is not.
    await history.rewrite(lambda events: [with_text(events[0], b"hello", b"hullo"), *events[1:]])
    assert (await history.audit(saved=[kept_head], continue_=True)).sound
    assert not (await history.audit(saved=[kept_head])).sound
    await history.rewrite(lambda events: [*events[:20], with_text(events[20], b"hello", b"hullo"), *events[21:]])
    verdict = await history.audit(saved=[kept_head], continue_=True)
    assert ranges(verdict) == (18, 24)
    # A stream that ends before is read from the beginning.
    await history.rewrite(lambda events: events[:16])
    cut = await history.audit(saved=[kept_head], continue_=True)
    assert (cut.after, cut.events, ranges(cut)) == (0, 0, (1, 8))
    # A head that NOTARY does not have is no place to continue from.
    forged_head = await history.head(17, leaves=[bytes(32)] * 17)
    assert (await history.audit(saved=[forged_head], continue_=True)).after == 0
