"""Key ids name the person whose data the key seals, and contain no character with a meaning in subjects."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from contracts.personal_data.key_ids import KEY_ID, month_of, owner_of, person_key, seals_texts, text_key, wrapped_by

USER = "0000000a-0000-7000-8000-000000000000"
CONVERSATION = "0000000b-0000-5000-8000-000000000000"


def test_the_month_of_a_text_is_that_of_its_time_in_utc() -> None:
    evening = datetime(2026, 11, 30, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
    assert text_key(CONVERSATION, USER, evening) == f"text.{CONVERSATION}.{USER}.2026-12"


def test_a_key_id_names_its_owner_and_the_key_that_wraps_it() -> None:
    text = text_key(CONVERSATION, USER, datetime(2026, 1, 1, tzinfo=UTC))
    assert owner_of(text) == owner_of(person_key(USER)) == USER
    assert wrapped_by(text) == person_key(USER)
    assert wrapped_by(person_key(USER)) is None


def test_a_key_of_addresses_is_read_like_a_key_of_texts_but_seals_no_texts() -> None:
    key_id = f"address.{USER}.2026-12"
    assert (owner_of(key_id), month_of(key_id), wrapped_by(key_id)) == (USER, "2026-12", person_key(USER))
    text = text_key(CONVERSATION, USER, datetime(2026, 1, 1, tzinfo=UTC))
    assert [seals_texts(key) for key in (key_id, text, person_key(USER))] == [False, True, False]
    assert all(re.search(KEY_ID, key) for key in (key_id, text, person_key(USER)))


@pytest.mark.parametrize(
    "text",
    ["", ">", "*", "person.>", "person.*", f"person.{USER}\n", f"person.{USER.upper()}", f"text.{USER}.2026-01"]
    + [f"text.{CONVERSATION}.{USER}.{month}" for month in ("2026-13", "2026-1", "*", ">", "2026-00")]
    + [f"address.{USER}", f"address.{USER}.2026-13", f"address.{CONVERSATION}.{USER}.2026-12"],
)
def test_nothing_else_is_a_key_id(text: str) -> None:
    assert owner_of(text) is None
    assert re.search(KEY_ID, text) is None
    with pytest.raises(ValueError):
        wrapped_by(text)
