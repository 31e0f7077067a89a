"""Every kind of damage to a file is found and named."""

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.archive.format.archive_reader import Block, check, sound_blocks
from infra.archive.format.archive_writer import Writer
from infra.archive.format.errors import Damaged, NewerFormat, NotAnExport
from infra.archive.format.layout import MAGIC, PREAMBLE_SIZE, Head, StreamInFile, compress, decompress
from infra.archive.format.unreadable_events import Runs, UnknownContent, release
from infra.archive.validation import require_valid, validate
from infra.operator_errors import OperatorError
from streams.restore import ArchivedMessage
from tests.unit.infra.archive.conftest import A_BLOCK, EVENTS, event, export, header, pieces

SOUND = export()
# Preamble, header, four of MESSAGING, three of AUTH, end.
PIECES = pieces(SOUND)
FIRST, SECOND, THIRD = 2, 3, 4


def silent(done: int, total: int) -> None:
    """Progress callback that reports nothing."""


def damages(path: Path, data: bytes) -> list[str]:
    path.write_bytes(data)
    return validate(path, silent).damages


def offset_of(piece: int) -> str:
    return f"at byte {sum(map(len, PIECES[:piece])):,}: "


def test_what_was_written_is_read_back(path: Path) -> None:
    path.write_bytes(SOUND)
    blocks: list[Block] = []
    checked = check(path, silent, blocks.append)
    assert checked.damages == []
    assert checked.header == header()
    assert checked.end is not None
    assert checked.end.events == sum(EVENTS.values())
    assert checked.end.types["message.sent"].events == sum(EVENTS.values())
    read = {
        stream: [stored for block in blocks if block.stream == stream for stored in block.events] for stream in EVENTS
    }
    assert read == {name: [event(name, number) for number in range(1, count + 1)] for name, count in EVENTS.items()}
    assert list(sound_blocks(path, checked.header)) == blocks


@given(
    events=st.lists(
        st.builds(
            ArchivedMessage,
            subject=st.text(min_size=1),
            payload=st.binary(max_size=2_000),
            headers=st.dictionaries(st.text(), st.text()),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_any_bytes_of_an_event_come_back_as_they_were(
    events: list[ArchivedMessage], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = io.BytesIO()
    writer = Writer(file, msgspec.structs.replace(header(), streams=[StreamInFile("AUTH", len(events), len(events))]))
    writer.events(0, 1, events)
    writer.end()
    path = tmp_path_factory.mktemp("any") / "export"
    path.write_bytes(file.getvalue())
    blocks: list[Block] = []
    assert check(path, silent, blocks.append).damages == []
    assert blocks == [Block("AUTH", 1, events)]


@settings(max_examples=400)
@given(offset=st.integers(0, len(SOUND) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(offset: int, bit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(flipped(SOUND, offset, bit))
    with pytest.raises(OperatorError, match=r"damage|is not an export|format"):
        require_valid(path, silent)


def flipped(data: bytes, offset: int, bit: int = 3) -> bytes:
    damaged = bytearray(data)
    damaged[offset] ^= 1 << bit
    return bytes(damaged)


def test_every_truncation_is_noticed(path: Path) -> None:
    borders = [sum(map(len, PIECES[:number])) + offset for number in range(1, len(PIECES)) for offset in (-1, 0, 1)]
    for size in {*borders, *range(1, len(SOUND), 7), len(SOUND) - 1}:
        path.write_bytes(SOUND[:size])
        with pytest.raises(OperatorError, match="the file ends here"):
            require_valid(path, silent)


def test_a_truncation_is_named_with_everything_missing_after_it(path: Path) -> None:
    size = sum(map(len, PIECES[:THIRD])) + 60
    assert damages(path, SOUND[:size]) == [
        f"at byte {size:,}: the file ends here, within block 3 (MESSAGING from 5 on);"
        " MESSAGING 5 to 7, AUTH 1 to 5 is missing"
    ]


def test_damaged_blocks_are_all_named_with_their_events_and_places(path: Path) -> None:
    damaged = [flipped(piece, -1) if number in (SECOND, 7) else piece for number, piece in enumerate(PIECES)]
    damage = damages(path, b"".join(damaged))
    assert damage[:2] == [
        f"{offset_of(SECOND)}block 2 (MESSAGING 3 to 4) is damaged: its content does not match its digest",
        f"{offset_of(7)}block 6 (AUTH 3 to 4) is damaged: its content does not match its digest",
    ]


def reordered(order: Callable[[list[bytes]], list[bytes]]) -> bytes:
    return b"".join(order(list(PIECES)))


def test_a_removed_block_is_named(path: Path) -> None:
    damage = damages(path, reordered(lambda all_of: all_of[:SECOND] + all_of[SECOND + 1 :]))
    assert damage[0] == f"{offset_of(SECOND)}MESSAGING 3 to 4 is missing here"


def test_a_whole_stream_that_was_removed_is_named(path: Path) -> None:
    damage = damages(path, reordered(lambda all_of: all_of[:6] + all_of[-1:]))
    assert damage[0] == f"{offset_of(6)}AUTH 1 to 5 is missing here"


def test_a_doubled_block_is_named(path: Path) -> None:
    damage = damages(path, reordered(lambda all_of: [*all_of[:THIRD], all_of[SECOND], *all_of[THIRD:]]))
    complaint = "is out of place here: duplicated or moved"
    assert damage[0] == f"{offset_of(THIRD)}block 2 (MESSAGING 3 to 4) {complaint}"


def test_swapped_blocks_are_named(path: Path) -> None:
    damage = damages(path, reordered(lambda all_of: [*all_of[:2], all_of[SECOND], all_of[FIRST], *all_of[THIRD:]]))
    assert damage[0] == f"{offset_of(FIRST)}MESSAGING 1 to 2 is missing here"
    assert "block 1 (MESSAGING 1 to 2) is out of place here" in damage[1]


def test_a_block_of_another_export_is_named(path: Path) -> None:
    foreign = pieces(export("two"))[SECOND]
    damage = damages(path, reordered(lambda all_of: [*all_of[:SECOND], foreign, *all_of[THIRD:]]))
    assert damage[0].startswith(f"{offset_of(SECOND)}block 2 (MESSAGING 3 to 4) is damaged")


def test_data_after_the_end_is_named(path: Path) -> None:
    assert damages(path, SOUND + b"more") == [f"at byte {len(SOUND):,}: the file continues after its end record"]


def shuffles() -> Iterator[list[int]]:
    chance = random.Random(7)
    for _ in range(50):
        yield [0, 1, *chance.choices(range(2, len(PIECES)), k=chance.randint(0, len(PIECES)))]


def test_sound_blocks_are_accepted_in_the_right_order_only(path: Path) -> None:
    for order in shuffles():
        path.write_bytes(b"".join(PIECES[number] for number in order))
        with pytest.raises(Damaged):
            require_valid(path, silent)


@pytest.mark.parametrize("data", [b"PK\x03\x04" + b"x" * 500, b"x", b'{"events": []}\n' * 10])
def test_a_file_of_another_kind_is_reported_as_such(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(NotAnExport, match="is not an export of Vestnik"):
        require_valid(path, silent)


def test_an_empty_file_is_reported_as_empty(path: Path) -> None:
    path.touch()
    with pytest.raises(NotAnExport, match="is empty"):
        require_valid(path, silent)


def test_a_missing_file_and_a_folder_are_reported_as_such(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="No such file"):
        require_valid(tmp_path / "nothing", silent)
    with pytest.raises(OperatorError, match="is not a regular file"):
        require_valid(tmp_path, silent)


def test_damaged_first_bytes_are_distinguished_from_a_file_of_another_kind(path: Path) -> None:
    path.write_bytes(flipped(SOUND, 2))
    with pytest.raises(Damaged, match="the first bytes of the file are damaged"):
        require_valid(path, silent)


def test_a_damaged_header_is_named_with_the_file(path: Path) -> None:
    assert damages(path, flipped(SOUND, len(PIECES[0]) + 60)) == ["at byte 18: the header is damaged"]
    with pytest.raises(Damaged, match=f"{path.name} is damaged at byte 18"):
        require_valid(path, silent)


def test_a_newer_format_is_refused_as_such(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("infra.archive.format.layout.VERSION", 3)
        newer = export()
    assert newer[: len(MAGIC)] == MAGIC
    path.write_bytes(newer)
    with pytest.raises(NewerFormat, match="format 3, and this release reads up to 2"):
        require_valid(path, silent)


def altered(sequence: int, **changes: object) -> ArchivedMessage:
    """A sound event with changed fields of its envelope."""
    original = event("MESSAGING", sequence)
    payload = msgspec.json.encode(msgspec.json.decode(original.payload) | changes)
    return ArchivedMessage("vestnik.messaging.conversation.c", payload, original.headers)


UNREADABLE_EVENTS = [
    (altered(2, schema=99), "message.sent of schema 99, while this release knows schemas up to 1"),
    (altered(2, type="planet.found"), "planet.found, a type that this release does not know"),
    (altered(2, data={"text": 1}), "message.sent of schema 1: "),
    (altered(2, at="2026-11-23T00:00:00"), "no event: "),
    (ArchivedMessage("vestnik.messaging.conversation.c", b"", {}), "no event: "),
    (ArchivedMessage("vestnik.messaging.conversation.c", b'{"id":"\xff"}', {}), "no event: "),
    (ArchivedMessage("vestnik.messaging.conversation.c", b'{"x":' + b"[" * 9_999, {}), "no event: "),
]


def written(events: list[ArchivedMessage], accepted: Runs | None = None) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, header(events={"MESSAGING": len(events)}))
    writer.events(0, 1, events)
    assert writer.unreadable.runs == {"MESSAGING": [(2, 2)]}
    writer.end(accepted)
    return file.getvalue()


@pytest.mark.parametrize(("kept", "why"), UNREADABLE_EVENTS)
def test_an_event_that_this_release_cannot_read_is_named_and_refused_unless_it_was_accepted(
    path: Path, kept: ArchivedMessage, why: str
) -> None:
    events = [event("MESSAGING", 1), kept, event("MESSAGING", 3)]
    path.write_bytes(written(events))
    report = validate(path, silent)
    assert report.sound
    assert (report.unreadable, report.unreadable_events[0].sequence) == (1, 2)
    complaint = f"has 1 event that this release ({release()}) cannot read: MESSAGING 2 ({why}"
    assert complaint in str(report.refused)
    assert "Release 0.1.0 wrote the file" in str(report.refused)
    with pytest.raises(UnknownContent) as refused:
        require_valid(path, silent)
    assert complaint in str(refused.value)
    for accepted, allow in (({"MESSAGING": [(2, 2)]}, False), ({"MESSAGING": [(1, 9)]}, False), (None, True)):
        path.write_bytes(written(events, accepted))
        assert validate(path, silent, allow_unreadable=allow).refused is None
        assert require_valid(path, silent, allow_unreadable=allow)[2].count == 1
    for others in ({"MESSAGING": [(1, 1), (3, 3)]}, {"AUTH": [(2, 2)]}):
        path.write_bytes(written(events, others))
        assert validate(path, silent).refused is not None


def test_of_very_many_events_that_cannot_be_read_the_first_are_named_and_all_are_counted(path: Path) -> None:
    file = io.BytesIO()
    writer = Writer(file, header(events={"MESSAGING": 300}))
    writer.events(0, 1, [altered(number, schema=2 if number != 150 else 1) for number in range(1, 301)])
    assert writer.unreadable.runs == {"MESSAGING": [(1, 149), (151, 300)]}
    writer.end({"MESSAGING": [(1, 140)]})
    path.write_bytes(file.getvalue())
    report = validate(path, silent)
    assert (report.unreadable, len(report.unreadable_events)) == (299, 100)
    assert "has 159 events" in str(report.refused)
    assert "MESSAGING 141 (" in str(report.refused)
    assert "and 154 more" in str(report.refused)


def test_an_event_on_a_subject_of_another_stream_is_refused(path: Path) -> None:
    file = io.BytesIO()
    writer = Writer(file, header(events={"MESSAGING": 1}))
    writer.events(0, 1, [ArchivedMessage("vestnik.auth.user.u", b"{}", {})])
    writer.end()
    path.write_bytes(file.getvalue())
    with pytest.raises(Damaged, match="MESSAGING 1 has the subject of another stream"):
        require_valid(path, silent)


def test_a_block_that_claims_to_be_huge_is_not_believed() -> None:
    head = Head(kind=2, stream=0, number=1, first=1, count=1, stored=1 << 31, unpacked=1)
    assert Head.unpack(head.pack(b"", b"")) is None


def test_a_block_that_unpacks_to_more_than_it_says_is_not_unpacked() -> None:
    packed = compress(b"x" * 1_000_000)
    assert decompress(packed, 1_000) is None
    assert decompress(packed, 1_000_001) is None
    assert decompress(packed, 1_000_000) == b"x" * 1_000_000
    assert decompress(packed[:-1], 1_000_000) is None
    assert decompress(b"nonsense", 10) is None


def test_the_preamble_is_as_long_as_documented() -> None:
    assert (PREAMBLE_SIZE, len(PIECES), A_BLOCK) == (18, 10, 2)


@pytest.mark.parametrize(("stream", "first"), [(0, 2), (0, 0), (1, 1), (2, 4)])
def test_events_that_the_header_does_not_know_of_are_refused(path: Path, stream: int, first: int) -> None:
    file = io.BytesIO()
    writer = Writer(file, header(events={"MESSAGING": 2, "CONTACT": 0, "AUTH": 5}))
    writer.events(stream, first, [event("MESSAGING", number) for number in (1, 2)])
    writer.end()
    path.write_bytes(file.getvalue())
    with pytest.raises(Damaged):
        require_valid(path, silent)
