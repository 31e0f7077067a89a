"""Profiles out of two streams, whichever of them is read first, with what they are searched by."""

import pytest

from contracts.events.profile import ProfileCreated, ProfileUpdated
from contracts.events.user import UserCreated, UserEmailVerified
from contracts.values.ids import new_id
from projections.profiles import Profiles
from tests.fix_read_models import OpenReadModel

ANNA = new_id()
NAMES = """SELECT username_term, name_term, username_words, name_words FROM {profiles}"""


async def test_a_profile_grows_out_of_the_registration_and_its_own_events(read_model: OpenReadModel) -> None:
    model = await read_model(Profiles)
    await model.given(UserCreated(username="anna", display_name="Anna"), UserEmailVerified(), of=ANNA)
    assert await model.rows("SELECT user_id, username, verified FROM {profiles}") == [(ANNA, None, True)]
    await model.when(ProfileCreated(username="anna", display_name="Anna"), of=ANNA)
    assert await model.rows(NAMES) == [("anna", None, " anna ", None)]
    await model.when(ProfileUpdated(display_name="Änna Orlova", bio="Hi"), of=ANNA)
    assert await model.rows(NAMES) == [("anna", "anna orlova", " anna ", " anna  orlova ")]
    rows = await model.rows("SELECT registered_username, registered_name, username, display_name, bio FROM {profiles}")
    assert rows == [("anna", "Anna", "anna", "Änna Orlova", "Hi")]


SYNTAX = ["'; DROP TABLE x; --", "{profiles} %s %(a)s", "\\\\ \\", '"{,}"', "NULL"]
UNUSUAL = ["\u202eabc", "🙂" * 64, "ﷺ" * 64, "a b " * 16, "\x01\x7f"]


@pytest.mark.parametrize("name", [*SYNTAX, *UNUSUAL])
async def test_any_name_is_kept_as_it_is(read_model: OpenReadModel, name: str) -> None:
    model = await read_model(Profiles)
    await model.given(ProfileCreated(username="anna", display_name=name), of=ANNA)
    await model.when(ProfileUpdated(display_name=name, bio=name), of=ANNA)
    assert await model.rows("SELECT display_name, bio FROM {profiles}") == [(name, name)]


async def test_a_name_that_was_erased_leaves_the_username(read_model: OpenReadModel) -> None:
    model = await read_model(Profiles)
    await model.given(ProfileCreated(username="anna", display_name=""), of=ANNA)
    assert await model.rows("SELECT display_name, name_term FROM {profiles}") == [("anna", None)]
