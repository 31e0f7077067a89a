import gzip
from pathlib import Path

import pytest

from infra.load.errors import LoadError
from infra.load.history_file import read_history

HEADER = "sender\trecipient\tunix_time\ttext\n"


def written(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "history.tsv"
    path.write_text(HEADER + "".join(row + "\n" for row in rows), newline="")
    return path


def test_people_conversations_and_lines_keep_the_order_of_the_file(tmp_path: Path) -> None:
    history = read_history(written(tmp_path, "b\ta\t1\tone", "a\tb\t2\ttwo", "a\tc\t3\tthree"))
    assert history.people == ["b", "a", "c"]
    assert [(pair, [line.text for line in lines]) for pair, lines in history.conversations.items()] == [
        (("b", "a"), ["one", "two"]),
        (("a", "c"), ["three"]),
    ]
    assert [line.number for line in history.conversations["b", "a"]] == [2, 3]
    assert history.messages == 3


def test_a_gzip_and_its_content_are_the_same_history(tmp_path: Path) -> None:
    plain = written(tmp_path, "a\tb\t1\thi")
    packed = tmp_path / "history.tsv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_history(packed) == read_history(plain)


def test_a_limit_keeps_the_first_messages_and_the_digest(tmp_path: Path) -> None:
    path = written(tmp_path, "a\tb\t1\thi", "b\ta\t2\tho", "c\td\t3\thu")
    first_two = read_history(path, limit=2)
    assert first_two.messages == 2
    assert first_two.people == ["a", "b"]
    assert first_two.digest == read_history(path).digest


def test_messages_of_white_space_alone_are_left_out_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "history.tsv"
    path.write_text("sender\trecipient\tunix_time\ttext\na\tb\t1\t \u3000\na\tb\t2\thello\n")
    (lines,) = read_history(path).conversations.values()
    assert [(line.number, line.text) for line in lines] == [(3, "hello")]


def test_characters_that_end_lines_elsewhere_stay_in_the_text(tmp_path: Path) -> None:
    history = read_history(written(tmp_path, "a\tb\t1\tone\u2028two\x85three\rfour"))
    assert history.conversations["a", "b"][0].text == "one\u2028two\x85three\rfour"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a\tb\t1", "line 3: has 3 fields, not 4"),
        ("a\tb\t1\tx\ty", "line 3: has 5 fields, not 4"),
        ("a\ta\t1\tx", "line 3: the sender is the recipient"),
        ("\ta\t1\tx", "line 3: the sender or the recipient is missing"),
        ("a\tb\tnoon\tx", "line 3: 'noon' is not a Unix time"),
        ("a\tb\t1\t", "line 3: a text has 1 to 4000 characters"),
        ("a\tb\t1\t" + "x" * 4001, "line 3: a text has 1 to 4000 characters"),
        ("a\tb\t1\tx\x00", "line 3: a text has 1 to 4000 characters, none of them NUL"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: str, reason: str) -> None:
    with pytest.raises(LoadError) as caught:
        read_history(written(tmp_path, "a\tb\t1\tgood", row))
    assert reason in str(caught.value)


def test_bytes_that_are_no_utf_8_are_named_by_their_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a\tb\t1\tgood")
    path.write_bytes(path.read_bytes() + b"a\tb\t2\t\xff\n")
    with pytest.raises(LoadError, match="line 3: is not UTF-8"):
        read_history(path)


def test_a_missing_file_a_torn_gzip_a_wrong_header_and_an_empty_history_are_one_line_each(tmp_path: Path) -> None:
    torn = tmp_path / "torn.gz"
    torn.write_bytes(gzip.compress(HEADER.encode() * 1000)[:-20])
    headless = tmp_path / "headless.tsv"
    headless.write_text("a\tb\t1\tx\n")
    for path, reason in [
        (tmp_path / "missing.tsv", "No such file"),
        (torn, "not a whole gzip file"),
        (headless, "line 1: the header"),
        (written(tmp_path), "has no messages"),
    ]:
        with pytest.raises(LoadError, match=reason) as caught:
            read_history(path)
        assert "\n" not in str(caught.value)
