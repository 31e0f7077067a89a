import re
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Invalid
from contracts.positions import Position
from contracts.subjects import PUBLIC_FILTERS
from infra.security import position_keys
from infra.security.key_lifecycle import KeyTerms
from infra.security.position_keys import PositionKeys
from services.gateway.consistency.encrypted_positions import LONGEST, SealedPositions

SOME = Position({"AUTH": 12, "MESSAGING": 903})
EVERY = Position(dict.fromkeys(PUBLIC_FILTERS, 2**63 - 1))
SEQUENCES = st.integers(0, 2**63 - 1)
POSITIONS = st.dictionaries(st.sampled_from(sorted(PUBLIC_FILTERS)), SEQUENCES, min_size=1).map(Position)


def sealed(folder: Path) -> SealedPositions:
    """The encrypted positions of another gateway of the deployment."""
    return SealedPositions(PositionKeys(folder, KeyTerms(lead=timedelta(0), life=timedelta(minutes=15))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    secrets_folder = tmp_path_factory.mktemp("secrets")
    position_keys.FILES.rotate(secrets_folder, datetime.now(UTC))
    return secrets_folder


@given(position=POSITIONS)
def test_a_position_comes_back_through_any_gateway(folder: Path, position: Position) -> None:
    text = sealed(folder).seal(position)
    assert sealed(folder).open(text) == position
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    assert len(text) <= LONGEST


def test_no_position_is_no_text(folder: Path) -> None:
    assert sealed(folder).seal(Position()) == ""
    assert sealed(folder).open("") == Position()


def test_a_text_shows_neither_the_sequences_nor_how_large_they_are(folder: Path) -> None:
    one, other = sealed(folder).seal(Position.at("MESSAGING", 1)), sealed(folder).seal(Position.at("MESSAGING", 99_999))
    assert len(one) == len(other)
    assert one[8:] != other[8:]
    plain = SOME.encode()
    assert plain[:8] not in sealed(folder).seal(SOME)


def test_a_text_that_was_altered_anywhere_is_refused(folder: Path) -> None:
    text, cipher = sealed(folder).seal(SOME), sealed(folder)
    for index, letter in enumerate(text):
        with pytest.raises(Invalid):
            cipher.open(text[:index] + ("A" if letter != "A" else "B") + text[index + 1 :])
        with pytest.raises(Invalid):
            cipher.open(text[:index] or "A")


@pytest.mark.parametrize("position", [Position.at("AUTH", 1), SOME, EVERY])
def test_a_last_character_that_differs_in_bits_that_decoding_ignores_is_refused(
    folder: Path, position: Position
) -> None:
    text, cipher = sealed(folder).seal(position), sealed(folder)
    for letter in set(string.ascii_letters + string.digits + "-_") - {text[-1]}:
        with pytest.raises(Invalid):
            cipher.open(text[:-1] + letter)


@pytest.mark.parametrize("text", [SOME.encode(), EVERY.encode(), "nonsense", "§", "e30", "A" * LONGEST, "A" * 5_000])
def test_a_plain_position_and_any_other_text_is_refused(folder: Path, text: str) -> None:
    with pytest.raises(Invalid):
        sealed(folder).open(text)


def test_a_position_of_another_deployment_is_refused(folder: Path, tmp_path: Path) -> None:
    position_keys.FILES.rotate(tmp_path, datetime.now(UTC))
    with pytest.raises(Invalid):
        sealed(folder).open(sealed(tmp_path).seal(SOME))


def test_positions_outlive_a_rotation_and_not_the_removal_of_their_key(tmp_path: Path) -> None:
    position_keys.FILES.rotate(tmp_path, datetime.now(UTC) - timedelta(days=400))
    before = sealed(tmp_path).seal(SOME)
    position_keys.FILES.rotate(tmp_path, datetime.now(UTC) - timedelta(seconds=1))
    after = sealed(tmp_path).seal(SOME)
    assert before != after
    assert sealed(tmp_path).open(before) == sealed(tmp_path).open(after) == SOME
    position_keys.FILES.rotate(tmp_path, datetime.now(UTC), at_once=True)
    for text in (before, after):
        with pytest.raises(Invalid):
            sealed(tmp_path).open(text)


def test_positions_that_many_clients_share_are_encrypted_once_and_few_are_kept(folder: Path) -> None:
    cipher = sealed(folder)
    assert cipher.seal_sequences({"MESSAGING": 1}) is cipher.seal_sequences({"MESSAGING": 1})
    for sequence in range(5_000):
        assert cipher.open(cipher.seal_sequences({"MESSAGING": sequence})).sequence("MESSAGING") == sequence
    assert len(cipher._kept) <= 1_024


def test_a_cached_text_is_not_returned_under_a_removed_key(tmp_path: Path) -> None:
    position_keys.FILES.rotate(tmp_path, datetime.now(UTC) - timedelta(seconds=2))
    ticks = iter(range(0, 1_000, 5))
    keys = PositionKeys(
        tmp_path, KeyTerms(lead=timedelta(0), life=timedelta(minutes=15)), monotonic=lambda: float(next(ticks))
    )
    cipher = SealedPositions(keys)
    before = cipher.seal_sequences({"MESSAGING": 1})
    position_keys.FILES.rotate(tmp_path, datetime.now(UTC), at_once=True)
    assert cipher.seal_sequences({"MESSAGING": 1}) != before
