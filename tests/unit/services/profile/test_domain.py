"""Profiles, decided on what happened before."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ProfileNotFound, StaleProfile
from contracts.events.event import Event
from contracts.events.profile import ProfileCreated, ProfileUpdated
from services.profile.domain import (
    CreateProfile,
    Profile,
    UpdateProfile,
    decide_create,
    decide_erase,
    decide_update,
    evolve,
    to_own,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
ANNA = "01890a5d-ac96-774b-bcce-b302099a8057"
CREATED = ProfileCreated(username="anna", display_name="Anna")
NAMED = ProfileUpdated(display_name="Anna B.", bio="Hello", avatar_url="https://example.org/a.png")


def given_events(*events: Event) -> Profile:
    state = Profile()
    for number, event in enumerate(events):
        state = evolve(state, event, AT + timedelta(minutes=number))
    return state


def test_a_profile_begins_with_the_name_asked_for() -> None:
    assert decide_create(Profile(), CreateProfile(username="anna", display_name="Anna")) == (CREATED,)


@pytest.mark.parametrize("name", [None, ""])
def test_without_a_name_the_username_is_shown(name: str | None) -> None:
    events = decide_create(Profile(), CreateProfile(username="anna", display_name=name))
    assert events == (ProfileCreated(username="anna", display_name="anna"),)


def test_a_profile_is_made_once() -> None:
    assert decide_create(given_events(CREATED), CreateProfile(username="anna")) == ()


def test_an_update_keeps_what_it_leaves_out() -> None:
    events = decide_update(ANNA, given_events(CREATED, NAMED), UpdateProfile(bio="Bye"), verified=True)
    assert events == (ProfileUpdated(display_name="Anna B.", bio="Bye", avatar_url="https://example.org/a.png"),)


def test_an_empty_field_is_cleared_and_the_name_falls_back_to_the_username() -> None:
    command = UpdateProfile(display_name="", bio="", avatar_url="")
    events = decide_update(ANNA, given_events(CREATED, NAMED), command, verified=True)
    assert events == (ProfileUpdated(display_name="anna"),)


def test_an_update_that_changes_nothing_is_no_event() -> None:
    command = UpdateProfile(display_name="Anna B.", bio="Hello")
    assert decide_update(ANNA, given_events(CREATED, NAMED), command, verified=False) == ()


def test_there_is_nothing_to_update_before_the_profile_is_there() -> None:
    with pytest.raises(ProfileNotFound):
        decide_update(ANNA, Profile(), UpdateProfile(bio="x"), verified=True)


@pytest.mark.parametrize("tags", [("*",), ("other", "*")])
def test_any_profile_matches_a_star(tags: tuple[str, ...]) -> None:
    assert decide_update(ANNA, given_events(CREATED), UpdateProfile(bio="x", if_match=tags), verified=True)


def test_a_profile_matches_its_present_tag_alone() -> None:
    before, now = given_events(CREATED), given_events(CREATED, NAMED)
    tag = to_own(ANNA, now, verified=True).etag
    old = to_own(ANNA, before, verified=True).etag
    assert decide_update(ANNA, now, UpdateProfile(bio="x", if_match=(old, tag)), verified=True)
    with pytest.raises(StaleProfile):
        decide_update(ANNA, now, UpdateProfile(bio="x", if_match=(old,)), verified=True)


def test_a_stale_update_is_refused_even_if_it_would_change_nothing() -> None:
    with pytest.raises(StaleProfile):
        decide_update(ANNA, given_events(CREATED), UpdateProfile(if_match=("old",)), verified=True)


def test_verification_changes_the_tag() -> None:
    state = given_events(CREATED)
    assert to_own(ANNA, state, verified=False).etag != to_own(ANNA, state, verified=True).etag


def test_erased_data_shows_as_nothing() -> None:
    state = given_events(CREATED, ProfileUpdated(display_name="", bio="", avatar_url=""))
    assert (state.username, state.display_name, state.bio, state.avatar_url) == ("", "", "", "")


def test_the_profile_of_an_erased_user_is_emptied_even_if_its_texts_cannot_be_read_any_more() -> None:
    unreadable = ProfileUpdated(display_name="", presence="nobody")
    for events in ((CREATED, NAMED), (CREATED, unreadable)):
        assert decide_erase(given_events(*events)) == (ProfileUpdated(display_name="", presence="nobody"),)
    assert decide_erase(Profile()) == ()


def test_clients_are_shown_that_an_account_is_deleted() -> None:
    profile = to_own(ANNA, given_events(CREATED), verified=True).public()
    assert "deleted" not in profile.fields()
    deleted = msgspec.structs.replace(profile, deleted=True)
    assert deleted.fields()["deleted"] is True
    assert deleted.etag != profile.etag


def test_clients_see_null_where_there_is_no_picture() -> None:
    profile = to_own(ANNA, given_events(CREATED), verified=False)
    assert msgspec.json.decode(profile.public().json()) == {
        "user_id": ANNA,
        "username": "anna",
        "display_name": "Anna",
        "bio": "",
        "avatar_url": None,
        "verified": False,
        "updated_at": "2026-01-01T00:00:00.000Z",
    }


SHY = ProfileUpdated(display_name="Anna", presence="nobody", language="ru")


def test_settings_are_shown_to_the_owner_alone_and_change_the_owner_s_tag_alone() -> None:
    open_, shy = (to_own(ANNA, given_events(CREATED, event), verified=True) for event in (NAMED, SHY))
    plain = to_own(ANNA, given_events(CREATED, ProfileUpdated(display_name="Anna")), verified=True)
    assert (open_.presence, open_.language, shy.presence, shy.language) == ("friends", None, "nobody", "ru")
    own, public = msgspec.json.decode(shy.json()), msgspec.json.decode(shy.public().json())
    assert own == public | {"presence": "nobody", "language": "ru"}
    assert shy.etag != plain.etag
    assert shy.public() == plain.public()


def test_a_change_of_settings_alone_changes_nothing_that_others_see() -> None:
    state = given_events(CREATED, NAMED)
    [event] = decide_update(ANNA, state, UpdateProfile(presence="nobody", bio="Hello"), verified=True)
    before, after = (
        to_own(ANNA, profile, verified=True) for profile in (state, evolve(state, event, AT + timedelta(days=1)))
    )
    assert (before.presence, after.presence) == ("friends", "nobody")
    assert after.public() == before.public()
    [event] = decide_update(ANNA, state, UpdateProfile(presence="nobody", bio="Bye"), verified=True)
    assert evolve(state, event, AT + timedelta(days=1)).updated_at == AT + timedelta(days=1)


def test_a_profile_matches_the_tag_that_others_see() -> None:
    state = given_events(CREATED, SHY)
    tag = to_own(ANNA, state, verified=True).public().etag
    assert decide_update(ANNA, state, UpdateProfile(bio="x", if_match=(tag,)), verified=True)


FIELD = st.none() | st.sampled_from(["", "a", "b"])


@given(
    st.lists(
        st.builds(
            UpdateProfile,
            display_name=FIELD,
            bio=FIELD,
            avatar_url=FIELD,
            presence=st.sampled_from([None, "", "friends", "nobody"]),
            language=st.sampled_from([None, "", "en", "ru"]),
        ),
        max_size=8,
    )
)
def test_updates_behave_as_a_merge_patch(commands: list[UpdateProfile]) -> None:
    state = given_events(CREATED)
    expected = {"display_name": "Anna", "bio": "", "avatar_url": "", "presence": "friends", "language": None}
    for command in commands:
        events = decide_update(ANNA, state, command, verified=True)
        for event in events:
            state = evolve(state, event, AT)
        for name in expected:
            value = getattr(command, name)
            expected[name] = expected[name] if value is None else value
        expected["display_name"] = expected["display_name"] or "anna"
        expected["presence"] = expected["presence"] or "friends"
        expected["language"] = expected["language"] or None
        assert {name: getattr(state, name) for name in expected} == expected
        assert decide_update(ANNA, state, command, verified=True) == ()
