"""What `vestnik rebuild` refuses before it looks for a system."""

import pytest
from click.testing import CliRunner

from infra.cli.output.projection_progress import time_left
from infra.cli.projections.rebuild import rebuild

AT_NOON = ("friends", "--as-of", "2026-01-31T12:00:00Z")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name the projections"),
        (("friends", "--all"), "name the projections"),
        (("nothing",), "no projection 'nothing'"),
        (AT_NOON, "go together"),
        (("friends", "--into", "then"), "go together"),
        (("friends", "--as-of", "2999-01-01", "--into", "then"), "lies ahead"),
        (("friends", "--as-of", "yesterday", "--into", "then"), "neither a time"),
        ((*AT_NOON, "--into", "then", "--back"), "exclude each other"),
        (("friends", "--back", "--drop-old"), "exclude each other"),
        (("friends", "--replace"), "goes with"),
        (("friends", "--accept-loss", "CONTACT:7", "--drop-old"), "goes with a rebuild"),
        ((*AT_NOON, "--into", "then", "--accept-loss", "CONTACT:7"), "goes with a rebuild"),
        (("friends", "--accept-loss", "CONTACT"), "names no event"),
        (("friends", "--accept-loss", "LIMITS:7"), "names no event"),
        (("friends", "--accept-loss", "CONTACT:0"), "comes before"),
        (("friends", "--accept-loss", "CONTACT:9-7"), "comes before"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(rebuild, list(arguments))
    assert done.exit_code != 0
    assert said in done.output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.2, "0 s left"), (12.4, "12 s left"), (200, "3 min 20 s left"), (4_800, "1 h 20 min left")],
)
def test_the_time_left_is_told_in_words(seconds: float | None, text: str) -> None:
    assert time_left(seconds) == text
