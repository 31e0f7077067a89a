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
        (AT_NOON, "need each other"),
        (("friends", "--into", "then"), "need each other"),
        (("friends", "--as-of", "2999-01-01", "--into", "then"), "in the future"),
        (("friends", "--as-of", "yesterday", "--into", "then"), "neither a time"),
        ((*AT_NOON, "--into", "then", "--back"), "cannot be combined"),
        (("friends", "--back", "--drop-old"), "cannot be combined"),
        (("friends", "--replace"), "needs --as-of"),
        ((*AT_NOON, "--into", "then", "--replace", "--reason", "curious"), "takes no --reason"),
        (("friends", "--accept-loss", "CONTACT:7", "--drop-old"), "applies only to a rebuild"),
        ((*AT_NOON, "--into", "then", "--accept-loss", "CONTACT:7"), "applies only to a rebuild"),
        (("friends", "--accept-loss", "CONTACT"), "does not name events"),
        (("friends", "--accept-loss", "LIMITS:7"), "does not name events"),
        (("friends", "--accept-loss", "CONTACT:0"), "sequences start at 1"),
        (("friends", "--accept-loss", "CONTACT:9-7"), "sequences start at 1"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(rebuild, list(arguments))
    assert result.exit_code != 0
    assert said in result.output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.2, "0 s left"), (12.4, "12 s left"), (200, "3 min 20 s left"), (4_800, "1 h 20 min left")],
)
def test_the_remaining_time_is_shown_in_words(seconds: float | None, text: str) -> None:
    assert time_left(seconds) == text
