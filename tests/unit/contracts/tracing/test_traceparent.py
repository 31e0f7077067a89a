"""The text that names a span as a parent."""

import pytest

from contracts.tracing.traceparent import ParentSpan, format_traceparent, is_sampled, not_sampled, parse, valid

PARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"


def test_what_is_written_is_read_again() -> None:
    parent = parse(PARENT)
    assert parent == ParentSpan(int("ab" * 16, 16), int("cd" * 8, 16), 1)
    assert format_traceparent(*parent) == PARENT


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_the_last_bit_of_the_flags_decides(flags: str, sampled: bool) -> None:
    assert is_sampled(PARENT[:-2] + flags) is sampled
    assert not is_sampled(not_sampled(PARENT[:-2] + flags))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "a-b-x-1",
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"00-{'1' * 33}-{'1' * 16}-01",
    ],
)
def test_what_names_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@pytest.mark.parametrize(
    ("header", "is_valid"),
    [
        (PARENT, True),
        (f"01-{'ab' * 16}-{'cd' * 8}-00", True),
        (None, False),
        ("", False),
        ("x", False),
        (f"ff-{'ab' * 16}-{'cd' * 8}-01", False),
        (f"00-{'AB' * 16}-{'cd' * 8}-01", False),
        (f"00-{'00' * 16}-{'cd' * 8}-01", False),
        (f"00-{'ab' * 16}-{'00' * 8}-01", False),
        (f"{PARENT}-more", False),
        (f"{PARENT}\n", False),
    ],
)
def test_a_header_is_taken_only_if_it_is_valid(header: str | None, is_valid: bool) -> None:
    assert valid(header) == (header if is_valid else None)
