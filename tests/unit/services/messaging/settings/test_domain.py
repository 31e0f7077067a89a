"""Decisions on a reader's settings."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from contracts.events.event import Event
from contracts.events.message import FOREVER
from services.messaging.settings.domain import Settings, SettingsPatch, decide_settings, evolve_settings, patched

NOW = datetime(2026, 1, 31, tzinfo=UTC)
TIMES = st.sampled_from([None, NOW - timedelta(days=1), NOW, NOW + timedelta(milliseconds=1), FOREVER])
PATCHES = st.builds(
    SettingsPatch,
    muted_until=st.just(UNSET) | TIMES,
    pinned=st.just(UNSET) | st.booleans(),
    archived=st.just(UNSET) | st.booleans(),
)


@given(
    state=st.builds(Settings, muted_until=TIMES, pinned=st.booleans(), archived=st.booleans()),
    patches=st.lists(PATCHES, max_size=5),
)
def test_the_events_contain_the_whole_state_and_a_repeat_makes_none(
    state: Settings, patches: list[SettingsPatch]
) -> None:
    for patch in patches:
        expected = patched(state, patch, NOW)
        for number, event in enumerate([*_decided(state, patch), *_decided(_after(state, patch), patch)], start=1):
            assert number == 1
            # The last event alone is enough.
            assert evolve_settings(Settings(), event, NOW) == expected
        state = _after(state, patch)
        assert patched(state, SettingsPatch(), NOW) == expected
        assert expected.muted_until is None or expected.muted_until > NOW


def _decided(state: Settings, patch: SettingsPatch) -> tuple[Event, ...]:
    return decide_settings(state, patch, NOW, conversation_id="c", user_id="u", members=("u", "v"))


def _after(state: Settings, patch: SettingsPatch) -> Settings:
    for event in _decided(state, patch):
        state = evolve_settings(state, event, NOW)
    return state
