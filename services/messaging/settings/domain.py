"""A reader's settings of a conversation: state, decision, evolution. The last writer wins, field by field."""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from contracts.events.event import Event
from contracts.events.message import ConversationUpdated


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    # `FOREVER` for a mute without an end; None: not muted. A time that is over has no effect.
    muted_until: datetime | None = None
    pinned: bool = False
    archived: bool = False


class SettingsPatch(msgspec.Struct, frozen=True, kw_only=True):
    """The fields to change."""

    muted_until: datetime | UnsetType | None = UNSET
    pinned: bool | UnsetType = UNSET
    archived: bool | UnsetType = UNSET


def evolve_settings(state: Settings, event: Event, at: datetime) -> Settings:
    if not isinstance(event, ConversationUpdated):
        return state
    return Settings(muted_until=event.muted_until, pinned=event.pinned, archived=event.archived)


def patched(state: Settings, patch: SettingsPatch, now: datetime) -> Settings:
    """The settings after the patch; a mute that is over counts as none."""
    muted_until = state.muted_until if patch.muted_until is UNSET else patch.muted_until
    return Settings(
        muted_until=muted_until if muted_until is not None and muted_until > now else None,
        pinned=state.pinned if patch.pinned is UNSET else patch.pinned,
        archived=state.archived if patch.archived is UNSET else patch.archived,
    )


def decide_settings(
    state: Settings,
    patch: SettingsPatch,
    now: datetime,
    *,
    conversation_id: str,
    user_id: str,
    members: tuple[str, ...],
) -> tuple[Event, ...]:
    """Changes the settings; no event if they stay as they are."""
    changed = patched(state, patch, now)
    if changed == patched(state, SettingsPatch(), now):
        return ()
    return (
        ConversationUpdated(
            conversation_id=conversation_id,
            user_id=user_id,
            members=members,
            muted_until=changed.muted_until,
            pinned=changed.pinned,
            archived=changed.archived,
        ),
    )
